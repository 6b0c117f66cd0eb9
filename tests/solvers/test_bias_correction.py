"""The bias of squared residuals: what each correction removes, at which cost and variance."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations

import pytest
import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.expr import (
    Coordinates,
    Evaluator,
    Expr,
    Known,
    Partial,
    Points,
    Unknown,
    Value,
    atoms,
    directional,
    dt,
    grad,
    laplacian,
    norm2,
    sin,
    total,
    with_explicit_values,
    x,
)
from pinnx.networks import Mlp
from pinnx.networks.base import Network
from pinnx.solvers.derivatives import Autodiff, Hutchinson, Sdgd, Smoothing, sampled
from pinnx.solvers.derivatives.sampled import Correction, SampledEstimator, SquaredResiduals, independent_products
from pinnx.testing.statistics import bonferroni_bound, standard_errors
from tests.solvers.test_estimator_variance import LAPLACIAN, Quadratic, off_diagonal, quadratic, squared
from tests.solvers.test_sampled_estimators import TestSmoothing as Kit
from tests.solvers.test_sampled_estimators import difference_truth, stein_truth

Kit.__test__ = False  # type: ignore[attr-defined]
SEED = 5_120_867
U = Unknown("u")
FORCING = Known("g", lambda p: p.x.sin().sum(1))
RESIDUALS: dict[str, Expr] = {
    "linear": dt(U) - laplacian(U) + directional(U, x) - 0.3 * U,
    "allen-cahn": laplacian(U) + U - U**3 - FORCING,
    "hjb": dt(U) + laplacian(U) - norm2(grad(U)),
    "burgers": dt(U) + U * total(grad(U)) - 0.5 * laplacian(U),
}
#: Twelve samples are enough for the six independent factors of u³ · u³, in groups of two.
LARGE = Smoothing(sigma=0.5, sigma_time=0.3, samples=12, noise="per-point")
ESTIMATORS: dict[str, SampledEstimator] = {
    "stein": replace(LARGE, weights="stein"),
    "differences": LARGE,
    "hutchinson": Hutchinson(samples=12, noise="per-point"),
}


def setting(dimension: int = 3) -> tuple[Network, Points]:
    """More dimensions than hidden units, and a network whose output is of size one."""
    generator = torch.Generator().manual_seed(SEED)
    network = Mlp(width=2, depth=2, activation="sin").build(dimension + 1, 1, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=generator).mul_(0.7)
    rows = torch.rand(2, dimension + 1, generator=generator, dtype=torch.float64)
    return network, Points(rows, Coordinates.of(x=dimension, t=0))


def true_residual(estimator: SampledEstimator, expr: Expr, network: Network, points: Points) -> Tensor:
    """The residual of the expectations of the atoms, (n,): what an unbiased estimate estimates."""
    expr = with_explicit_values(expr)
    if isinstance(estimator, Smoothing):
        requests = atoms(expr)
        if estimator.weights == "stein":
            timed = any(isinstance(atom, Partial) for atom in requests)
            values = {atom: stein_truth(estimator, network, points, atom, timed=timed) for atom in requests}
        else:
            values = {atom: difference_truth(estimator, network, points, atom) for atom in requests}
    else:
        values = Autodiff().estimate(network, points, atoms(expr), torch.Generator())
    return Evaluator(points, values)(expr)


def estimated_residuals(
    estimator: SampledEstimator, expr: Expr, network: Network, points: Points, sizes: list[int], seed: int
) -> Tensor:
    """One estimate of the residual per group, all factors from the same samples: (g, n)."""
    expr = with_explicit_values(expr)
    values = estimator.draw(network, points, atoms(expr), torch.Generator().manual_seed(seed), sizes)
    return Evaluator(points, values)(expr).expand(len(sizes), len(points))


def gradient(value: Tensor, network: Network) -> Tensor:
    parts = torch.autograd.grad(value, list(network.parameters()), materialize_grads=True)
    return torch.cat([part.ravel() for part in parts])


def losses(
    estimator: SampledEstimator,
    expr: Expr,
    correction: Correction,
    *,
    batches: int = 40,
    repetitions: int = 100,
    with_gradient: bool = True,
) -> tuple[Tensor, Tensor]:
    """Independent means of the loss (k,) and of its gradient (k, P); every point stands `repetitions` times."""
    network, points = setting()
    many = Points(points.tensor.repeat(repetitions, 1), points.coordinates)
    squares, generator = SquaredResiduals(estimator, [expr]), torch.Generator().manual_seed(SEED)
    values, gradients = [], []
    for _ in range(batches):
        (loss,) = squares(network, many, generator, correction)
        if with_gradient:
            gradients.append(gradient(loss, network))
        values.append(loss.detach())
    return torch.stack(values), torch.stack(gradients) if gradients else torch.zeros(0)


def assert_loss(estimator: SampledEstimator, expr: Expr, correction: Correction) -> None:
    """Loss and gradient are on average those of the true residual."""
    network, points = setting()
    truth = true_residual(estimator, expr, network, points).square().mean()
    values, gradients = losses(estimator, expr, correction)
    assert float(standard_errors(values, truth)) < 4
    expected = gradient(truth, network)
    assert float(standard_errors(gradients, expected).max()) < bonferroni_bound(len(expected), len(gradients))


@pytest.mark.parametrize("name", RESIDUALS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("realization", ["u-statistic", "independent"])
def test_unbiased_losses_have_the_true_mean_and_gradient(name: str, estimator: str, realization) -> None:
    samples = 12 if realization == "u-statistic" else 2
    chosen = replace(ESTIMATORS[estimator], realization=realization, samples=samples)  # type: ignore[type-var]
    assert_loss(chosen, RESIDUALS[name], "unbiased")


@pytest.mark.parametrize(
    ("name", "estimator"),
    # Stein's estimates of values and slopes are random: squaring them inside the residual leaves a bias
    [("linear", "stein"), *((name, other) for name in RESIDUALS for other in ("differences", "hutchinson"))],
)
@pytest.mark.parametrize("realization", ["u-statistic", "independent"])
def test_unbiased_squares_suffice_where_the_factors_of_products_are_exact(
    name: str, estimator: str, realization
) -> None:
    samples = 12 if realization == "u-statistic" else 2
    chosen = replace(ESTIMATORS[estimator], realization=realization, samples=samples)  # type: ignore[type-var]
    assert_loss(chosen, RESIDUALS[name], "unbiased-loss")


PRODUCTS: dict[str, Expr] = {"u Δu": U * laplacian(U), "|∇u|²": norm2(grad(U)), "u Σ∂u": U * total(grad(U))}


@pytest.mark.parametrize("name", PRODUCTS)
def test_unbiased_squares_leave_the_bias_inside_the_residual(name: str) -> None:
    """The mean loss is the square of the mean residual, whose products share samples; that is not the true residual."""
    estimator, expr = replace(ESTIMATORS["stein"], samples=4), PRODUCTS[name]  # type: ignore[type-var]
    network, points = setting()
    with torch.no_grad():
        drawn = estimated_residuals(estimator, expr, network, points, [2] * 40_000, SEED + 1)
        truth = true_residual(estimator, expr, network, points)
        assert float(standard_errors(drawn, truth).max()) > 20
        values, _ = losses(estimator, expr, "unbiased-loss", repetitions=1000, with_gradient=False)
    halves = independent_products(drawn.reshape(2, -1, len(points)).flatten(1), 1).reshape(-1, len(points)).mean(1)
    spread = float((values.var() / len(values) + halves.var() / len(halves)) ** 0.5)
    assert abs(float(values.mean() - halves.mean())) < 4 * spread


@pytest.mark.parametrize("name", RESIDUALS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_bias_of_the_biased_loss_is_the_variance_of_the_residual(name: str, estimator: str) -> None:
    """Less its true value, so that the variance is all that is left; of the solution the loss would be this too."""
    chosen = replace(ESTIMATORS[estimator], samples=4)  # type: ignore[type-var]
    network, points = setting()
    truth = true_residual(chosen, RESIDUALS[name], network, points).detach()
    expr = RESIDUALS[name] - Known("r", lambda p: truth.repeat(len(p) // len(truth)))
    with torch.no_grad():
        drawn = estimated_residuals(chosen, expr, network, points, [4] * 4000, SEED + 1)
        values, _ = losses(chosen, expr, "biased", repetitions=200, with_gradient=False)
    variance = drawn.var(0).mean() + drawn.mean(0).square().mean()
    blocks = torch.stack([block.square().mean() for block in drawn.split(100)])
    spread = float((values.var() / len(values) + blocks.var() / len(blocks)) ** 0.5)
    assert abs(float(values.mean() - variance)) < 4 * spread
    assert float(values.mean()) > 10 * spread, "the test could not tell"
    if name == "linear" or estimator != "stein":  # where the residual itself is unbiased
        assert float(values.mean()) == pytest.approx(float(drawn.var(0).mean()), abs=4 * spread)


def test_the_bias_on_a_quadratic_is_the_formula() -> None:
    """Δu − c of a quadratic, by Hutchinson: 2‖offdiag H‖²/K above the true square."""
    h, point = quadratic()
    many = Points(point.tensor.expand(40_000, -1), point.coordinates)
    expr = laplacian(U) - float(h.trace()) + 0.5
    squares = SquaredResiduals(Hutchinson(samples=8, noise="per-point"), [expr])
    generator = torch.Generator().manual_seed(SEED)
    for correction, bias in {"biased": 2 * squared(off_diagonal(h)) / 8, "unbiased-loss": 0.0}.items():
        (loss,) = squares(Quadratic(h), many, generator, correction)  # type: ignore[arg-type]
        assert float(loss.detach()) - 0.25 == pytest.approx(bias, abs=0.03 * 2 * squared(off_diagonal(h)) / 8)


@pytest.mark.parametrize("correction", ["biased", "unbiased"])
def test_sdgd_and_noise_that_the_points_share(correction: Correction) -> None:
    """One draw for the whole batch: repetitions are calls."""
    network, points = setting()
    expr = RESIDUALS["burgers"]
    for estimator in (Sdgd(samples=2), Hutchinson(samples=4), Smoothing(sigma=0.3, weights="stein", samples=8)):
        estimator = (
            replace(estimator, samples=8) if correction == "unbiased" and estimator.kind != "sdgd" else estimator
        )
        if correction == "unbiased" and isinstance(estimator, Sdgd):
            estimator = Sdgd(samples=3, realization="independent")
        squares, generator = SquaredResiduals(estimator, [expr]), torch.Generator().manual_seed(SEED)
        with torch.no_grad():
            values = torch.stack([squares(network, points, generator, correction)[0] for _ in range(500)])
            truth = true_residual(estimator, expr, network, points).square().mean()
        worst = float(standard_errors(values, truth))
        if correction == "unbiased":
            assert worst < 4
        elif not isinstance(estimator, Smoothing):
            assert float(values.mean()) > float(truth) * (1 + 1e-6)


# --- planted errors ---------------------------------------------------------------------------------------------------


def planted_z(estimator: str, name: str, correction: Correction) -> tuple[float, float]:
    """Standard errors of loss and of the worst parameter's gradient, with the power of many repetitions."""
    network, points = setting()
    chosen, expr = ESTIMATORS[estimator], {**RESIDUALS, **PRODUCTS}[name]
    truth = true_residual(chosen, expr, network, points).square().mean()
    values, gradients = losses(chosen, expr, correction, repetitions=1500)
    expected = gradient(truth, network)
    return float(standard_errors(values, truth)), float(standard_errors(gradients, expected).max())


def test_a_square_that_keeps_its_own_terms_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """S²/K² in place of (S² − Σ r²)/(K(K − 1))."""
    monkeypatch.setattr(sampled, "independent_products", lambda r, slots: r.mean(0).square())
    loss, slope = planted_z("stein", "linear", "unbiased")
    assert min(loss, slope) > 20


def test_a_detached_factor_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """sg(r)·r′ has the right mean and half of the gradient (published code)."""

    def half(r: Tensor, slots: int) -> Tensor:
        return independent_products(r, slots).detach() / 2 + independent_products(r, slots) / 2

    monkeypatch.setattr(sampled, "independent_products", half)
    loss, slope = planted_z("stein", "linear", "unbiased")
    assert loss < 4
    assert slope > 20


def test_products_that_share_their_samples_are_found() -> None:
    """The correction of the loss alone, in place of the full one."""
    loss, slope = planted_z("stein", "|∇u|²", "unbiased-loss")
    assert min(loss, slope) > 20


def test_pairs_that_overlap_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Residuals of two slots multiplied as though they had one: neighbors share a group."""
    monkeypatch.setattr(sampled, "independent_products", lambda r, slots: independent_products(r, 1))
    loss, _ = planted_z("stein", "|∇u|²", "unbiased")
    assert loss > 20


# --- the algebra, the counts, the variance ----------------------------------------------------------------------------


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


class Counting(Network):
    """Counts the rows that pass through the tail."""

    def __init__(self, network: Network):
        super().__init__()
        self.network, self.rows = network, 0

    def first_affine(self):
        return self.network.first_affine()

    def tail(self, hidden: Tensor) -> Tensor:
        self.rows += hidden.shape[0]
        return self.network.tail(hidden)


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
        stated = estimator.evaluations(squares.requests, sum(squares.groups(correction)))
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
    drawn = Hutchinson(noise="per-point").draw(Quadratic(h), many, [LAPLACIAN], generator, [1] * k)[LAPLACIAN].detach()
    residuals = drawn - h.trace()
    u_statistic = independent_products(residuals, 1)
    halves = independent_products(torch.stack([residuals[: k // 2].mean(0), residuals[k // 2 :].mean(0)]), 1)
    assert SquaredResiduals(Hutchinson(samples=k), [expr]).groups("unbiased") == [1] * k
    assert float(u_statistic.var()) == pytest.approx(v**2 * 2 / (k * (k - 1)), rel=0.1)
    assert float(halves.var()) == pytest.approx(v**2 * 4 / k**2, rel=0.1)


def test_a_function_that_is_no_polynomial_is_noted() -> None:
    """Only the square of the residual is corrected, and the note says so."""
    squares = SquaredResiduals(Hutchinson(), [laplacian(U) + sin(U)])
    assert squares.note is not None
    assert "the bias of its square is corrected, that inside it is not" in squares.note
    assert SquaredResiduals(Hutchinson(), [RESIDUALS["allen-cahn"]]).note is None


def test_groups_use_every_sample() -> None:
    for samples in range(12, 30):
        for name, expr in RESIDUALS.items():
            for correction in ("biased", "unbiased-loss", "unbiased"):
                for estimator in (Hutchinson(samples=samples), Smoothing(samples=samples, weights="stein")):
                    sizes = SquaredResiduals(estimator, [expr]).groups(correction)
                    assert sum(sizes) == samples, name
                    assert min(sizes) >= estimator.smallest_group
                    assert max(sizes) - min(sizes) <= 1
    assert SquaredResiduals(Hutchinson(samples=16), [laplacian(U)]).groups("unbiased") == [1] * 16
    assert SquaredResiduals(Smoothing(samples=32, weights="stein"), [laplacian(U)]).groups("unbiased") == [8] * 4
