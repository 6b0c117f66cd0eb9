"""Residual-based adaptive refinement with distribution: points are added where the residual is large, none removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from pinnx.expr import Points
from pinnx.options import at_least, check_limits, option
from pinnx.solvers.probe import Probe
from pinnx.solvers.sampling.base import Law, Resampling, Sampler
from pinnx.solvers.sampling.rad import WU, choose, ratio, residual_law


@final
class RarDSampler(Sampler):
    """Keeps its points and adds to them."""

    def __init__(self, law: Law, options: RarD):
        super().__init__(law)
        self.options = options
        self.points: Points | None = None

    def draw(self, count: int, probe: Probe, generator: torch.Generator) -> Points:
        options = self.options
        if self.points is None:
            self.points = self.law.draw(count, generator)
        else:
            room = options.added if options.most is None else min(options.added, options.most - len(self.points))
            if room > 0:
                pool = self.law.draw(options.pool * room, generator)
                squares = probe.squares(pool, generator)
                chosen = choose(residual_law(squares, options.power, options.constant), room, generator)
                self.metrics = {"residual_ratio": ratio(squares[chosen], squares)}
                self.points = joined(self.points, pool.rows(chosen))
        self.metrics = {**self.metrics, "points": float(len(self.points))}
        return self.points

    def load_state_dict(self, state: dict[str, object], points: Points | None) -> None:
        super().load_state_dict(state, points)
        self.points = points


def joined(first: Points, second: Points) -> Points:
    """The points of both; they carry nothing else."""
    return Points(torch.cat([first.tensor, second.tensor]), first.coordinates)


@final
@dataclass(frozen=True)
class RarD(Resampling):
    """RAR-D: some points are added now and then, from the density ∝ |r|^k / E|r|^k + c; none is removed."""

    kind: ClassVar[str] = "rar-d"
    references: ClassVar[tuple[str, ...]] = WU
    added: int = option(10, "points added each time", at_least(1))
    most: int | None = option(None, "number of points beyond which none is added", at_least(1))
    power: float = option(2.0, "k: how strongly large residuals attract points", at_least(0.0))
    constant: float = option(0.0, "c: share of points that follow the domain's own law", at_least(0.0))
    pool: int = option(200, "points of the pool for each point that is added", at_least(2))

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, law: Law) -> Sampler:
        return RarDSampler(law, self)
