"""Importance sampling: more points where the residual is large, with weights that keep the loss unbiased."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.expr import Points
from pinnx.options import at_least, between, check_limits, option, positive
from pinnx.solvers.probe import Probe
from pinnx.solvers.sampling.base import Law, Resampling, Sampler
from pinnx.solvers.weights import with_weights


def stratified(probabilities: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices (count,), each point i count · p_i times on average and never off by one or more.

    One uniform number shifts `count` equidistant places on the sums of the probabilities.
    """
    shift = torch.rand((), generator=generator, dtype=torch.float64, device=probabilities.device)
    places = (torch.arange(count, dtype=torch.float64, device=probabilities.device) + shift) / count
    sums = probabilities.double().cumsum(0)
    return torch.searchsorted(sums / sums[-1], places, right=True).clamp_max(len(probabilities) - 1)


@final
class ImportanceSampler(Sampler):
    """Draws from a pool, with weights."""

    def __init__(self, law: Law, options: Importance):
        super().__init__(law)
        self.options = options

    def draw(self, count: int, probe: Probe, generator: torch.Generator) -> Points:
        options, total = self.options, self.options.pool * count
        pool = self.law.draw(total, generator)
        sizes = probe.squares(pool, generator).double().pow(options.power / 2)
        uniform = torch.full_like(sizes, 1 / total)
        share = sizes / sizes.sum() if bool(sizes.sum() > 0) else uniform
        probabilities = options.floor * uniform + (1 - options.floor) * share
        chosen = stratified(probabilities, count, generator)
        weights = 1 / (total * probabilities[chosen])
        self.metrics = {"effective_points": float(weights.sum().square() / weights.square().sum())}
        return with_weights(pool.rows(chosen), weights.to(self.law.dtype))


@final
@dataclass(frozen=True)
class Importance(Resampling):
    """Importance sampling by the residual: weights 1/(M q) undo the choice, so that the mean loss is that of the
    domain's law, whatever scored the points.

    A pool of M points from the domain's law is scored; given the pool, a point is drawn with probability q, a mixture
    of |r|^k and the same for all, and E Σ w r²/n = Σ r²/M. So scores may be noisy: stochastic derivatives are sound.
    """

    kind: ClassVar[str] = "importance"
    references: ClassVar[tuple[str, ...]] = (
        "M. A. Nabian, R. J. Gladstone, H. Meidani. Efficient training of physics-informed neural networks via "
        "importance sampling. Comput.-Aided Civ. Infrastruct. Eng. 36 (2021), 962-977. arXiv 2104.12325",
    )
    every: ClassVar[int] = 1
    ranks: ClassVar[bool] = False
    power: float = option(1.0, "k: how strongly large residuals attract points", positive)
    floor: float = option(
        0.1, "share of points that follow the domain's own law; weights are at most 1/floor", positive, between(0, 1)
    )
    pool: int = option(4, "points that are scored for each point that is chosen", at_least(2))

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, law: Law) -> Sampler:
        return ImportanceSampler(law, self)
