"""What the biased loss and the unbiased square estimate, exactly: every sample of every estimator, with its weight.

For one sample the law of the estimated residual r̂ is written out, by quadrature over normal noise and by enumeration of
signs and coordinates. The biased loss must then be E r̂² = (E r̂)² + Var r̂ and the unbiased square (E r̂)², in value
and in gradient; `test_every_equation_sampled` does the same for r² and the full correction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pinnx.expr import Evaluator, Expr, Known, Points, atoms, with_explicit_values
from pinnx.networks.base import Network
from pinnx.solvers.derivatives import Hutchinson, Sdgd, Smoothing, smoothing, stochastic
from pinnx.solvers.derivatives.sampled import Correction, SampledEstimator
from pinnx.testing.statistics import bonferroni_bound, standard_errors
from tests.solvers.test_bias_correction import gradient, losses
from tests.solvers.test_every_equation_sampled import EQUATIONS, setting

ONE: Any = {"samples": 1, "noise": "per-point"}
LARGE: Any = {"sigma": 0.4, "sigma_time": 0.2}
ESTIMATORS: dict[str, SampledEstimator] = {
    "stein": Smoothing(weights="stein", baseline="center", **LARGE, **ONE),
    "stein, all coordinates": Smoothing(weights="stein", baseline="center", space="full", **LARGE, **ONE),
    "differences": Smoothing(**LARGE, **ONE),
    "differences, signs": Smoothing(law="rademacher", space="full", **LARGE, **ONE),
    "hutchinson": Hutchinson(**ONE),
    "hutchinson, signs": Hutchinson(law="rademacher", space="full", **ONE),
    "sdgd": Sdgd(samples=1),
}


def every_sample(estimator: SampledEstimator, expr: Expr, where: tuple[Network, Points]) -> tuple[Tensor, Tensor]:
    """All values of one estimate of the residual (M, n), and their probabilities (M, 1)."""
    network, points = where
    expr = with_explicit_values(expr)
    with pytest.MonkeyPatch.context() as patch:
        weights = _enumerated(estimator, points.x.shape[1], patch)
        values = estimator.draw(network, points, atoms(expr), torch.Generator(), [1] * len(weights))
    return Evaluator(points, values)(expr).expand(len(weights), len(points)), weights[:, None]


def _enumerated(estimator: SampledEstimator, d: int, patch: pytest.MonkeyPatch) -> Tensor:
    """Put all samples in the place of drawn ones; returns their probabilities."""
    rank = 2 if getattr(estimator, "space", "full") == "rows" else d  # the networks here are two neurons wide
    if isinstance(estimator, Sdgd):
        coordinates: Iterator[Tensor] = iter(torch.arange(d)[:, None])
        patch.setattr(torch, "randperm", lambda *arguments, **options: next(coordinates))
        return torch.full((d,), 1 / d, dtype=torch.float64)
    if isinstance(estimator, Smoothing) and estimator.weights == "stein":
        nodes, weights = np.polynomial.hermite_e.hermegauss(9)
        grid = torch.tensor(list(product(nodes, repeat=rank + 1)), dtype=torch.float64)[:, None]
        patch.setattr(smoothing._Draw, "_normal", lambda self, width: grid[..., -1:] if width == 1 else grid[..., :-1])
        shares = torch.tensor(list(product(weights / weights.sum(), repeat=rank + 1)), dtype=torch.float64)
        return shares.prod(1)
    # one direction of two at right angles is one of four sign vectors, too
    signs = torch.tensor(list(product([-1.0, 1.0], repeat=rank)), dtype=torch.float64)[:, None]
    for module in (smoothing, stochastic):
        patch.setattr(module, "random_directions", lambda *arguments: signs)
    return torch.full((len(signs),), 1 / len(signs), dtype=torch.float64)


@pytest.mark.parametrize("correction", ["biased", "unbiased-loss"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", EQUATIONS)
def test_loss_and_gradient_are_those_of_the_written_out_law(name: str, estimator: str, correction: Correction) -> None:
    chosen = ESTIMATORS[estimator]
    expr, *where = setting(EQUATIONS[name])
    residuals, weights = every_sample(chosen, expr, (where[0], where[1]))
    mean, square = (weights * residuals).sum(0), (weights * residuals.square()).sum(0)
    assert float((square - mean.square()).detach().min()) > 0, "no bias that could be found"
    expected = (square if correction == "biased" else mean.square()).mean()
    chosen = replace(chosen, samples=1 if correction == "biased" else 2)  # type: ignore[type-var]
    shared = isinstance(chosen, Sdgd)  # whose points share a draw: repeat calls in the place of points
    values, gradients = losses(
        chosen, expr, correction, batches=300 if shared else 40, repetitions=1 if shared else 150, where=tuple(where)
    )
    assert float(standard_errors(values, expected.detach())) < 4
    slope = gradient(expected, where[0])
    assert float(standard_errors(gradients, slope).max()) < bonferroni_bound(len(slope), len(gradients))


@pytest.mark.parametrize("estimator", ["stein", "differences", "hutchinson", "sdgd"])
@pytest.mark.parametrize("name", EQUATIONS)
def test_the_bias_is_the_variance_and_is_found(name: str, estimator: str) -> None:
    """Of the residual less its mean, as at the solution: the bias is all that is left. The planted error: none."""
    chosen = ESTIMATORS[estimator]
    expr, network, points = setting(EQUATIONS[name])
    with torch.no_grad():
        residuals, weights = every_sample(chosen, expr, (network, points))
        mean = (weights * residuals).sum(0)
        variance = (weights * (residuals - mean).square()).sum(0).mean()
        left = expr - Known("r", lambda p: mean.repeat(len(p) // len(mean)))
        shared = isinstance(chosen, Sdgd)
        values, _ = losses(
            chosen,
            left,
            "biased",
            batches=500 if shared else 40,
            repetitions=1 if shared else 400,
            with_gradient=False,
            where=(network, points),
        )
    assert float(standard_errors(values, variance)) < 4
    assert float(standard_errors(values, torch.zeros_like(variance))) > 20
