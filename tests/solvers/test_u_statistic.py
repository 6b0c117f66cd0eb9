"""The algebra of independent products: all pairs without a common sample, at no further cost and variance."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations

import pytest
import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.expr import Expr, Points, Unknown, Value, dt, laplacian, sin
from pinnx.networks import Mlp
from pinnx.solvers.derivatives import Hutchinson, Smoothing, sampled
from pinnx.solvers.derivatives.sampled import Correction, SquaredResiduals, independent_products
from pinnx.testing.statistics import standard_errors
from tests.solvers.test_bias_correction import ESTIMATORS, FORCING, RESIDUALS, SEED, U, setting
from tests.solvers.test_estimator_variance import LAPLACIAN, Quadratic, off_diagonal, quadratic, squared
from tests.solvers.toys import Counting


@pytest.mark.parametrize(("g", "slots"), [(2, 1), (5, 1), (4, 2), (7, 2), (9, 3), (6, 3)])
def test_independent_products_against_all_pairs(g: int, slots: int) -> None:
    """Of residuals that know which groups they use, all pairs without a common one."""
    residuals = torch.randn(g, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(SEED + g))
    used = [{(j + slot) % g for slot in range(slots)} for j in range(g)]
    pairs = [(i, j) for i, j in combinations(range(g), 2) if not used[i] & used[j]]
    expected = torch.stack([residuals[i] * residuals[j] for i, j in pairs]).mean(0)
    torch.testing.assert_close(independent_products(residuals, slots), expected, rtol=1e-12, atol=1e-12)


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="need 4 groups of samples, got 3"):
        independent_products(torch.ones(3, 1), 2)


def test_the_u_statistic_averages_over_all_products_of_distinct_samples() -> None:
    """For a product u·v of two atoms and its square: against the sum over all assignments, on average the same.

    With m slots, cyclic neighbors replace all assignments: both are unbiased for the same number.
    """
    generator = torch.Generator().manual_seed(SEED)
    means = torch.tensor([0.7, -1.2], dtype=torch.float64)
    a, b = means[:, None, None] + torch.randn(2, 6, 50_000, dtype=torch.float64, generator=generator)
    cyclic = independent_products(a * b.roll(-1, 0), 2)
    quadruples = list(permutations(range(6), 4))
    every = torch.stack([a[i] * b[j] * a[k] * b[m] for i, j, k, m in quadruples]).mean(0)
    true = (means.prod() ** 2).double()
    assert float(standard_errors(cyclic, true)) < 4
    assert float(standard_errors(every, true)) < 4


COUNTED = [
    Smoothing(samples=12),
    Smoothing(samples=12, space="full", noise="per-point"),
    Smoothing(samples=12, weights="stein"),
    Smoothing(samples=12, weights="stein", baseline="center"),
]
SYSTEM_EXTRA: dict[str, Expr] = {
    **RESIDUALS,
    "poisson": laplacian(U) - FORCING,
    "value": Value(U) - FORCING,
    "two unknowns": laplacian(U) + laplacian(Unknown("v", 1)) + dt(U) * dt(Unknown("v", 1)),
}


@pytest.mark.parametrize("estimator", COUNTED, ids=lambda e: f"{e.weights}-{e.space}-{e.baseline}")
@pytest.mark.parametrize("name", SYSTEM_EXTRA)
def test_evaluations_are_counted_and_the_u_statistic_costs_no_more(name: str, estimator: Smoothing) -> None:
    """By the rows that pass through the network's tail."""
    _, points = setting()
    generator = torch.Generator().manual_seed(SEED)
    network = Counting(Mlp(width=2, depth=2).build(4, 2, generator=generator, dtype=torch.float64))
    squares = SquaredResiduals(estimator, [SYSTEM_EXTRA[name]])
    counts = {}
    for correction in ("biased", "unbiased-loss", "unbiased"):
        network.rows = 0
        squares(network, points, generator, correction)
        counts[correction] = network.rows
        stated = estimator.evaluations(squares.requests, sum(squares.groups(correction, network)))
        assert network.rows == stated * len(points), correction
    assert counts["unbiased-loss"] == counts["unbiased"] == counts["biased"]
    if name != "value":
        independent = SquaredResiduals(replace(estimator, realization="independent"), [SYSTEM_EXTRA[name]])
        network.rows = 0
        independent(network, points, generator, "unbiased-loss")
        assert network.rows > 1.5 * counts["biased"]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", RESIDUALS)
@pytest.mark.parametrize("correction", ["unbiased-loss", "unbiased"])
def test_the_u_statistic_varies_no_more_than_separate_sets(
    name: str, estimator: str, correction: Correction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the same total number of samples, 24; of 8000 losses each, so that variances are known to a few percent."""
    expr, one = RESIDUALS[name], replace(ESTIMATORS[estimator], samples=24)  # type: ignore[type-var]
    factors = 2 * (SquaredResiduals(one, [expr]).slots if correction == "unbiased" else 1)
    sets = replace(one, realization="independent", samples=24 // factors)
    network, points = setting()
    many = Points(points.tensor.repeat(8000, 1), points.coordinates)
    generator, variances = torch.Generator().manual_seed(SEED), list[float]()

    def recorded(residuals: Tensor, slots: int) -> Tensor:
        products = independent_products(residuals, slots)
        variances.append(float(products.reshape(-1, len(points)).var(0).mean()))
        return products

    monkeypatch.setattr(sampled, "independent_products", recorded)
    for each in (one, sets):
        with torch.no_grad():
            SquaredResiduals(each, [expr])(network, many, generator, correction)
    assert variances[0] < 1.1 * variances[1]


def test_near_the_solution_the_u_statistic_halves_the_variance() -> None:
    """Where the residual vanishes: V²·2/(K(K − 1)) against V²·4/K² of two sets of K/2, V the variance of a sample."""
    h, point = quadratic()
    expr, k = laplacian(U) - float(h.trace()), 8
    many = Points(point.tensor.expand(50_000, -1), point.coordinates)
    v, generator = 2 * squared(off_diagonal(h)), torch.Generator().manual_seed(SEED)
    drawn = (
        Hutchinson(law="rademacher", noise="per-point")
        .draw(Quadratic(h), many, [LAPLACIAN], generator, [1] * k)[LAPLACIAN]
        .detach()
    )
    residuals = drawn - h.trace()
    u_statistic = independent_products(residuals, 1)
    halves = independent_products(torch.stack([residuals[: k // 2].mean(0), residuals[k // 2 :].mean(0)]), 1)
    few = Hutchinson(samples=k, law="rademacher")
    assert SquaredResiduals(few, [expr]).groups("unbiased", Quadratic(h)) == [1] * k
    assert float(u_statistic.var()) == pytest.approx(v**2 * 2 / (k * (k - 1)), rel=0.1)
    assert float(halves.var()) == pytest.approx(v**2 * 4 / k**2, rel=0.1)


def test_a_function_that_is_no_polynomial_is_noted() -> None:
    """Only the square of the residual is corrected, and the note says so."""
    squares = SquaredResiduals(Smoothing(weights="stein"), [laplacian(U) + sin(U)])
    assert squares.note is not None
    assert "the bias of its square is corrected, that inside it is not" in squares.note
    assert SquaredResiduals(Hutchinson(), [RESIDUALS["allen-cahn"]]).note is None
    # values are exact here, and the sine of them
    assert SquaredResiduals(Hutchinson(), [laplacian(U) + sin(U)]).note is None
    assert SquaredResiduals(Hutchinson(), [sin(laplacian(U))]).note is not None


def test_groups_use_every_sample() -> None:
    network, _ = setting()
    for samples in range(12, 30):
        for name, expr in RESIDUALS.items():
            for correction in ("biased", "unbiased-loss", "unbiased"):
                for estimator in (Hutchinson(samples=samples), Smoothing(samples=samples, weights="stein")):
                    sizes = SquaredResiduals(estimator, [expr]).groups(correction, network)
                    assert sum(sizes) == samples, name
                    assert min(sizes) >= estimator.smallest_group
                    assert max(sizes) - min(sizes) <= 1
    signs, stein = Hutchinson(samples=16, law="rademacher"), Smoothing(samples=32, weights="stein")
    assert SquaredResiduals(signs, [laplacian(U)]).groups("unbiased", network) == [1] * 16
    assert SquaredResiduals(stein, [laplacian(U)]).groups("unbiased", network) == [8] * 4
