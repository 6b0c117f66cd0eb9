"""Boxes and their faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.domain.draws import Draws, MappedDomain, slack
from pinnx.errors import InputError
from pinnx.expr.points import Coordinates, Points


@final
@dataclass(frozen=True)
class Box(MappedDomain):
    """The product of the intervals [low_i, high_i], sampled uniformly.

    Attributes:
        low: lower ends, one number for all or one per coordinate.
        high: upper ends, likewise.
        dimension: number of coordinates; needed where both ends are single numbers, else it follows from them.
        name: of the coordinate group.

    Example:
        >>> Box(0.0, 1.0, dimension=3).bounds()[1]
        tensor([1., 1., 1.], dtype=torch.float64)
    """

    low: float | Sequence[float]
    high: float | Sequence[float]
    dimension: int = 0
    name: str = "x"

    def __post_init__(self) -> None:
        sizes = {len(end) for end in (self.low, self.high) if isinstance(end, Sequence)}
        sizes |= {self.dimension} if self.dimension else set()
        if len(sizes) != 1 or min(sizes) < 1:
            raise InputError(
                f"low, high and dimension must agree on one number of coordinates, at least 1; found {sorted(sizes)}"
            )
        object.__setattr__(self, "dimension", sizes.pop())
        for end in ("low", "high"):
            value = getattr(self, end)
            object.__setattr__(self, end, tuple(map(float, value)) if isinstance(value, Sequence) else float(value))
        low, high = self.bounds()
        if not bool((low < high).all()):
            raise InputError("a box needs low < high in every coordinate")

    @property
    def coordinates(self) -> Coordinates:
        return Coordinates.of(**{self.name: self.dimension})

    @property
    def columns_drawn(self) -> int:
        return self.dimension

    def draw(self, draws: Draws) -> Points:
        uniform = draws.uniform(self.dimension)
        low, high = self._ends(uniform)
        return Points(low + (high - low) * uniform, self.coordinates)

    def contains(self, points: Points) -> Tensor:
        x = points[self.name]
        low, high = self._ends(x)
        margin = slack(x) * torch.maximum(low.abs(), high.abs())
        return ((x >= low - margin) & (x <= high + margin)).all(dim=1)

    def bounds(self) -> tuple[Tensor, Tensor]:
        low, high = self._ends(torch.empty(0, dtype=torch.float64))
        return low.expand(self.dimension).clone(), high.expand(self.dimension).clone()

    def boundary(self) -> BoxBoundary:
        return BoxBoundary(self)

    def _ends(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return like.new_tensor(self.low), like.new_tensor(self.high)


@final
@dataclass(frozen=True)
class BoxBoundary(MappedDomain):
    """The 2d faces of a box, sampled uniformly by area; in one dimension its two ends.

    Points carry the outward unit normal in `extra["normal"]`, shape (n, d).
    """

    box: Box

    @property
    def coordinates(self) -> Coordinates:
        return self.box.coordinates

    @property
    def columns_drawn(self) -> int:
        return self.box.dimension + 1

    def draw(self, draws: Draws) -> Points:
        x, choice = self.box.draw(draws).tensor, draws.uniform(1)[:, 0]
        low, high = self.box.bounds()
        # A face across coordinate i has the area ∏_j (high_j - low_j) / (high_i - low_i).
        areas = (high - low).reciprocal()
        steps = (areas / areas.sum()).cumsum(0).to(x)
        # The choice's place in its step, uniform again, says which of the two opposite faces.
        axis = torch.searchsorted(steps, choice.contiguous(), right=True).clamp_max(self.box.dimension - 1)
        start = torch.where(axis > 0, steps[axis - 1], torch.zeros_like(choice))
        upper = choice - start > 0.5 * (steps[axis] - start)
        rows = torch.arange(len(x), device=x.device)
        x[rows, axis] = torch.where(upper, high.to(x)[axis], low.to(x)[axis])
        normal = torch.zeros_like(x)
        normal[rows, axis] = torch.where(upper, 1.0, -1.0).to(x)
        return Points(x, self.coordinates, {"normal": normal})

    def contains(self, points: Points) -> Tensor:
        x = points[self.box.name]
        low, high = (end.to(x) for end in self.box.bounds())
        margin = slack(x) * torch.maximum(low.abs(), high.abs())
        on_face = ((x - low).abs() <= margin) | ((x - high).abs() <= margin)
        return self.box.contains(points) & on_face.any(dim=1)

    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.box.bounds()
