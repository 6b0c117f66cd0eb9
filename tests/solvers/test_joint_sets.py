"""One set of samples that are drawn together: directions at right angles, coordinates without replacement.

Of fewer samples than a complete set the corrected square has the mean of the complete set's, and varies less than
separate sets do.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from pinnx.expr import (
    Coordinates,
    Evaluator,
    Expr,
    Points,
    Unknown,
    atoms,
    directional,
    grad,
    laplacian,
    norm2,
    trace,
    x,
)
from pinnx.expr import hessian as hessian_of
from pinnx.networks import Mlp
from pinnx.networks.base import Network
from pinnx.solvers.derivatives import Autodiff, Hutchinson, Sdgd, Smoothing, sampled
from pinnx.solvers.derivatives.sampled import SampledEstimator, SquaredResiduals, even_parts, exchangeable_square
from pinnx.testing.statistics import bonferroni_bound, standard_errors
from tests.solvers.test_bias_correction import gradient
from tests.solvers.test_estimator_variance import LAPLACIAN, Quadratic, quadratic
from tests.solvers.toys import Counting

SEED = 2_718_301
U = Unknown("u")
PER_POINT = {"noise": "per-point"}
ESTIMATORS: dict[str, SampledEstimator] = {
    "smoothing": Smoothing(sigma=0.5, **PER_POINT),  # type: ignore[arg-type]
    "smoothing, all coordinates": Smoothing(sigma=0.5, space="full", **PER_POINT),  # type: ignore[arg-type]
    "hutchinson": Hutchinson(**PER_POINT),  # type: ignore[arg-type]
    "hutchinson, all coordinates": Hutchinson(space="full", **PER_POINT),  # type: ignore[arg-type]
}
RESIDUALS: dict[str, Expr] = {
    "linear": laplacian(U) - 0.4 + directional(U, x),
    "products with what is exact": U * laplacian(U) + norm2(grad(U)) - U**3,
    "two operators": laplacian(U) + trace(torch.linspace(0.2, 1.4, 5, dtype=torch.float64), hessian_of(U)),
}


def setting(width: int, dimension: int = 5) -> tuple[Network, Points]:
    """A row space of as many dimensions as the network is wide: of powers of two and others."""
    generator = torch.Generator().manual_seed(SEED + width)
    network = Mlp(width=width, depth=2, activation="sin").build(dimension, 1, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=generator).mul_(0.7)
    rows = torch.rand(2, dimension, generator=generator, dtype=torch.float64)
    return network, Points(rows, Coordinates.of(x=dimension))


def losses(
    estimator: SampledEstimator, expr: Expr, where: tuple[Network, Points], *, correction="unbiased", repetitions=200
) -> tuple[Tensor, Tensor]:
    """Independent means of the loss (k,) and of its gradient (k, P)."""
    network, points = where
    many = Points(points.tensor.repeat(repetitions, 1), points.coordinates)
    squares, generator = SquaredResiduals(estimator, [expr]), torch.Generator().manual_seed(SEED)
    found = []
    for _ in range(40):
        (loss,) = squares(network, many, generator, correction)
        found.append((loss.detach(), gradient(loss, network)))
    values, gradients = zip(*found, strict=True)
    return torch.stack(values), torch.stack(gradients)


def assert_same_mean(one: Tensor, other: Tensor) -> None:
    """Of independent samples (k, P) or (k,) each."""
    one, other = (each.reshape(len(each), -1) for each in (one, other))
    error = (one.var(0) / len(one) + other.var(0) / len(other)).sqrt().clamp_min(1e-12)
    worst = float(((one.mean(0) - other.mean(0)).abs() / error).max())
    assert worst < bonferroni_bound(one.shape[1], len(one))


@pytest.mark.parametrize("name", RESIDUALS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("width", "samples"), [(4, 3), (3, 2)])
def test_the_mean_is_that_of_a_complete_set(name: str, estimator: str, width: int, samples: int) -> None:
    where = setting(width)
    few = replace(ESTIMATORS[estimator], samples=samples)  # type: ignore[type-var]
    complete = few.complete_set(*where, LAPLACIAN)
    assert complete == (5 if "all" in estimator else width)
    every = replace(few, samples=complete)
    assert_same_mean(losses(few, RESIDUALS[name], where)[0], losses(every, RESIDUALS[name], where)[0])
    assert_same_mean(losses(few, RESIDUALS[name], where)[1], losses(every, RESIDUALS[name], where)[1])


@pytest.mark.parametrize("name", RESIDUALS)
@pytest.mark.parametrize(
    "estimator",
    [ESTIMATORS["hutchinson"], ESTIMATORS["hutchinson, all coordinates"], Sdgd()],
    ids=["rows", "all", "sdgd"],
)
def test_a_complete_set_of_exact_second_derivatives_has_no_error(name: str, estimator: SampledEstimator) -> None:
    network, points = setting(4)
    expr = RESIDUALS[name]
    truth = Evaluator(points, Autodiff().estimate(network, points, atoms(expr), torch.Generator()))(expr)
    complete = estimator.complete_set(network, points, LAPLACIAN)
    assert complete is not None
    squares = SquaredResiduals(replace(estimator, samples=complete), [expr])  # type: ignore[type-var]
    (loss,) = squares(network, points, torch.Generator().manual_seed(SEED), "unbiased")
    torch.testing.assert_close(loss, truth.square().mean(), rtol=1e-9, atol=0)
    expected = gradient(truth.square().mean(), network)
    torch.testing.assert_close(gradient(loss, network), expected, rtol=1e-8, atol=1e-10)


def test_what_a_complete_set_of_differences_leaves_is_of_fourth_order() -> None:
    """By regression over σ; and at the default σ nothing beside the variance that is corrected."""
    network, points = setting(3)
    sigmas = [0.02, 0.04, 0.08]
    left = [_variance(Smoothing(sigma=sigma, space="rows", noise="per-point"), network, points, 3) for sigma in sigmas]
    assert np.polyfit(np.log(sigmas), np.log(left), 1)[0] == pytest.approx(4, abs=0.1)
    single = _variance(Smoothing(noise="per-point"), network, points, 1)
    assert _variance(Smoothing(noise="per-point"), network, points, 3) < 1e-5 * single


@torch.no_grad()
def _variance(estimator: Smoothing, network: Network, points: Points, size: int) -> float:
    generator = torch.Generator().manual_seed(SEED)
    return float(estimator.draw(network, points, [LAPLACIAN], generator, [size] * 4000)[LAPLACIAN].var(0).mean())


def test_sdgd_corrects_coordinates_without_replacement() -> None:
    """One draw for the whole batch: repetitions are calls."""
    h, point = quadratic()
    expr, truth = laplacian(U) - 0.3, (h.trace() - 0.3).square()
    squares, generator = SquaredResiduals(Sdgd(samples=4), [expr]), torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        drawn = [squares(Quadratic(h), point, generator, correction)[0] for correction in ("unbiased", "biased") * 600]
    assert float(standard_errors(torch.stack(drawn[::2]), truth)) < 4
    assert float(standard_errors(torch.stack(drawn[1::2]), truth)) > 6


# --- variance ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 3.0], ids=["at the solution", "away from it"])
@pytest.mark.parametrize("samples", [2, 4, 6, 8])
@pytest.mark.parametrize(
    "estimator",
    [Hutchinson(noise="per-point"), Smoothing(noise="per-point"), Sdgd()],
    ids=lambda estimator: estimator.kind,
)
def test_it_varies_no_more_than_two_separate_sets_of_half_the_size(
    estimator: SampledEstimator, samples: int, offset: float
) -> None:
    """Of a quadratic in eight dimensions, of 20 000 losses each."""
    h, point = quadratic(8)
    one = replace(estimator, samples=samples)  # type: ignore[type-var]
    sets = replace(one, samples=samples // 2, realization="independent")
    residual = laplacian(U) - float(h.trace()) - offset
    count = 500 if isinstance(estimator, Sdgd) else 20_000
    many = point if isinstance(estimator, Sdgd) else Points(point.tensor.expand(count, -1), point.coordinates)
    variances = [_loss_variance(each, residual, h, many, count) for each in (one, sets)]
    assert variances[0] <= 1.1 * variances[1]  # known to a few percent; of two samples both are the same
    if samples == 8:
        assert variances[0] < 1e-12 * variances[1], "a complete set"


def _loss_variance(estimator: SampledEstimator, expr: Expr, h: Tensor, many: Points, count: int) -> float:
    generator, products = torch.Generator().manual_seed(SEED), list[Tensor]()

    def kept(function):
        def wrapper(*arguments):
            products.append(function(*arguments).detach())
            return products[-1]

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        for name in ("exchangeable_square", "independent_products"):
            patch.setattr(sampled, name, kept(getattr(sampled, name)))
        with torch.no_grad():
            for _ in range(count // len(many)):
                SquaredResiduals(estimator, [expr])(Quadratic(h), many, generator, "unbiased")
    return float(torch.cat(products).var())


# --- cost and rules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [2, 3, 4, 6, 8, 11])
def test_it_costs_what_the_biased_loss_costs(samples: int) -> None:
    network, points = setting(4)
    counted = Counting(network)
    squares, rows = SquaredResiduals(Smoothing(samples=samples), [RESIDUALS["linear"]]), []
    for correction in ("biased", "unbiased-loss", "unbiased"):
        counted.rows = 0
        squares(counted, points, torch.Generator().manual_seed(SEED), correction)  # type: ignore[arg-type]
        rows.append(counted.rows)
    assert rows == [len(points) * (1 + 2 + 2 * samples)] * 3


def test_what_is_not_affine_or_not_exchangeable_takes_independent_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    network, points = setting(4)
    monkeypatch.setattr(sampled, "exchangeable_square", lambda *arguments: pytest.fail("a joint set"))
    generator = torch.Generator().manual_seed(SEED)
    square = laplacian(U) ** 2 - 1.0
    for estimator, expr in (
        (Hutchinson(samples=4), square),
        (Hutchinson(samples=3, law="rademacher"), RESIDUALS["linear"]),
        (Hutchinson(samples=2, realization="independent"), RESIDUALS["linear"]),
        (Smoothing(samples=4, weights="stein"), laplacian(U)),
        (Hutchinson(samples=8), RESIDUALS["linear"]),  # two complete sets
    ):
        SquaredResiduals(estimator, [expr])(network, points, generator, "unbiased")


# --- planted errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["independent", "none", "population of one less"])
def test_a_wrong_correction_is_found(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(residuals: Tensor, sizes: list[int], complete: int) -> Tensor:
        if wrong == "none":
            return (residuals * residuals.new_tensor(sizes)[:, None]).sum(0).div(sum(sizes)).square()
        return exchangeable_square(residuals, sizes, 10**9 if wrong == "independent" else complete - 1)

    monkeypatch.setattr(sampled, "exchangeable_square", planted)
    h, point = quadratic(8)
    many = Points(point.tensor.expand(10_000, -1), point.coordinates)
    estimator = Hutchinson(samples=6, noise="per-point")
    squares, generator = SquaredResiduals(estimator, [laplacian(U) - float(h.trace())]), torch.Generator()
    generator.manual_seed(SEED)
    with torch.no_grad():
        values = torch.stack([squares(Quadratic(h), many, generator, "unbiased")[0] for _ in range(20)])
    assert float(standard_errors(values, torch.zeros((), dtype=torch.float64))) > 20


def test_parts() -> None:
    assert even_parts(7, 3) == [3, 2, 2]
    assert even_parts(8, 8) == [1] * 8
