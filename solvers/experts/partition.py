"""The cut of a domain into blocks, one for each expert."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.errors import InputError, ShapeError
from pinnx.expr import Coordinates, Points


@final
@dataclass(frozen=True)
class Partition:
    """A box cut into blocks by planes across its axes.

    The axes are the columns of `Points`: space, then time. Blocks are counted with the last axis running fastest.

    Attributes:
        edges: per axis the ends of its intervals, increasing: one more than it has blocks.
        periodic: per axis whether its two ends are the same place; couplings join the blocks there, so the basis
            functions must be periodic, too.

    Example:
        >>> cut = Partition.uniform(low=(0.0, 0.0), high=(1.0, 500.0), blocks=(2, 2))
        >>> cut.edges[1], len(cut)
        ((0.0, 250.0, 500.0), 4)
    """

    edges: tuple[tuple[float, ...], ...]
    periodic: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not self.edges:
            raise InputError("a partition needs the edges of at least one axis")
        edges = tuple(tuple(map(float, axis)) for axis in self.edges)
        for number, axis in enumerate(edges):
            good = len(axis) >= 2 and all(math.isfinite(edge) for edge in axis)
            if not good or any(low >= high for low, high in zip(axis, axis[1:], strict=False)):
                raise InputError(f"the edges of axis {number + 1} must be at least two increasing numbers, got {axis}")
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "periodic", tuple(self.periodic) or (False,) * len(edges))
        if len(self.periodic) != len(edges):
            raise InputError(f"periodic must say one thing per axis, got {len(self.periodic)} for {len(edges)} axes")

    @classmethod
    def uniform(
        cls, low: Sequence[float], high: Sequence[float], blocks: Sequence[int] | int, periodic: Sequence[bool] = ()
    ) -> Partition:
        """Equal blocks.

        Args:
            low: lower ends of the axes.
            high: upper ends.
            blocks: number of blocks per axis, or one number for all axes.
            periodic: per axis whether its ends are the same place; by default none.

        Raises:
            InputError: the lengths differ, or a number of blocks is below 1.
        """
        blocks = [blocks] * len(low) if isinstance(blocks, int) else list(blocks)
        if not len(low) == len(high) == len(blocks):
            raise InputError(
                f"low, high and blocks must name the same number of axes, got {len(low)}, {len(high)}, {len(blocks)}"
            )
        if min(blocks) < 1:
            raise InputError(f"an axis needs at least 1 block, got {blocks}")
        edges = [
            tuple(a + (b - a) * i / count for i in range(count + 1))
            for a, b, count in zip(low, high, blocks, strict=True)
        ]
        return cls(tuple(edges), tuple(periodic))

    def __len__(self) -> int:
        return math.prod(self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of blocks per axis."""
        return tuple(len(axis) - 1 for axis in self.edges)

    def block(self, index: int) -> tuple[tuple[float, float], ...]:
        """The interval of a block on each axis."""
        return tuple((axis[i], axis[i + 1]) for axis, i in zip(self.edges, self.position(index), strict=True))

    def position(self, index: int) -> tuple[int, ...]:
        """Where a block lies: its number on each axis."""
        place: list[int] = []
        for count in reversed(self.shape):
            index, here = divmod(index, count)
            place.append(here)
        return tuple(reversed(place))

    def index(self, position: Sequence[int]) -> int:
        """The number of the block at a position."""
        result = 0
        for count, here in zip(self.shape, position, strict=True):
            result = result * count + here
        return result

    def positions(self, points: Points) -> Tensor:
        """The number of the block on each axis, (n, axes); a point on an edge belongs to the upper block.

        Raises:
            ShapeError: the points have another number of columns.
        """
        columns = points.tensor
        if columns.shape[1] != len(self.edges):
            raise ShapeError(f"the partition has {len(self.edges)} axes, the points have {columns.shape[1]} columns")
        found = []
        for axis, edges in enumerate(self.edges):
            inner = columns.new_tensor(edges[1:-1])
            # grid nodes that should lie on an edge may miss it by rounding: both neighbors must agree on where it is
            slack = 1e-9 * (edges[-1] - edges[0])
            found.append(torch.bucketize(columns[:, axis].contiguous() + slack, inner, right=True))
        return torch.stack(found, dim=1)

    def locate(self, points: Points) -> Tensor:
        """The block of each point, (n,) integers."""
        return self.number(self.positions(points))

    def number(self, positions: Tensor) -> Tensor:
        """The numbers of the blocks at positions: (n, axes) -> (n,)."""
        result = torch.zeros_like(positions[:, 0])
        for axis, count in enumerate(self.shape):
            result = result * count + positions[:, axis]
        return result

    def neighbor(self, index: int, axis: int, step: int) -> int | None:
        """The block next to another along an axis, or None at an end that is not periodic."""
        position, count = list(self.position(index)), self.shape[axis]
        moved = position[axis] + step
        if not 0 <= moved < count:
            if not self.periodic[axis] or count == 1:
                return None
            moved %= count
        position[axis] = moved
        return self.index(position)

    def faces(self) -> tuple[tuple[int, int, int, int], ...]:
        """All faces between two blocks: axis, number of the edge on it, the block below and the one above.

        On a periodic axis the last edge is the first; blocks that meet twice there have two faces.
        """
        found = []
        for axis, count in enumerate(self.shape):
            for below in range(len(self)):
                above = self.neighbor(below, axis, 1)
                if above is not None and count > 1:
                    found.append((axis, self.position(below)[axis] + 1, below, above))
        return tuple(found)

    def face_points(self, per_axis: int, coordinates: Coordinates, *, dtype: torch.dtype = torch.float64) -> Points:
        """Points on the faces, for rows of the role "interface": the midpoints of a regular lattice on each face.

        Args:
            per_axis: number of points along each axis of a face.
            coordinates: of the points.
            dtype: of the points.
        """
        parts = []
        for axis, edge, below, _ in self.faces():
            sides = []
            for other, (low, high) in enumerate(self.block(below)):
                middles = low + (high - low) * (torch.arange(per_axis, dtype=dtype) + 0.5) / per_axis
                sides.append(torch.tensor([self.edges[axis][edge]], dtype=dtype) if other == axis else middles)
            parts.append(torch.cartesian_prod(*sides).reshape(-1, len(sides)))
        return Points(torch.cat(parts) if parts else torch.empty(0, len(self.edges), dtype=dtype), coordinates)
