"""Coordinates and points: which columns of a tensor mean what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from pinnx.errors import InputError, ShapeError, did_you_mean


@final
@dataclass(frozen=True)
class Coordinates:
    """Named groups of coordinates and their columns, in order.

    A group of size n >= 1 is a vector (space: `x`); size 0 stands for one scalar coordinate (time: `t`).

    Example:
        >>> Coordinates.of(x=3, t=0).columns("t")
        slice(3, 4, None)
    """

    groups: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, **sizes: int) -> Coordinates:
        """Coordinates from `name=size`; size 0 is a scalar coordinate."""
        return cls(tuple(sizes.items()))

    @property
    def total(self) -> int:
        """Number of columns."""
        return sum(max(size, 1) for _, size in self.groups)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the groups."""
        return tuple(name for name, _ in self.groups)

    def size(self, name: str) -> int:
        """Size of a group (0 for a scalar coordinate); raises InputError for an unknown name."""
        sizes = dict(self.groups)
        if name not in sizes:
            raise InputError(f"no coordinate group {name!r}; {did_you_mean(name, sizes)}")
        return sizes[name]

    def columns(self, name: str) -> slice:
        """The columns of a group."""
        size, start = self.size(name), 0
        for other, width in self.groups:
            if other == name:
                break
            start += max(width, 1)
        return slice(start, start + max(size, 1))

    def labels(self) -> tuple[str, ...]:
        """One name per column: `x1 … xn` for a vector group, the bare name for a scalar one."""
        return tuple(
            label
            for name, size in self.groups
            for label in ([f"{name}{i + 1}" for i in range(size)] if size else [name])
        )


@final
@dataclass(frozen=True)
class Points:
    """A batch of points of the domain.

    Attributes:
        tensor: shape (n, D), D = `coordinates.total`.
        coordinates: what the columns mean.
        extra: further per-point tensors, such as the outward unit `normal` (n, d) of boundary points.

    `points.x` has shape (n, d) for a vector group, `points.t` shape (n,) for a scalar one.
    """

    tensor: Tensor
    coordinates: Coordinates
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tensor.ndim != 2 or self.tensor.shape[1] != self.coordinates.total:
            raise ShapeError(
                f"points must have shape (n, {self.coordinates.total}), columns {_short(self.coordinates.labels())}; "
                f"got {tuple(self.tensor.shape)}"
            )

    @classmethod
    def of(cls, coordinates: Coordinates, **groups: Tensor) -> Points:
        """Points from one tensor per group: (n, d) for a vector group, (n,) for a scalar one."""
        columns = [groups[name] if size else groups[name][:, None] for name, size in coordinates.groups]
        return cls(torch.cat(columns, dim=1), coordinates)

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __getitem__(self, name: str) -> Tensor:
        if name in self.extra:
            return self.extra[name]
        columns = self.tensor[:, self.coordinates.columns(name)]
        return columns if self.coordinates.size(name) else columns[:, 0]

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def rows(self, index: slice | Tensor) -> Points:
        """Some of the points, by slice, index or mask."""
        return Points(self.tensor[index], self.coordinates, {k: v[index] for k, v in self.extra.items()})

    def to(self, *args: Any, **kwargs: Any) -> Points:
        """The points on another device or in another dtype, as `torch.Tensor.to`."""
        extra = {k: v.to(*args, **kwargs) for k, v in self.extra.items()}
        return Points(self.tensor.to(*args, **kwargs), self.coordinates, extra)


def _short(labels: tuple[str, ...]) -> str:
    return ", ".join(labels if len(labels) <= 6 else (*labels[:3], "…", labels[-1]))
