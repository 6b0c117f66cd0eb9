"""The bias of squared residuals: what each correction removes, at which cost and variance."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pinnx.expr import (
    Coordinates,
    Evaluator,
    Expr,
    Known,
    Partial,
    Points,
    Unknown,
    atoms,
    directional,
    dt,
    grad,
    laplacian,
    norm2,
    total,
    with_explicit_values,
    x,
)
from pinnx.networks import Mlp
from pinnx.networks.base import Network
from pinnx.solvers.derivatives import Autodiff, Hutchinson, Sdgd, Smoothing, sampled
from pinnx.solvers.derivatives.sampled import Correction, SampledEstimator, SquaredResiduals, independent_products
from pinnx.testing.statistics import bonferroni_bound, standard_errors
from tests.solvers.test_estimator_variance import Quadratic, off_diagonal, quadratic, squared
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
    "differences": replace(LARGE, law="rademacher"),
    "hutchinson": Hutchinson(samples=12, law="rademacher", noise="per-point"),
}
#: In a row space of two dimensions: one direction a group, since two would leave no noise.
ORTHOGONAL: dict[str, SampledEstimator] = {
    "differences": replace(LARGE, samples=2),
    "hutchinson": Hutchinson(samples=2, noise="per-point"),
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
    where: tuple[Network, Points] | None = None,
) -> tuple[Tensor, Tensor]:
    """Independent means of the loss (k,) and of its gradient (k, P); every point stands `repetitions` times."""
    network, points = where or setting()
    many = Points(points.tensor.repeat(repetitions, 1), points.coordinates)
    squares, generator = SquaredResiduals(estimator, [expr]), torch.Generator().manual_seed(SEED)
    values, gradients = [], []
    for _ in range(batches):
        (loss,) = squares(network, many, generator, correction)
        if with_gradient:
            gradients.append(gradient(loss, network))
        values.append(loss.detach())
    return torch.stack(values), torch.stack(gradients) if gradients else torch.zeros(0)


def assert_loss(
    estimator: SampledEstimator, expr: Expr, correction: Correction, where: tuple[Network, Points] | None = None
) -> None:
    """Loss and gradient are on average those of the true residual."""
    network, points = where or setting()
    truth = true_residual(estimator, expr, network, points).square().mean()
    values, gradients = losses(estimator, expr, correction, where=where)
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


@pytest.mark.parametrize("name", RESIDUALS)
@pytest.mark.parametrize("estimator", ORTHOGONAL)
def test_orthogonal_directions_give_unbiased_losses_too(name: str, estimator: str) -> None:
    assert_loss(ORTHOGONAL[estimator], RESIDUALS[name], "unbiased")


@pytest.mark.parametrize("estimator", ORTHOGONAL)
def test_groups_of_orthogonal_directions_are_large(estimator: str) -> None:
    """Two groups, since only the Laplacian is random and no product has two; and noise where they are not full."""
    network, _ = setting()
    squares = SquaredResiduals(replace(ORTHOGONAL[estimator], samples=12), [RESIDUALS["allen-cahn"]])  # type: ignore[type-var]
    assert squares.slots == 1
    assert squares.groups("unbiased", network) == [6, 6]


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
    squares = SquaredResiduals(Hutchinson(samples=8, law="rademacher", noise="per-point"), [expr])
    generator = torch.Generator().manual_seed(SEED)
    for correction, bias in {"biased": 2 * squared(off_diagonal(h)) / 8, "unbiased-loss": 0.0}.items():
        network = Quadratic(h)
        (loss,) = squares(network, many, generator, correction)  # type: ignore[arg-type]
        assert float(loss.detach()) - 0.25 == pytest.approx(bias, abs=0.03 * 2 * squared(off_diagonal(h)) / 8)
        # and of its gradient: that of (tr H − c)² plus that of the variance
        expected = torch.eye(len(h)) + (4 * off_diagonal(h) / 8 if correction == "biased" else 0.0)
        (slope,) = torch.autograd.grad(loss, list(network.parameters()))
        assert float((slope - expected).norm()) < 0.1 * float(4 * off_diagonal(h).norm() / 8)


@pytest.mark.parametrize("correction", ["biased", "unbiased"])
def test_sdgd_and_noise_that_the_points_share(correction: Correction) -> None:
    """One draw for the whole batch: repetitions are calls."""
    network, points = setting()
    expr = RESIDUALS["burgers"]
    for estimator in (
        Sdgd(samples=2),
        Hutchinson(samples=4, law="rademacher"),
        Smoothing(sigma=0.3, weights="stein", samples=8),
    ):
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
