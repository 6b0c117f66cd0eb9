"""Balls and spheres about the origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.domain.draws import Draws, MappedDomain, slack
from pinnx.errors import InputError
from pinnx.expr.points import Coordinates, Points
from pinnx.options import at_least, check_limits, one_of, option, positive


def directions(draws: Draws, dimension: int) -> Tensor:
    """Points uniform on the unit sphere, (n, dimension): normal vectors divided by their norms."""
    vectors = draws.normal(dimension)
    # A vector of zeros has no direction; in one dimension and single precision a long run does meet one.
    vectors[:, 0].masked_fill_(vectors[:, 0] == 0, 1e-6)
    return vectors.div_(torch.linalg.vector_norm(vectors, dim=1, keepdim=True))


@final
@dataclass(frozen=True)
class Ball(MappedDomain):
    """The ball |x| <= radius.

    Two laws are in use. "uniform-volume" has the same density everywhere: its radius is R·U^(1/d), so that nearly all
    points of a high-dimensional ball lie near its surface. "uniform-radius" draws the radius from U(0, R), as the
    published Allen-Cahn and Sine-Gordon benchmarks do (Hu et al., arXiv 2311.15283).
    """

    dimension: int = option(2, "number of coordinates", at_least(1))
    radius: float = option(1.0, "radius of the ball", positive)
    radius_law: str = option("uniform-volume", "law of the points' radius", one_of("uniform-volume", "uniform-radius"))
    name: str = option("x", "name of the coordinate group")

    def __post_init__(self) -> None:
        _check(self)

    @property
    def coordinates(self) -> Coordinates:
        return Coordinates.of(**{self.name: self.dimension})

    @property
    def columns_drawn(self) -> int:
        return self.dimension + 1

    def draw(self, draws: Draws) -> Points:
        radius = draws.uniform(1)
        if self.radius_law == "uniform-volume":
            radius = radius ** (1 / self.dimension)
        return Points(directions(draws, self.dimension).mul_(self.radius * radius), self.coordinates)

    def contains(self, points: Points) -> Tensor:
        x = points[self.name]
        return torch.linalg.vector_norm(x, dim=1) <= self.radius * (1 + slack(x))

    def bounds(self) -> tuple[Tensor, Tensor]:
        high = torch.full((self.dimension,), self.radius, dtype=torch.float64)
        return -high, high

    def boundary(self) -> Sphere:
        return Sphere(self.dimension, self.radius, self.name)


@final
@dataclass(frozen=True)
class Sphere(MappedDomain):
    """The sphere |x| = radius, sampled uniformly; `extra["normal"]` is x / radius, shape (n, d).

    In one dimension it is the two points ±radius.
    """

    dimension: int = option(2, "number of coordinates", at_least(1))
    radius: float = option(1.0, "radius of the sphere", positive)
    name: str = option("x", "name of the coordinate group")

    def __post_init__(self) -> None:
        _check(self)

    @property
    def coordinates(self) -> Coordinates:
        return Coordinates.of(**{self.name: self.dimension})

    @property
    def columns_drawn(self) -> int:
        return self.dimension

    def draw(self, draws: Draws) -> Points:
        normal = directions(draws, self.dimension)
        return Points(normal * self.radius, self.coordinates, {"normal": normal})

    def contains(self, points: Points) -> Tensor:
        x = points[self.name]
        return (torch.linalg.vector_norm(x, dim=1) - self.radius).abs() <= self.radius * slack(x)

    def bounds(self) -> tuple[Tensor, Tensor]:
        high = torch.full((self.dimension,), self.radius, dtype=torch.float64)
        return -high, high


def _check(domain: Ball | Sphere) -> None:
    try:
        check_limits(domain)
    except ValueError as error:
        raise InputError(f"{type(domain).__name__}: {error}") from None
