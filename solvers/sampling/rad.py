"""Residual-based adaptive distribution: all points are drawn anew, more of them where the residual is large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.expr import Points
from pinnx.options import at_least, check_limits, option
from pinnx.solvers.probe import Probe
from pinnx.solvers.sampling.base import Law, Resampling, Sampler

WU = (
    "C. Wu, M. Zhu, Q. Tan, Y. Kartha, L. Lu. A comprehensive study of non-adaptive and residual-based adaptive "
    "sampling for physics-informed neural networks. Comput. Methods Appl. Mech. Engrg. 403 (2023), 115671. "
    "arXiv 2207.10289",
)


def residual_law(squares: Tensor, power: float, constant: float) -> Tensor:
    """Probabilities (n,), float64, ∝ |r|^k / mean |r|^k + c of points drawn from the domain's law.

    Args:
        squares: r² (n,).
        power: k.
        constant: c, the share of the domain's own law beside one of the residual.
    """
    sizes = squares.double().pow(power / 2)
    mean = sizes.mean()
    raised = sizes / mean + constant if bool(mean > 0) else torch.ones_like(sizes)
    return raised / raised.sum()


def choose(probabilities: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices (count,) of different points, drawn one after the other by their probabilities."""
    # where fewer than `count` have a probability at all, the others fill up
    positive = probabilities.clamp_min(torch.finfo(torch.float64).tiny * 2**60)
    return torch.multinomial(positive, count, replacement=False, generator=generator)


@final
class RadSampler(Sampler):
    """Draws from the residual's law; the first time, before anything is learned, from the domain's."""

    def __init__(self, law: Law, options: Rad):
        super().__init__(law)
        self.options, self.begun = options, False

    def draw(self, count: int, probe: Probe, generator: torch.Generator) -> Points:
        if not self.begun:
            self.begun = True
            return self.law.draw(count, generator)
        options = self.options
        pool = self.law.draw(options.pool * count, generator)
        squares = probe.squares(pool, generator)
        chosen = choose(residual_law(squares, options.power, options.constant), count, generator)
        self.metrics = {"residual_ratio": ratio(squares[chosen], squares)}
        return pool.rows(chosen)

    def load_state_dict(self, state: dict[str, object], points: Points | None) -> None:
        super().load_state_dict(state, points)
        self.begun = points is not None


def ratio(chosen: Tensor, everywhere: Tensor) -> float:
    """Mean r² at chosen points over that under the domain's law: how much the choice concentrates on it."""
    mean = float(everywhere.mean())
    return float(chosen.mean()) / mean if mean > 0 else 1.0


@final
@dataclass(frozen=True)
class Rad(Resampling):
    """RAD: points drawn anew from the density ∝ |r|^k / E|r|^k + c, out of a pool from the domain's law."""

    kind: ClassVar[str] = "rad"
    references: ClassVar[tuple[str, ...]] = WU
    power: float = option(1.0, "k: how strongly large residuals attract points", at_least(0.0))
    constant: float = option(1.0, "c: share of points that follow the domain's own law", at_least(0.0))
    pool: int = option(20, "points of the pool for each point that is chosen", at_least(2))

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, law: Law) -> Sampler:
        return RadSampler(law, self)
