"""Intervals of a scalar coordinate, such as time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.domain.draws import Draws, MappedDomain, slack
from pinnx.errors import InputError
from pinnx.expr.points import Coordinates, Points


@final
@dataclass(frozen=True)
class Interval(MappedDomain):
    """The values of a scalar coordinate from `low` to `high`, sampled uniformly.

    A one-dimensional space with gradients is a `Box` instead: a scalar coordinate has only partial derivatives.
    """

    low: float
    high: float
    name: str = "t"

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(f"an interval needs low < high, got [{self.low}, {self.high}]")

    @property
    def coordinates(self) -> Coordinates:
        return Coordinates.of(**{self.name: 0})

    @property
    def columns_drawn(self) -> int:
        return 1

    def draw(self, draws: Draws) -> Points:
        return Points(self.low + (self.high - self.low) * draws.uniform(1), self.coordinates)

    def contains(self, points: Points) -> Tensor:
        value = points[self.name]
        margin = slack(value) * max(abs(self.low), abs(self.high))
        return (value >= self.low - margin) & (value <= self.high + margin)

    def bounds(self) -> tuple[Tensor, Tensor]:
        return torch.tensor([self.low], dtype=torch.float64), torch.tensor([self.high], dtype=torch.float64)

    def boundary(self) -> IntervalEnds:
        return IntervalEnds(self)


@final
@dataclass(frozen=True)
class IntervalEnds(MappedDomain):
    """The two ends of an interval, equally likely; `extra["normal"]` has shape (n, 1)."""

    interval: Interval

    @property
    def coordinates(self) -> Coordinates:
        return self.interval.coordinates

    @property
    def columns_drawn(self) -> int:
        return 1

    def draw(self, draws: Draws) -> Points:
        upper = draws.uniform(1) >= 0.5
        # torch.where between Python numbers would round them to float32.
        low, high, one = upper.new_tensor([self.interval.low, self.interval.high, 1.0], dtype=draws.dtype)
        ends = torch.where(upper, high, low)
        return Points(ends, self.coordinates, {"normal": torch.where(upper, one, -one)})

    def contains(self, points: Points) -> Tensor:
        value = points[self.interval.name]
        margin = slack(value) * max(abs(self.interval.low), abs(self.interval.high))
        return ((value - self.interval.low).abs() <= margin) | ((value - self.interval.high).abs() <= margin)

    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.interval.bounds()
