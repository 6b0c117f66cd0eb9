"""Overlapping windows: a smooth partition of unity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.expr import Known, Points
from pinnx.options import between, check_limits, option
from pinnx.solvers.experts.couplings.gates import Gates, smooth_step
from pinnx.solvers.experts.partition import Partition


@final
@dataclass(frozen=True)
class Windows(Gates):
    """Experts blend over a strip along each face, by smooth steps that sum to 1; their coefficients are solved jointly.

    The mixture is three times continuously differentiable, so nothing has to be tied at the faces. Along each axis a
    window is the difference of two steps of degree 7; strips are `overlap` times as wide as the narrower block.
    """

    kind: ClassVar[str] = "windows"
    overlap: float = option(
        0.5, "width of the strip where two experts blend, relative to the narrower block", between(1e-3, 1.0)
    )

    def __post_init__(self) -> None:
        check_limits(self)

    def members(self, partition: Partition, points: Points) -> Tensor:
        positions = partition.positions(points)
        found = torch.zeros(len(points), 1, dtype=torch.long, device=positions.device)
        for axis, count in enumerate(partition.shape):
            here = positions[:, axis]
            other = self._other(partition, axis, points.tensor[:, axis], here)
            places = torch.stack([here, other], dim=1)
            found = torch.where(
                (found[:, :, None] >= 0) & (places[:, None, :] >= 0), found[:, :, None] * count + places[:, None, :], -1
            ).flatten(1)
        found = found.sort(dim=1, descending=True).values
        return found[:, : int((found >= 0).sum(1).max())]

    def gate(self, partition: Partition, expert: int) -> Known:
        position = partition.position(expert)

        def window(points: Points) -> Tensor:
            columns = points.tensor
            value = torch.ones_like(columns[:, 0])
            for axis, place in enumerate(position):
                value = value * self._along(partition, axis, place, columns[:, axis])
            return value

        return Known(f"g{expert + 1}", window)

    def _along(self, partition: Partition, axis: int, place: int, x: Tensor) -> Tensor:
        """The window of a block along one axis."""
        edges, periodic = partition.edges[axis], partition.periodic[axis]
        last, length = len(edges) - 2, edges[-1] - edges[0]
        value = torch.zeros_like(x)
        for shift in (-length, 0.0, length) if periodic else (0.0,):
            moved = x + shift
            low = self._step(partition, axis, place, moved) if periodic or place else torch.ones_like(x)
            high = self._step(partition, axis, place + 1, moved) if periodic or place < last else torch.zeros_like(x)
            value = value + low - high
        return value

    def _step(self, partition: Partition, axis: int, edge: int, x: Tensor) -> Tensor:
        return smooth_step((x - partition.edges[axis][edge]) / self._width(partition, axis, edge) + 0.5)

    def _width(self, partition: Partition, axis: int, edge: int) -> float:
        """Width of the strip along an edge; the two ends of a periodic axis are one edge."""
        edges = partition.edges[axis]
        widths = [high - low for low, high in zip(edges, edges[1:], strict=False)]
        below = widths[edge - 1] if edge else widths[-1]
        above = widths[edge] if edge < len(widths) else widths[0]
        return self.overlap * min(below, above)

    def _other(self, partition: Partition, axis: int, x: Tensor, here: Tensor) -> Tensor:
        """The block that a point's own one blends with along an axis, or -1."""
        edges, count, periodic = partition.edges[axis], partition.shape[axis], partition.periodic[axis]
        result = torch.full_like(here, -1)
        if count == 1:
            return result
        for edge, position in enumerate(edges):
            if not periodic and edge in (0, count):
                continue
            near = (x - position).abs() < 0.5 * self._width(partition, axis, edge)
            above = edge % count
            below = (edge - 1) % count
            result = torch.where(near & (here == above), below, result)
            result = torch.where(near & (here == below), above, result)
        return result
