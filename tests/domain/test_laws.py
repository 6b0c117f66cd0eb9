"""The laws of the domains, by statistical tests.

Each Kolmogorov-Smirnov test rejects a right law with probability 1e-6 (the seeds are fixed, so they either always pass
or always fail); moments are compared at five standard errors.
"""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from pinnx.domain import AtTime, Ball, Box, Domain, DriftingGaussian, Gaussian, Interval, Product, Sphere

N = 4000
SIGNIFICANCE = 1e-6
METHODS = ["uniform", "sobol"]


def draw(domain: Domain, method: str = "uniform", n: int = N, seed: int = 55207):
    return domain.sample(n, torch.Generator().manual_seed(seed), method=method)


def assert_law(sample: torch.Tensor, cdf) -> None:
    assert stats.kstest(sample.double().numpy(), cdf).pvalue > SIGNIFICANCE


def assert_mean(sample: torch.Tensor, mean: float | torch.Tensor) -> None:
    error = sample.std(0) / math.sqrt(len(sample))
    assert bool(((sample.mean(0) - mean).abs() <= 5 * error + 1e-12).all())


@pytest.mark.parametrize("method", METHODS)
class TestLaws:
    def test_box(self, method: str) -> None:
        x = draw(Box((-1.0, 2.0), (0.5, 7.0)), method).x
        assert_law(x[:, 0], stats.uniform(-1, 1.5).cdf)
        assert_law(x[:, 1], stats.uniform(2, 5).cdf)

    def test_interval(self, method: str) -> None:
        assert_law(draw(Interval(-2.0, 3.0), method).t, stats.uniform(-2, 5).cdf)

    @pytest.mark.parametrize("dimension", [1, 2, 7])
    def test_ball_of_uniform_density(self, method: str, dimension: int) -> None:
        x = draw(Ball(dimension, 1.5), method).x
        assert_law((x.norm(dim=1) / 1.5) ** dimension, stats.uniform.cdf)
        # The second moments of a uniform ball are R² / (d + 2).
        assert_mean(x.square(), 1.5**2 / (dimension + 2))
        assert_mean(x, 0.0)

    @pytest.mark.parametrize("dimension", [1, 2, 7])
    def test_ball_of_the_published_benchmarks(self, method: str, dimension: int) -> None:
        x = draw(Ball(dimension, 1.5, radius_law="uniform-radius"), method).x
        assert_law(x.norm(dim=1) / 1.5, stats.uniform.cdf)
        assert_mean(x.square(), 1.5**2 / 3 / dimension)

    def test_sphere(self, method: str) -> None:
        x = draw(Sphere(3, 2.0), method).x
        # Archimedes: the height of a point of the sphere is uniform.
        for i in range(3):
            assert_law(x[:, i], stats.uniform(-2, 4).cdf)

    def test_circle(self, method: str) -> None:
        x = draw(Sphere(2), method).x
        assert_law(torch.atan2(x[:, 1], x[:, 0]), stats.uniform(-math.pi, 2 * math.pi).cdf)

    def test_two_points_are_the_sphere_of_one_dimension(self, method: str) -> None:
        x = draw(Sphere(1, 3.0), method).x
        assert set(x[:, 0].tolist()) == {-3.0, 3.0}
        assert_mean(x, 0.0)

    def test_gaussian(self, method: str) -> None:
        x = draw(Gaussian(2, torch.tensor([1.0, -2.0]), 4.0), method).x
        assert_law(x[:, 0], stats.norm(1, 2).cdf)
        assert_law(x[:, 1], stats.norm(-2, 2).cdf)

    def test_drifting_gaussian(self, method: str) -> None:
        drift = torch.tensor([1.0, -3.0], dtype=torch.float64)
        points = draw(DriftingGaussian(2, drift, variance=2.0, decay=0.5, horizon=3.0), method)
        assert_law(points.t, stats.uniform(0, 3).cdf)
        standard = (points.x - drift * points.t[:, None]) / (2 - 0.5 * points.t[:, None]).sqrt()
        for i in range(2):
            assert_law(standard[:, i], stats.norm.cdf)
        # The standardized points know nothing of the time.
        assert abs(float(stats.spearmanr(standard[:, 0], points.t).statistic)) < 5 / math.sqrt(N)

    def test_product(self, method: str) -> None:
        points = draw(Product(Box(0.0, 1.0, dimension=2), Interval(0.0, 2.0)), method)
        assert_law(points.x[:, 1], stats.uniform.cdf)
        assert_law(points.t, stats.uniform(0, 2).cdf)
        assert abs(float(stats.spearmanr(points.x[:, 0], points.t).statistic)) < 5 / math.sqrt(N)

    def test_slice_of_a_drifting_gaussian(self, method: str) -> None:
        points = draw(DriftingGaussian(2, 1.0, variance=2.0, decay=1.0).at(0.5), method)
        assert_law(points.x[:, 0], stats.norm(0.5, math.sqrt(1.5)).cdf)
        assert set(points.t.tolist()) == {0.5}

    def test_faces_of_a_box_by_area(self, method: str) -> None:
        points = draw(Box((0.0, 0.0), (1.0, 4.0)).boundary(), method)
        # The perimeter is 10: 4 on each long side (normal ±e1), 1 on each short one.
        for normal, share in {(1.0, 0.0): 0.4, (-1.0, 0.0): 0.4, (0.0, 1.0): 0.1, (0.0, -1.0): 0.1}.items():
            on_face = (points.normal == torch.tensor(normal, dtype=torch.float64)).all(dim=1)
            assert_mean(on_face.double(), share)
            along = points.x[on_face][:, 1 if normal[0] else 0]
            assert_law(along / (4.0 if normal[0] else 1.0), stats.uniform.cdf)

    def test_ends_of_an_interval(self, method: str) -> None:
        points = draw(Interval(0.0, 2.0).boundary(), method)
        assert_mean(points.t, 1.0)
        assert torch.equal(points.normal[:, 0], points.t - 1)


def test_sobol_points_fill_the_cube_more_evenly_than_independent_ones() -> None:
    domain = Box(0.0, 1.0, dimension=3)
    error = {m: abs(float(draw(domain, m, 4096).x.prod(dim=1).mean()) - 1 / 8) for m in METHODS}
    # The standard error of independent draws is 0.0024.
    assert error["sobol"] < 1e-4


def test_time_slice_of_a_product() -> None:
    slice_ = Product(Ball(3), Interval(0.0, 1.0)).at(0.25)
    assert isinstance(slice_, AtTime)
    assert set(draw(slice_, n=5).t.tolist()) == {0.25}
