"""A probe whose residual is a known function of the points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pinnx.domain import Box
from pinnx.expr import Points
from pinnx.solvers.sampling import Law

#: Probability with which a right law fails one of the statistical tests here, for a seed drawn at random.
SIGNIFICANCE = 1e-4


class KnownProbe:
    """Stands for `pinnx.solvers.probe.Probe`."""

    def __init__(self, residual: Callable[[Points], Tensor]):
        self.residual = residual
        self.seen: list[Points] = []

    def squares(self, points: Points, generator: torch.Generator) -> Tensor:
        self.seen.append(points)
        return self.residual(points).square()


def square(dimension: int = 2) -> Law:
    return Law(Box(0.0, 1.0, dimension=dimension), torch.float64)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
