"""Normal laws on the whole space, fixed and drifting with time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.domain.draws import Draws, MappedDomain
from pinnx.domain.interval import Interval
from pinnx.domain.product import AtTime
from pinnx.errors import InputError, ShapeError
from pinnx.expr.points import Coordinates, Points

BULK = 3.0
"""Half-width, in standard deviations, of the region that `bounds` calls the bulk of a normal law."""


@final
@dataclass(frozen=True, eq=False)
class Gaussian(MappedDomain):
    """The whole space, sampled from N(mean, variance·I).

    Attributes:
        dimension: number of coordinates.
        mean: one number for all coordinates, or a tensor (dimension,).
        variance: of every coordinate.
        name: of the coordinate group.
    """

    dimension: int
    mean: float | Tensor = 0.0
    variance: float = 1.0
    name: str = "x"

    def __post_init__(self) -> None:
        _check_vector("mean", self.mean, self.dimension)
        if not self.variance > 0:
            raise InputError(f"the variance of a normal law must be positive, got {self.variance}")

    @property
    def coordinates(self) -> Coordinates:
        return Coordinates.of(**{self.name: self.dimension})

    @property
    def columns_drawn(self) -> int:
        return self.dimension

    def draw(self, draws: Draws) -> Points:
        x = draws.normal(self.dimension).mul_(math.sqrt(self.variance))
        return Points(x.add_(_like(self.mean, x)), self.coordinates)

    def contains(self, points: Points) -> Tensor:
        return points[self.name].isfinite().all(dim=1)

    def bounds(self) -> tuple[Tensor, Tensor]:
        mean = _like(self.mean, torch.zeros(self.dimension, dtype=torch.float64)).expand(self.dimension)
        half = BULK * math.sqrt(self.variance)
        return mean - half, mean + half


@final
@dataclass(frozen=True, eq=False)
class DriftingGaussian(MappedDomain):
    """All of space for 0 <= t <= horizon: t uniform, and given t, x ~ N(drift·t, (variance - decay·t)·I).

    Attributes:
        dimension: number of space coordinates.
        drift: velocity of the mean, one number for all coordinates, or a tensor (dimension,).
        variance: of every coordinate at time 0.
        decay: rate at which the variance falls; it must stay positive up to the horizon.
        horizon: last time.

    The published Fokker-Planck and Burgers benchmarks take variance 2 and decay 1, the HJB ones variance 1 and no
    drift or decay (Hu et al., arXiv 2311.15283).
    """

    dimension: int
    drift: float | Tensor = 1.0
    variance: float = 2.0
    decay: float = 1.0
    horizon: float = 1.0

    def __post_init__(self) -> None:
        _check_vector("drift", self.drift, self.dimension)
        if not self.horizon > 0:
            raise InputError(f"the horizon must be positive, got {self.horizon}")
        if not min(self.variance, self.variance - self.decay * self.horizon) > 0:
            raise InputError(
                f"the variance {self.variance} - {self.decay}·t must stay positive up to the horizon t = {self.horizon}"
            )

    @property
    def coordinates(self) -> Coordinates:
        return Coordinates.of(x=self.dimension, t=0)

    @property
    def columns_drawn(self) -> int:
        return self.dimension + 1

    def draw(self, draws: Draws) -> Points:
        time = draws.uniform(1).mul_(self.horizon)
        x = draws.normal(self.dimension).mul_((self.variance - self.decay * time).sqrt_())
        x.addcmul_(time, _like(self.drift, x))
        return Points(torch.cat([x, time], dim=1), self.coordinates)

    def contains(self, points: Points) -> Tensor:
        return points.x.isfinite().all(dim=1) & Interval(0.0, self.horizon).contains(points)

    def bounds(self) -> tuple[Tensor, Tensor]:
        drift = _like(self.drift, torch.zeros(self.dimension, dtype=torch.float64)).expand(self.dimension)
        times = torch.tensor([[0.0], [self.horizon]], dtype=torch.float64)
        half = BULK * (self.variance - self.decay * times).sqrt()
        low, high = (times * drift - half).amin(dim=0), (times * drift + half).amax(dim=0)
        return torch.cat([low, times[0]]), torch.cat([high, times[1]])

    def at(self, time: float) -> AtTime:
        """The law of x at one time, with that time as coordinate t."""
        space = Gaussian(self.dimension, self.drift * time, self.variance - self.decay * time)
        return AtTime(space, time)


def _like(value: float | Tensor, tensor: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=tensor.dtype, device=tensor.device)


def _check_vector(name: str, value: float | Tensor, dimension: int) -> None:
    if dimension < 1:
        raise InputError(f"the number of coordinates must be at least 1, got {dimension}")
    if isinstance(value, Tensor) and value.shape not in {(), (dimension,)}:
        raise ShapeError(f"{name} must be one number or have shape ({dimension},), got {tuple(value.shape)}")
