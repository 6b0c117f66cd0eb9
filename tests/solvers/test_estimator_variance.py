"""The variance of stochastic estimators is what theory predicts, and falls with the number of samples as it should."""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from pinnx.expr import (
    Atom,
    Coordinates,
    Points,
    Unknown,
    atoms,
    directional,
    dt,
    grad,
    hessian,
    laplacian,
    total,
    trace,
    x,
)
from pinnx.networks import Mlp
from pinnx.networks.base import Network
from pinnx.solvers.derivatives import Hutchinson, Sdgd, Smoothing, smoothing
from pinnx.solvers.derivatives.sampled import SampledEstimator

U = Unknown("u")
(LAPLACIAN,) = atoms(laplacian(U))
SEED = 7_730_149
SPACES: tuple[Literal["rows", "full"], ...] = ("rows", "full")
BASELINES: tuple[Literal["center", "leave-one-out"], ...] = ("center", "leave-one-out")


class Quadratic(Network):
    """xᵀHx/2, of which the formulas of the variance are exact."""

    def __init__(self, hessian: Tensor):
        super().__init__()
        self.hessian = torch.nn.Parameter(hessian)

    def first_affine(self) -> tuple[Tensor, Tensor]:
        d = len(self.hessian)
        return torch.eye(d, dtype=torch.float64), torch.zeros(d, dtype=torch.float64)

    def tail(self, hidden: Tensor) -> Tensor:
        half = torch.full((1, len(self.hessian)), 0.5, dtype=torch.float64)
        return torch.nn.functional.linear(hidden * torch.nn.functional.linear(hidden, self.hessian), half)


def quadratic(d: int = 6) -> tuple[Tensor, Points]:
    generator = torch.Generator().manual_seed(SEED)
    root = torch.randn(d, d, generator=generator, dtype=torch.float64)
    points = Points(torch.rand(1, d, generator=generator, dtype=torch.float64), Coordinates.of(x=d))
    return root + root.T + torch.eye(d, dtype=torch.float64), points


def squared(matrix: Tensor) -> float:
    return float(matrix.square().sum())


def off_diagonal(h: Tensor) -> Tensor:
    return h - torch.diag(h.diagonal())


def stein(h: Tensor) -> float:
    return (len(h) / 2 + 5) * float(h.trace()) ** 2 + (len(h) + 12) * squared(h)


def stein_leave_one_out(h: Tensor) -> float:
    """Of many samples: the term (d/2 + 4)(Δf)² is gone."""
    return float(h.trace()) ** 2 + (len(h) + 12) * squared(h)


def orthogonal(h: Tensor, k: int) -> float:
    """The mean of k of r orthogonal directions, r = d: the formula of `directions`."""
    r = len(h)
    return 2 * (r - k) / ((r - 1) * (r + 2) * k) * (r * squared(h) - float(h.trace()) ** 2)


PREDICTIONS = {
    "stein": (Smoothing(samples=1, weights="stein", baseline="center", noise="per-point"), stein),
    "stein, leave-one-out": (Smoothing(samples=64, weights="stein", noise="per-point"), stein_leave_one_out),
    "differences, signs": (
        Smoothing(samples=1, law="rademacher", noise="per-point"),
        lambda h: 2 * squared(off_diagonal(h)),
    ),
    "differences, one direction": (Smoothing(samples=1, noise="per-point"), lambda h: orthogonal(h, 1)),
    "differences, half of the directions": (Smoothing(samples=3, noise="per-point"), lambda h: 3 * orthogonal(h, 3)),
    "hutchinson, gaussian": (Hutchinson(samples=1, law="gaussian", noise="per-point"), lambda h: 2 * squared(h)),
    "hutchinson, signs": (
        Hutchinson(samples=1, law="rademacher", noise="per-point"),
        lambda h: 2 * squared(off_diagonal(h)),
    ),
    "hutchinson, five directions of six": (
        Hutchinson(samples=5, noise="per-point"),
        lambda h: 5 * orthogonal(h, 5),
    ),
    "hutchinson, a full group and two more": (
        Hutchinson(samples=8, noise="per-point"),
        lambda h: 8 * (2 / 8) ** 2 * orthogonal(h, 2),
    ),
    "sdgd": (Sdgd(samples=1), lambda h: len(h) * squared(h.diagonal()) - float(h.trace()) ** 2),
}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_variance_of_one_sample_is_as_predicted(name: str) -> None:
    estimator, formula = PREDICTIONS[name]
    h, point = quadratic()
    generator = torch.Generator().manual_seed(SEED)
    if isinstance(estimator, Sdgd):
        values = estimator.draw(Quadratic(h), point, [LAPLACIAN], generator, [1] * 3000)[LAPLACIAN].detach()
    else:
        count = 200_000 // max(1, estimator.samples // 4)
        many = Points(point.tensor.expand(count, -1), point.coordinates)
        with torch.no_grad():
            values = estimator.estimate(Quadratic(h), many, [LAPLACIAN], generator)[LAPLACIAN]
    assert float(values.var()) * estimator.samples == pytest.approx(formula(h), rel=0.1)


ESTIMATORS = [
    Smoothing(sigma=0.3, weights="stein", baseline="center"),
    Smoothing(sigma=0.3, weights="stein", noise="per-point"),
    Smoothing(sigma=0.3, weights="stein", space="full"),
    Smoothing(sigma=0.3, law="rademacher"),
    Smoothing(sigma=0.3, law="rademacher", space="full", noise="per-point"),
    Hutchinson(law="rademacher"),
    Hutchinson(law="gaussian", space="full"),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: f"{e.kind}-{e.space}-{e.noise}")
def test_the_variance_falls_like_one_over_the_samples(estimator: SampledEstimator) -> None:
    """By regression in logarithms, for every atom that is random."""
    generator = torch.Generator().manual_seed(SEED)
    network = Mlp(width=6, depth=2).build(9, 1, generator=generator, dtype=torch.float64)
    points = Points(torch.rand(4, 9, generator=generator, dtype=torch.float64), Coordinates.of(x=8, t=0))
    diagonal = torch.linspace(0.2, 1.4, 8, dtype=torch.float64)
    first = U + directional(U, x) + total(grad(U)) + dt(U)
    wanted: tuple[Atom, ...] = atoms(first + laplacian(U) + trace(diagonal, hessian(U)))
    counts = [16, 32, 64, 128, 256]
    variances: dict[Atom, list[float]] = {atom: [] for atom in wanted}
    with torch.no_grad():
        for count in counts:
            drawn = estimator.draw(network, points, wanted, generator, [count] * 300)
            for atom in wanted:
                variances[atom].append(float(drawn[atom].var(0).mean()) if len(drawn[atom]) > 1 else 0.0)
    random = {atom: values for atom, values in variances.items() if max(values) > 1e-12}
    assert LAPLACIAN in random
    for atom, values in random.items():
        slope = np.polyfit(np.log(counts), np.log(values), 1)[0]
        assert slope == pytest.approx(-1, abs=0.1), str(atom)


def test_derivatives_in_space_do_not_see_the_noise_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All evaluations of an x-derivative share their time (eq. 28): of a function of time alone they have no noise."""
    generator = torch.Generator().manual_seed(SEED)
    network = Mlp(width=6, depth=2).build(4, 1, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        network.first_affine()[0][:, :3] = 0  # type: ignore[index]
    points = Points(torch.rand(4, 4, generator=generator, dtype=torch.float64), Coordinates.of(x=3, t=0))
    space = atoms(laplacian(U) + directional(U, x) + total(grad(U)))
    estimator = Smoothing(sigma=0.3, sigma_time=0.5, weights="stein", space="full", samples=8)

    def largest() -> list[float]:
        with torch.no_grad():
            drawn = estimator.draw(network, points, (*atoms(dt(U)), *space), generator, [8] * 50)
        assert float(drawn[atoms(dt(U))[0]].std()) > 0.1
        return [float(drawn[atom].abs().max()) for atom in space]

    assert max(largest()) < 1e-12

    def turned(self, space: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """The planted mistake: the antithetic partner turns the sign of the time, too."""
        return self._tail(self.center, time + space), self._tail(self.center, -time - space)

    monkeypatch.setattr(smoothing._Draw, "_pairs", turned)
    assert min(largest()) > 0.1


def test_noise_of_its_own_for_each_point_averages_out_over_the_batch() -> None:
    """Noise that the points share does not: of estimates at n equal points the mean is as noisy as one of them."""
    h, point = quadratic()
    n, generator = 25, torch.Generator().manual_seed(SEED)
    batch = Points(point.tensor.expand(n, -1), point.coordinates)
    for kind in (Smoothing, Hutchinson):
        variances = {}
        for noise in ("shared", "per-point"):
            drawn = kind(law="rademacher", noise=noise).draw(Quadratic(h), batch, [LAPLACIAN], generator, [4] * 2000)
            variances[noise] = float(drawn[LAPLACIAN].detach().mean(1).var())
        assert variances["shared"] == pytest.approx(2 * squared(off_diagonal(h)) / 4, rel=0.15)
        assert variances["per-point"] == pytest.approx(2 * squared(off_diagonal(h)) / (4 * n), rel=0.15)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_orthogonal_signs_do_not_see_the_diagonal(k: int) -> None:
    """In as many dimensions as a Hadamard matrix has rows."""
    h, point = quadratic(8)
    generator = torch.Generator().manual_seed(SEED)
    drawn = Hutchinson().draw(Quadratic(h), point, [LAPLACIAN], generator, [k] * 20_000)[LAPLACIAN].detach()
    assert float(drawn.var()) == pytest.approx(2 * (8 - k) / (7 * k) * squared(off_diagonal(h)), rel=0.1)
    assert float((drawn - h.trace()).mean().abs()) < 4 * float(drawn.std()) / 20_000**0.5


@pytest.mark.parametrize("d", [6, 8])
@pytest.mark.parametrize("estimator", [Smoothing(), Hutchinson()], ids=lambda e: e.kind)
def test_orthogonal_directions_leave_no_variance_once_they_are_as_many_as_the_rank(
    estimator: SampledEstimator, d: int
) -> None:
    """Of a quadratic; and every group is independent of the others, whatever the sizes."""
    h, point = quadratic(d)
    generator = torch.Generator().manual_seed(SEED)
    drawn = estimator.draw(Quadratic(h), point, [LAPLACIAN], generator, [d, 2 * d, 3, 3 * d, 3])[LAPLACIAN].detach()[
        :, 0
    ]
    torch.testing.assert_close(drawn[[0, 1, 3]], h.trace().expand(3), rtol=1e-8, atol=0)
    assert abs(float(drawn[2] - drawn[4])) > 1e-3


def test_sdgd_without_replacement_has_no_variance_once_all_coordinates_are_drawn() -> None:
    """The variance of the mean of k of d numbers drawn without replacement: (d − k)/(d − 1) of that with."""
    h, point = quadratic()
    d, generator = len(h), torch.Generator().manual_seed(SEED)
    single = d * squared(h.diagonal()) - float(h.trace()) ** 2
    for k in (2, 4, 6):
        values = Sdgd(samples=k).draw(Quadratic(h), point, [LAPLACIAN], generator, [k] * 3000)[LAPLACIAN]
        assert float(values.detach().var()) == pytest.approx(single / k * (d - k) / (d - 1), rel=0.1, abs=1e-20)


@pytest.mark.parametrize("d", [6, 60])
def test_the_default_has_the_lowest_variance_per_network_evaluation(d: int) -> None:
    """Of all combinations of smoothing's options, below and above the width of the network, at its published σ."""
    generator = torch.Generator().manual_seed(SEED + d)
    network = Mlp(width=24, depth=2).build(d, 1, generator=generator, dtype=torch.float64)
    points = Points(torch.randn(8, d, generator=generator, dtype=torch.float64), Coordinates.of(x=d))
    stein = [Smoothing(samples=16, weights="stein", space=a, baseline=b) for a, b in product(SPACES, BASELINES)]
    others = [Smoothing(samples=16, law=a, space=b) for a, b in product(("orthogonal", "rademacher"), SPACES)]
    others.append(Smoothing(samples=16, noise="per-point"))  # which is as noisy at every single point
    noise = {}
    for each in (Smoothing(samples=16), *stein, *others):
        with torch.no_grad():
            drawn = each.draw(network, points, [LAPLACIAN], generator, [16] * 800)[LAPLACIAN]
        noise[each] = float(drawn.var(0).mean()) * each.evaluations([LAPLACIAN], 16)
    default = noise.pop(Smoothing(samples=16))
    assert default <= 1.1 * min(noise.values())  # equal to its own kind in all coordinates where d is the rank
    assert 20 * default < min(noise[each] for each in stein)


def laplacian_std(space, d: int, samples: int, dtype: torch.dtype) -> float:
    """Of one Stein sample with a baseline, of a network of the published size: root mean square over a few points."""
    generator = torch.Generator().manual_seed(SEED)
    network = Mlp(width=128, depth=3).build(d, 1, generator=generator, dtype=dtype)
    directions = torch.nn.functional.normalize(torch.randn(4, d, generator=generator, dtype=dtype), dim=1)
    radii = torch.rand(4, 1, generator=generator, dtype=dtype)
    points = Points(directions * radii, Coordinates.of(x=d))
    estimator = Smoothing(weights="stein", space=space, samples=8)
    with torch.no_grad():
        values = estimator.draw(network, points, [LAPLACIAN], generator, [8] * (samples // 8))[LAPLACIAN]
    return float(values.var(0).mean().sqrt())


def test_the_row_space_lowers_the_deviation_in_1000_dimensions() -> None:
    """The ratio does not depend on the number of samples."""
    full, rows = (laplacian_std(space, 1000, 4000, torch.float64) for space in ("full", "rows"))
    assert full / rows > 1.7


def test_the_row_space_lowers_the_deviation_in_10_000_dimensions() -> None:
    full, rows = (laplacian_std(space, 10_000, 2000, torch.float32) for space in ("full", "rows"))
    assert full / rows > 7
