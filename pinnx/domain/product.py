"""Products of domains, and slices at one time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.domain.base import Domain
from pinnx.domain.draws import Draws, MappedDomain, columns_drawn, slack
from pinnx.domain.interval import Interval
from pinnx.errors import InputError, UnsupportedError
from pinnx.expr.points import Coordinates, Points


@final
@dataclass(frozen=True, init=False)
class Product(MappedDomain):
    """The product of domains with different coordinates, sampled independently of each other.

    Example:
        >>> from pinnx.domain import Ball
        >>> Product(Ball(3), Interval(0.0, 1.0)).coordinates.labels()
        ('x1', 'x2', 'x3', 't')
    """

    domains: tuple[Domain, ...]

    def __init__(self, *domains: Domain):
        names = [name for domain in domains for name in domain.coordinates.names]
        if not names or len(set(names)) < len(names):
            raise InputError(f"a product needs domains with different coordinates, got {', '.join(names) or 'none'}")
        object.__setattr__(self, "domains", domains)

    @property
    def coordinates(self) -> Coordinates:
        return Coordinates(tuple(group for domain in self.domains for group in domain.coordinates.groups))

    @property
    def columns_drawn(self) -> int:
        return sum(columns_drawn(domain) for domain in self.domains)

    def draw(self, draws: Draws) -> Points:
        return _joined([draws.points(domain) for domain in self.domains], self.coordinates)

    def contains(self, points: Points) -> Tensor:
        parts = [domain.contains(_restricted(points, domain)) for domain in self.domains]
        return torch.stack(parts).all(dim=0)

    def bounds(self) -> tuple[Tensor, Tensor]:
        lows, highs = zip(*(domain.bounds() for domain in self.domains), strict=True)
        return torch.cat(lows), torch.cat(highs)

    def boundary(self) -> Domain:
        raise UnsupportedError(
            "the boundary of a product is asked for factor by factor: Product(space.boundary(), time) is the lateral "
            "one, AtTime(space, 0.0) the initial one"
        )

    def at(self, time: float) -> AtTime:
        """The slice at one time of a product whose last factor is an interval of time."""
        *space, last = self.domains
        if not space or not isinstance(last, Interval):
            raise UnsupportedError("only a product whose last factor is an Interval can be cut at one time")
        return AtTime(space[0] if len(space) == 1 else Product(*space), time, last.name)


@final
@dataclass(frozen=True)
class AtTime(MappedDomain):
    """A domain of space at one time: its points carry the time as a further, last coordinate.

    Attributes:
        domain: of space, without a time coordinate; cut a domain of space-time with its method `at` instead.
        time: the value of the time coordinate.
        name: of the time coordinate.
    """

    domain: Domain
    time: float
    name: str = "t"

    def __post_init__(self) -> None:
        if self.name in self.domain.coordinates.names:
            raise InputError(
                f"the domain has a coordinate {self.name!r} already: cut it with its method at({self.time})"
            )

    @property
    def coordinates(self) -> Coordinates:
        return Coordinates((*self.domain.coordinates.groups, (self.name, 0)))

    @property
    def columns_drawn(self) -> int:
        return columns_drawn(self.domain)

    def draw(self, draws: Draws) -> Points:
        space = draws.points(self.domain)
        time = space.tensor.new_full((len(space), 1), self.time)
        return _joined([space, Points(time, Coordinates.of(**{self.name: 0}))], self.coordinates)

    def contains(self, points: Points) -> Tensor:
        time = points[self.name]
        now = (time - self.time).abs() <= slack(time) * max(abs(self.time), 1.0)
        return self.domain.contains(_restricted(points, self.domain)) & now

    def bounds(self) -> tuple[Tensor, Tensor]:
        low, high = self.domain.bounds()
        time = low.new_tensor([self.time])
        return torch.cat([low, time]), torch.cat([high, time])


def _joined(parts: list[Points], coordinates: Coordinates) -> Points:
    extra = {name: tensor for part in parts for name, tensor in part.extra.items()}
    return Points(torch.cat([part.tensor for part in parts], dim=1), coordinates, extra)


def _restricted(points: Points, domain: Domain) -> Points:
    """The points in the coordinates of one factor."""
    columns = {name: points.tensor[:, points.coordinates.columns(name)] for name in domain.coordinates.names}
    return Points(torch.cat(list(columns.values()), dim=1), domain.coordinates, points.extra)
