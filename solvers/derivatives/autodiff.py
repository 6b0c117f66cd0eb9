"""Exact derivatives by torch.func: any network, any order; the reference for every other estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.expr import Atom, Directional, Evaluator, Points
from pinnx.expr.calculus import differentiate
from pinnx.networks.base import Network
from pinnx.solvers.derivatives.base import DerivativeEstimator


@final
@dataclass(frozen=True)
class Autodiff(DerivativeEstimator):
    """Exact derivatives by nested automatic differentiation; a Laplacian costs one pass per dimension."""

    kind: ClassVar[str] = "autodiff"

    def refusal(self, network: Network, atoms: Sequence[Atom]) -> str | None:
        return None

    def estimate(
        self, network: Network, points: Points, atoms: Sequence[Atom], generator: torch.Generator
    ) -> dict[Atom, Tensor]:
        known, done = Evaluator(points), {}
        for atom in dict.fromkeys(replace(atom, slot=0) for atom in atoms):
            index = getattr(atom.of, "index", 0)
            vector = known(atom.vector) if isinstance(atom, Directional) else None
            done[atom] = differentiate(lambda row, i=index: network(row[None])[0, i], atom, points, vector)
        return {atom: done[replace(atom, slot=0)] for atom in atoms}
