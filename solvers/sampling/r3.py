"""Retain, resample, release: points with large residuals stay, all others are drawn anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from pinnx.expr import Points
from pinnx.solvers.probe import Probe
from pinnx.solvers.sampling.base import Law, Resampling, Sampler
from pinnx.solvers.sampling.rar_d import joined


@final
class R3Sampler(Sampler):
    """A population of points."""

    def __init__(self, law: Law):
        super().__init__(law)
        self.points: Points | None = None

    def draw(self, count: int, probe: Probe, generator: torch.Generator) -> Points:
        if self.points is None:
            self.points = self.law.draw(count, generator)
            return self.points
        # fitness is |r|, and the bar the population's mean of it
        sizes = probe.squares(self.points, generator).sqrt()
        retained = torch.nonzero(sizes > sizes.mean())[:count, 0]
        fresh = self.law.draw(count - len(retained), generator) if len(retained) < count else None
        self.metrics = {"retained": len(retained) / len(self.points)}
        kept = self.points.rows(retained)
        self.points = kept if fresh is None else joined(kept, fresh)
        return self.points

    def load_state_dict(self, state: dict[str, object], points: Points | None) -> None:
        super().load_state_dict(state, points)
        self.points = points


@final
@dataclass(frozen=True)
class R3(Resampling):
    """R3: points whose |r| is above the mean stay until the network has learned them, the others are drawn anew."""

    kind: ClassVar[str] = "r3"
    references: ClassVar[tuple[str, ...]] = (
        "A. Daw, J. Bu, S. Wang, P. Perdikaris, A. Karpatne. Mitigating propagation failures in physics-informed "
        "neural networks using retain-resample-release (R3) sampling. ICML 2023. arXiv 2207.02338",
    )
    every: ClassVar[int] = 1

    def build(self, law: Law) -> Sampler:
        return R3Sampler(law)
