"""The variance of every equation's residual falls like one over the number of samples, whatever is random in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pinnx.expr import Evaluator, Expr, Points, atoms, with_explicit_values
from pinnx.networks.base import Network
from pinnx.solvers.derivatives import Hutchinson, Sdgd, Smoothing
from pinnx.solvers.derivatives.sampled import SampledEstimator
from tests.solvers.test_every_equation_sampled import EQUATIONS, setting

SEED = 2_906_411
COUNTS, GROUPS = (32, 64, 128, 256), 1000
LARGE: Any = {"sigma": 0.4, "sigma_time": 0.2}
ESTIMATORS: dict[str, SampledEstimator] = {
    "stein": Smoothing(weights="stein", baseline="center", **LARGE),
    "stein, leave-one-out": Smoothing(weights="stein", **LARGE),
    "differences": Smoothing(law="rademacher", space="full", **LARGE),
    "hutchinson": Hutchinson(law="rademacher", space="full"),
}


def variance(estimator: SampledEstimator, expr: Expr, network: Network, points: Points, samples: int) -> float:
    """Of the residual as the biased loss takes it, all factors from the same samples: a mean over the points."""
    generator = torch.Generator().manual_seed(SEED + samples)
    with torch.no_grad():
        drawn = estimator.draw(network, points, atoms(expr), generator, [samples] * GROUPS)
    return float(Evaluator(points, drawn)(expr).var(0).mean())


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", EQUATIONS)
def test_the_variance_of_the_residual_falls_like_one_over_the_samples(name: str, estimator: str) -> None:
    """By regression in logarithms. Products add terms of higher order in 1/K, which are small from 32 samples on."""
    expr, network, points = setting(EQUATIONS[name])
    expr = with_explicit_values(expr)
    variances = [variance(ESTIMATORS[estimator], expr, network, points, count) for count in COUNTS]
    assert min(variances) > 0
    assert np.polyfit(np.log(COUNTS), np.log(variances), 1)[0] == pytest.approx(-1, abs=0.12)


@pytest.mark.parametrize("kind", [Sdgd(), Hutchinson(space="full"), Smoothing(space="full", sigma=1e-3)])
@pytest.mark.parametrize("name", EQUATIONS)
def test_samples_drawn_together_save_what_a_finite_population_saves(name: str, kind: SampledEstimator) -> None:
    """Of r coordinates without replacement, or directions at right angles: (1/K − 1/r) in the place of 1/K."""
    expr, network, points = setting(EQUATIONS[name])
    expr, r = with_explicit_values(expr), points.x.shape[1]
    one, two, all_of_them = (
        variance(replace(kind, samples=k), expr, network, points, k)  # type: ignore[type-var]
        for k in (1, 2, r)
    )
    assert two / one == pytest.approx((1 / 2 - 1 / r) / (1 - 1 / r), rel=0.25)
    assert all_of_them < 1e-6 * one
