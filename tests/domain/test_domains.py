"""What every domain promises: points inside, normals unit and outward, determinism, and errors that say what to do."""

from __future__ import annotations

import pickle
import time

import pytest
import torch

from pinnx.domain import (
    AtTime,
    Ball,
    Box,
    Domain,
    DriftingGaussian,
    Gaussian,
    Interval,
    Product,
    Sphere,
    UserDomain,
)
from pinnx.errors import InputError, ShapeError, UnsupportedError
from pinnx.expr.points import Coordinates, Points

DIMENSIONS = [1, 2, 23]


def domains(d: int) -> dict[str, Domain]:
    space = Box(-5.0, 5.0, dimension=d)
    return {
        "box": space,
        "box of different sides": Box([-i - 1.0 for i in range(d)], [i / 3 for i in range(d)]),
        "ball": Ball(d, 0.7),
        "ball by radius": Ball(d, 0.7, radius_law="uniform-radius"),
        "sphere": Sphere(d, 3.1),
        "interval": Interval(0.1, 0.7),
        "product": Product(Ball(d), Interval(0.0, 0.3)),
        "lateral boundary": Product(space.boundary(), Interval(0.0, 0.3)),
        "initial time": AtTime(space, 0.3),
        "gaussian": Gaussian(d, 2.0, 0.1),
        "drifting gaussian": DriftingGaussian(d),
        "drifting gaussian now": DriftingGaussian(d).at(0.3),
    }


CASES = [pytest.param(domain, id=f"{name} {d}d") for d in DIMENSIONS for name, domain in domains(d).items()]
EDGES = [pytest.param(d, id=f"{n} {k}d") for k in DIMENSIONS for n, d in domains(k).items() if n in {"box", "ball"}]
EDGES += [
    pytest.param(domains(3)["box of different sides"], id="sides 3d"),
    pytest.param(Interval(0.1, 0.7), id="ends"),
]


def generator(seed: int = 60413) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", ["uniform", "sobol"])
@pytest.mark.parametrize("domain", CASES)
def test_points_lie_inside_and_have_their_columns(domain: Domain, method: str, dtype: torch.dtype) -> None:
    points = domain.sample(200, generator(), dtype=dtype, method=method)
    assert points.tensor.shape == (200, domain.coordinates.total)
    assert points.tensor.dtype == dtype
    assert points.coordinates == domain.coordinates
    assert bool(points.tensor.isfinite().all())
    inside = domain.contains(points)
    assert inside.shape == (200,)
    assert bool(inside.all())
    low, high = domain.bounds()
    assert low.shape == high.shape == (domain.coordinates.total,)
    assert bool((low <= high).all())


@pytest.mark.parametrize("method", ["uniform", "sobol"])
@pytest.mark.parametrize("domain", CASES)
def test_the_generator_decides(domain: Domain, method: str) -> None:
    first = domain.sample(16, generator(), method=method).tensor
    assert torch.equal(first, domain.sample(16, generator(), method=method).tensor)
    assert torch.equal(first, pickle.loads(pickle.dumps(domain)).sample(16, generator(), method=method).tensor)
    if domain.coordinates.total > 1 or isinstance(domain, Interval | Box):
        assert not torch.equal(first, domain.sample(16, generator(7), method=method).tensor)


@pytest.mark.parametrize("domain", EDGES)
@pytest.mark.parametrize("method", ["uniform", "sobol"])
def test_normals_are_unit_and_point_outward(domain: Domain, method: str) -> None:
    edge = domain.boundary()
    points = edge.sample(200, generator(), method=method)
    normal = points.normal
    assert normal.shape == points.tensor.shape
    torch.testing.assert_close(normal.norm(dim=1), torch.ones(200, dtype=torch.float64))
    assert bool(edge.contains(points).all())
    assert bool(domain.contains(points).all())
    step = 1e-3 * normal
    assert not bool(domain.contains(Points(points.tensor + step, points.coordinates)).any())
    assert bool(domain.contains(Points(points.tensor - step, points.coordinates)).all())
    assert not bool(edge.contains(Points(points.tensor - step, points.coordinates)).all())


@pytest.mark.parametrize(
    ("domain", "outside"),
    [
        (Box(0.0, 1.0, dimension=2), [[0.5, 1.01], [-0.1, 0.5]]),
        (Ball(2, 2.0), [[2.0, 0.1]]),
        (Sphere(2, 2.0), [[1.0, 0.0]]),
        (Interval(0.0, 1.0), [[1.1], [-0.1]]),
        (Product(Ball(1), Interval(0.0, 1.0)), [[0.0, 1.1], [1.1, 0.5]]),
        (AtTime(Ball(1), 0.5), [[0.0, 0.6], [1.1, 0.5]]),
        (DriftingGaussian(1), [[0.0, 1.1], [float("nan"), 0.5]]),
        (Gaussian(1), [[float("inf")]]),
        (Box(0.0, 1.0, dimension=2).boundary(), [[0.5, 0.5], [1.5, 1.0]]),
        (Interval(0.0, 1.0).boundary(), [[0.5]]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_points_outside_are_outside(domain: Domain, outside: list[list[float]]) -> None:
    points = Points(torch.tensor(outside, dtype=torch.float64), domain.coordinates)
    assert not bool(domain.contains(points).any())


@pytest.mark.parametrize("name", domains(2))
def test_a_hundred_thousand_dimensions_take_a_moment(name: str) -> None:
    domain = domains(100_000)[name]
    start = time.perf_counter()
    points = domain.sample(8, generator())
    assert bool(domain.contains(points).all())
    assert time.perf_counter() - start < 5


def test_sobol_points_end_where_torch_ends_them() -> None:
    assert Box(0.0, 1.0, dimension=21201).sample(2, generator(), method="sobol").x.shape == (2, 21201)
    with pytest.raises(UnsupportedError, match=r'at most 21201 coordinates, and this domain needs 21202; .*"uniform"'):
        Ball(21201).sample(2, generator(), method="sobol")


def test_unknown_methods_are_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no sampling method 'sobel'; did you mean 'sobol'\?"):
        Ball(2).sample(2, generator(), method="sobel")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Box(0.0, 1.0), "agree on one number"),
        (lambda: Box((0.0, 1.0), (1.0, 2.0, 3.0)), r"found \[2, 3\]"),
        (lambda: Box(1.0, 1.0, dimension=2), "low < high"),
        (lambda: Interval(1.0, 0.0), "low < high"),
        (lambda: Ball(0), "dimension must be at least 1"),
        (lambda: Ball(2, -1.0), "radius must be greater than 0"),
        (lambda: Ball(2, radius_law="volume"), "uniform-volume"),
        (lambda: Gaussian(2, variance=0.0), "variance"),
        (lambda: Gaussian(2, torch.zeros(3)), r"shape \(2,\), got \(3,\)"),
        (lambda: DriftingGaussian(2, decay=2.0), "must stay positive"),
        (lambda: Product(Ball(2), Box(0.0, 1.0, dimension=2)), "different coordinates, got x, x"),
        (lambda: Product(), "got none"),
        (lambda: AtTime(DriftingGaussian(2), 0.5), r"at\(0.5\)"),
        (lambda: UserDomain(Coordinates.of(x=2), lambda n, g: torch.zeros(n, 2), (0.0,), (1.0,)), "2 columns, got 1"),
    ],
)
def test_impossible_domains_are_refused(build, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: Product(Ball(2), Interval(0.0, 1.0)).boundary(), "factor by factor"),
        (lambda: Gaussian(2).boundary(), "no boundary"),
        (lambda: Product(Interval(0.0, 1.0), Ball(2)).at(0.5), "last factor is an Interval"),
        (lambda: _half_disk().boundary(), "boundary_sampler"),
        (lambda: _half_disk().sample(2, generator(), method="sobol"), "cannot use Sobol"),
        (lambda: Product(_half_disk(), Interval(0.0, 1.0)).sample(2, generator(), method="sobol"), "cannot use Sobol"),
    ],
)
def test_what_cannot_work_says_what_would(ask, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        ask()


def _half_disk(**functions) -> UserDomain:
    def sampler(n: int, generator: torch.Generator) -> torch.Tensor:
        x = Ball(2).sample(n, generator).x
        return torch.cat([x[:, :1], x[:, 1:].abs()], dim=1)

    return UserDomain(Coordinates.of(x=2), sampler, (-1.0, 0.0), (1.0, 1.0), **functions)


class TestUserDomain:
    def test_samples_by_its_function(self) -> None:
        points = _half_disk().sample(100, generator(), dtype=torch.float32)
        assert points.tensor.dtype == torch.float32
        assert bool((points.x[:, 1] >= 0).all())
        assert bool(_half_disk().contains(points).all())

    def test_stands_in_a_product(self) -> None:
        domain = Product(_half_disk(), Interval(0.0, 1.0))
        points = domain.sample(100, generator())
        assert points.tensor.shape == (100, 3)
        assert bool(domain.contains(points).all())

    def test_asks_its_own_membership(self) -> None:
        domain = _half_disk(membership=lambda points: points.x.norm(dim=1) <= 1)
        corner = Points(torch.tensor([[0.9, 0.9], [0.5, 0.5]]), domain.coordinates)
        assert domain.contains(corner).tolist() == [False, True]
        assert _half_disk().contains(corner).tolist() == [True, True]

    def test_draws_its_boundary(self) -> None:
        def edge(n: int, generator: torch.Generator):
            x = Sphere(2).sample(n, generator).x
            return x, x

        points = _half_disk(boundary_sampler=edge).boundary().sample(5, generator())
        assert torch.equal(points.normal, points.x)

    def test_a_wrong_shape_is_named(self) -> None:
        domain = UserDomain(Coordinates.of(x=2), lambda n, g: torch.zeros(n), (0.0, 0.0), (1.0, 1.0))
        with pytest.raises(ShapeError, match=r"3 rows and two axes, got shape \(3,\)"):
            domain.sample(3, generator())
