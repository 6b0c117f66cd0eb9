"""Which points the strategies choose, against their laws worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from pinnx.expr import Points
from pinnx.solvers.sampling import R3, Importance, Rad, RarD, Uniform
from pinnx.solvers.sampling.importance import stratified
from pinnx.solvers.sampling.rad import residual_law
from pinnx.solvers.weights import weighted_mean, weights_of
from tests.sampling.kit import SIGNIFICANCE, KnownProbe, generator, square

SEED = 771_204


def ramp(points: Points) -> torch.Tensor:
    """The residual 3 x, negative on the left half of x2."""
    return 3 * points.x[:, 0] * torch.where(points.x[:, 1] < 0.5, -1.0, 1.0)


def first_and_second(options: Any, count: int, probe: Any, seed: int = SEED) -> tuple[Points, Points]:
    """The points before and after the residual was looked at."""
    sampler, draws = options.build(square()), generator(seed)
    return sampler.draw(count, probe, draws), sampler.draw(count, probe, draws)


def chi_square(x: np.ndarray, cumulative: Any, bins: int = 20) -> float:
    """The p-value of points on [0, 1] under a distribution function."""
    edges = np.linspace(0, 1, bins + 1)
    expected = np.diff([cumulative(edge) for edge in edges]) * len(x)
    found, _ = np.histogram(x, edges)
    return float(chi2.sf(((found - expected) ** 2 / expected).sum(), bins - 1))


@pytest.mark.parametrize(
    ("power", "constant"), [(1.0, 1.0), (2.0, 0.0), (1.0, 0.0), (0.5, 0.0)], ids=lambda value: f"{value:g}"
)
def test_rad_draws_from_its_law(power: float, constant: float) -> None:
    """Density ∝ x^k (k + 1) + c on [0, 1]; out of so large a pool that its own spread does not count."""
    count = 1500
    options = Rad(power=power, constant=constant, pool=200)
    start, points = first_and_second(options, count, KnownProbe(ramp))

    def law(x: float) -> float:
        return (x ** (power + 1) + constant * x) / (1 + constant)

    assert chi_square(start.x[:, 0].numpy(), lambda x: x) > SIGNIFICANCE, "the first points are not uniform"
    x = points.x[:, 0].numpy()
    assert chi_square(x, law) > SIGNIFICANCE
    assert chi_square(points.x[:, 1].numpy(), lambda x: x) > SIGNIFICANCE, "the sign of the residual counts"
    assert chi_square(x, lambda x: x) < SIGNIFICANCE, "the test could not tell the law from the uniform one"
    assert len(torch.unique(points.tensor, dim=0)) == count
    assert weights_of(points) is None


def test_a_residual_that_vanishes_leaves_uniform_points() -> None:
    _, points = first_and_second(Rad(constant=0.0, pool=5), 500, KnownProbe(lambda p: 0 * p.x[:, 0]))
    assert chi_square(points.x[:, 0].numpy(), lambda x: x) > SIGNIFICANCE
    assert torch.equal(residual_law(torch.zeros(4), 2.0, 0.0), torch.full((4,), 0.25, dtype=torch.float64))


def test_the_law_by_hand() -> None:
    # |r| = 1, 3: mean 2, so 1/2 + 1 and 3/2 + 1 of a sum of 4
    found = residual_law(torch.tensor([1.0, 9.0]), 1.0, 1.0)
    assert found.tolist() == pytest.approx([1.5 / 4, 2.5 / 4])


def test_rar_d_adds_and_keeps() -> None:
    sampler, draws, probe = RarD(added=7, most=30, pool=500).build(square()), generator(SEED), KnownProbe(ramp)
    sets = [sampler.draw(12, probe, draws).tensor.clone() for _ in range(5)]
    assert [len(each) for each in sets] == [12, 19, 26, 30, 30]
    for before, after in zip(sets, sets[1:], strict=False):
        assert torch.equal(after[: len(before)], before)
    assert sampler.metrics["points"] == 30


def test_rar_d_adds_from_its_law() -> None:
    _, points = first_and_second(RarD(added=1000, pool=200), 10, KnownProbe(ramp))
    added = points.x[10:, 0].numpy()
    assert chi_square(added, lambda x: x**3) > SIGNIFICANCE
    assert chi_square(added, lambda x: x**2) < SIGNIFICANCE


def test_r3_retains_exactly_the_points_above_the_mean() -> None:
    before, after = first_and_second(R3(), 400, KnownProbe(ramp))
    sizes = np.abs(ramp(before).numpy())
    above = before.tensor[torch.from_numpy(sizes > sizes.mean())]
    assert torch.equal(after.tensor[: len(above)], above)
    assert len(after) == 400
    old = {tuple(row) for row in before.tensor.tolist()}
    fresh = after.tensor[len(above) :]
    assert not any(tuple(row) in old for row in fresh.tolist())
    assert chi_square(fresh[:, 0].numpy(), lambda x: x, bins=10) > SIGNIFICANCE


def test_r3_follows_the_size_of_a_stage() -> None:
    sampler, draws, probe = R3().build(square()), generator(SEED), KnownProbe(ramp)
    assert [len(sampler.draw(count, probe, draws)) for count in (100, 20, 60)] == [100, 20, 60]


def peaked(points: Points) -> torch.Tensor:
    return 0.01 + torch.exp(-200 * (points.x - 0.3).square().sum(1))


def loss_estimates(seeds: range, *, planted: bool = False) -> tuple[np.ndarray, float]:
    """Weighted means of r² over chosen points, and the integral of r² over the square."""
    estimates = []
    for seed in seeds:
        points = Importance(pool=8).build(square()).draw(50, KnownProbe(peaked), generator(seed))  # type: ignore
        weights = weights_of(points)
        assert weights is not None
        if planted:  # weights of a choice without the floor: (1 − f)/(1/w − f) in the place of w
            weights = 0.9 / (1 / weights - 0.1)
            points = Points(points.tensor, points.coordinates, {next(iter(points.extra)): weights})
        estimates.append(float(weighted_mean(peaked(points).square(), points)))
    # ∫ e^{-2a|x - c|²} = π/2a, ∫ e^{-a|x - c|²} = π/a, up to e^{-18}
    truth = math.pi / 400 + 2 * 0.01 * math.pi / 200 + 0.01**2
    return np.array(estimates), truth


def test_importance_weights_keep_the_loss_unbiased() -> None:
    estimates, truth = loss_estimates(range(51_000, 52_000))
    error = estimates.std(ddof=1) / len(estimates) ** 0.5
    assert abs(estimates.mean() - truth) < 3.9 * error  # two-sided, 1e-4
    assert error < 0.02 * truth, "too noisy to show anything"


def test_a_bias_of_the_weights_is_found() -> None:
    estimates, truth = loss_estimates(range(51_000, 52_000), planted=True)
    assert abs(estimates.mean() - truth) > 3.9 * estimates.std(ddof=1) / len(estimates) ** 0.5


def test_importance_lowers_the_variance() -> None:
    estimates, truth = loss_estimates(range(61_000, 61_300))
    uniform = [
        float(peaked(Uniform().build(square()).draw(50, KnownProbe(peaked), generator(seed))).square().mean())  # type: ignore
        for seed in range(61_000, 61_300)
    ]
    assert estimates.std() < 0.6 * np.std(uniform)
    assert abs(np.mean(uniform) - truth) < 4 * np.std(uniform) / 300**0.5


def test_weights_are_bounded_by_the_floor() -> None:
    points = Importance(floor=0.25).build(square()).draw(200, KnownProbe(peaked), generator(SEED))  # type: ignore
    weights = weights_of(points)
    assert weights is not None
    assert float(weights.max()) <= 4.0


def test_stratified_counts() -> None:
    probabilities = torch.tensor([0.05, 0.5, 0.25, 0.2], dtype=torch.float64)
    counts = [np.bincount(stratified(probabilities, 10, generator(seed)), minlength=4) for seed in range(400)]
    assert np.abs(np.array(counts) - 10 * probabilities.numpy()).max() < 1
    assert np.abs(np.mean(counts, 0) - 10 * probabilities.numpy()).max() < 3.9 * 0.5 / 400**0.5
