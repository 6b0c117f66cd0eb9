"""A domain made of the user's own functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.domain.base import Domain
from pinnx.domain.draws import METHODS
from pinnx.errors import InputError, ShapeError, UnsupportedError, did_you_mean
from pinnx.expr.points import Coordinates, Points

Sampler = Callable[[int, torch.Generator], Tensor]
"""Draws n points: (n, generator) -> (n, D)."""

BoundarySampler = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""Draws n boundary points and their outward unit normals: (n, generator) -> (n, D), (n, d)."""


@final
@dataclass(frozen=True, eq=False)
class UserDomain(Domain):
    """A domain given by functions: how to draw its points and, where needed, what is inside and on its edge.

    Attributes:
        system: names and columns of the coordinates.
        sampler: draws points, (n, generator) -> (n, D).
        low: lower bounds of the region worth plotting, one number per column.
        high: upper bounds, likewise.
        membership: whether points lie inside, Points -> bool (n,); by default whether they lie within the bounds.
        boundary_sampler: draws boundary points and outward unit normals, (n, generator) -> (n, D), (n, d).

    Example:
        >>> disk = UserDomain(Coordinates.of(x=2), lambda n, g: 0.5 * torch.rand(n, 2, generator=g), (0, 0), (0.5, 0.5))
        >>> disk.sample(3, torch.Generator().manual_seed(2207)).x.shape
        torch.Size([3, 2])
    """

    system: Coordinates
    sampler: Sampler
    low: tuple[float, ...]
    high: tuple[float, ...]
    membership: Callable[[Points], Tensor] | None = None
    boundary_sampler: BoundarySampler | None = None

    def __post_init__(self) -> None:
        if not len(self.low) == len(self.high) == self.system.total:
            raise ShapeError(
                f"the bounds must have one number for each of the {self.system.total} columns, "
                f"got {len(self.low)} and {len(self.high)}"
            )

    @property
    def coordinates(self) -> Coordinates:
        return self.system

    def sample(
        self, n: int, generator: torch.Generator, *, dtype: torch.dtype = torch.float64, method: str = "uniform"
    ) -> Points:
        if method not in METHODS:
            raise InputError(f"no sampling method {method!r}; {did_you_mean(method, METHODS)}")
        if method == "sobol":
            raise UnsupportedError('a UserDomain draws by itself and cannot use Sobol points; use method "uniform"')
        return Points(_checked(self.sampler(n, generator), n).to(dtype), self.system)

    def contains(self, points: Points) -> Tensor:
        if self.membership is not None:
            return self.membership(points)
        low, high = (bound.to(points.tensor) for bound in self.bounds())
        return ((points.tensor >= low) & (points.tensor <= high)).all(dim=1)

    def bounds(self) -> tuple[Tensor, Tensor]:
        return torch.tensor(self.low, dtype=torch.float64), torch.tensor(self.high, dtype=torch.float64)

    def boundary(self) -> UserBoundary:
        if self.boundary_sampler is None:
            raise UnsupportedError("this UserDomain has no boundary: give it a boundary_sampler")
        return UserBoundary(self, self.boundary_sampler)


@final
@dataclass(frozen=True, eq=False)
class UserBoundary(Domain):
    """The boundary of a `UserDomain`, drawn by the user's function."""

    domain: UserDomain
    sampler: BoundarySampler

    @property
    def coordinates(self) -> Coordinates:
        return self.domain.coordinates

    def sample(
        self, n: int, generator: torch.Generator, *, dtype: torch.dtype = torch.float64, method: str = "uniform"
    ) -> Points:
        if method != "uniform":
            raise UnsupportedError(
                f'the boundary of a UserDomain draws by itself: use method "uniform", not {method!r}'
            )
        points, normal = self.sampler(n, generator)
        return Points(_checked(points, n).to(dtype), self.coordinates, {"normal": _checked(normal, n).to(dtype)})

    def contains(self, points: Points) -> Tensor:
        raise UnsupportedError("a UserDomain does not know which points lie on its boundary")

    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.domain.bounds()


def _checked(tensor: Tensor, n: int) -> Tensor:
    if tensor.ndim != 2 or len(tensor) != n:
        raise ShapeError(f"a sampler must return {n} rows and two axes, got shape {tuple(tensor.shape)}")
    return tensor
