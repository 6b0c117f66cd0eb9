"""Fresh points from the domain's own law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from pinnx.expr import Points
from pinnx.solvers.probe import Probe
from pinnx.solvers.sampling.base import Law, Resampling, Sampler


@final
class UniformSampler(Sampler):
    """Draws from the law, whatever the residual."""

    redrawn = True

    def draw(self, count: int, probe: Probe, generator: torch.Generator) -> Points:
        return self.law.draw(count, generator)


@final
@dataclass(frozen=True)
class Uniform(Resampling):
    """Fresh points from the domain's own law: unbiased, and the best choice where nothing is sharp."""

    kind: ClassVar[str] = "uniform"
    every: ClassVar[int] = 1
    ranks: ClassVar[bool] = False
    adaptive: ClassVar[bool] = False

    def build(self, law: Law) -> Sampler:
        return UniformSampler(law)

    def steps_between(self, fixed_points: bool) -> int:
        return 0 if fixed_points else 1
