"""Rectangular grids of space and time: where the nodes are, and what kind each end of an axis is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, final

import torch
from torch import Tensor

from pinnx.errors import InputError, ShapeError
from pinnx.expr import Coordinates, Points

End = Literal["periodic", "dirichlet", "free", "initial", "final"]
"""periodic: the other end follows · dirichlet: values are known · free: a condition of another kind, or none ·
initial and final: the ends of time, the first one with known values."""

_ENDS = ("periodic", "dirichlet", "free", "initial", "final")


@final
@dataclass(frozen=True)
class Axis:
    """The nodes along one coordinate.

    Attributes:
        group: name of the coordinate group, "x" or "t".
        index: which coordinate of the group.
        low: lower end.
        high: upper end.
        nodes: how many.
        ends: the kinds of both ends; periodic ends come in pairs.
        placement: "vertex" puts nodes on the ends (of a periodic axis on the lower one), "cell" in the middle of equal
            cells.
        grading: the nodes are low + (high - low) sᵍ with s uniform; above 1 they gather at the lower end.
    """

    group: str
    index: int
    low: float
    high: float
    nodes: int
    ends: tuple[End, End]
    placement: Literal["vertex", "cell"] = "vertex"
    grading: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(f"the axis {self.label} needs low < high, got [{self.low}, {self.high}]")
        if self.nodes < 3:
            raise InputError(f"the axis {self.label} needs at least 3 nodes, got {self.nodes}")
        if any(end not in _ENDS for end in self.ends) or self.ends.count("periodic") == 1:
            raise InputError(
                f"the ends of the axis {self.label} must be of the kinds {', '.join(_ENDS)}, periodic ones in pairs; "
                f"got {self.ends}"
            )
        if self.grading < 1 or (self.grading > 1 and (self.periodic or self.placement == "cell")):
            raise InputError(
                f"the grading of the axis {self.label} must be at least 1, and 1 where it is periodic or has cells; "
                f"got {self.grading}"
            )

    @property
    def label(self) -> str:
        """x1, x2, …, t."""
        return self.group if self.group == "t" else f"{self.group}{self.index + 1}"

    @property
    def column(self) -> tuple[str, int]:
        """How a `Partial` names the coordinate."""
        return self.group, self.index

    @property
    def periodic(self) -> bool:
        """Whether the ends are identified."""
        return self.ends[0] == "periodic"

    @property
    def uniform(self) -> bool:
        """Whether the nodes are equally spaced."""
        return self.grading == 1

    @property
    def spacing(self) -> float:
        """The distance of neighbors on a uniform axis; on a graded one the largest."""
        positions = self.positions()
        return float(positions[-1] - positions[-2])

    def positions(self) -> Tensor:
        """The coordinates of the nodes, (nodes,), float64, ascending."""
        steps = torch.arange(self.nodes, dtype=torch.float64)
        if self.placement == "cell":
            steps = (steps + 0.5) / self.nodes
        else:
            steps = steps / (self.nodes if self.periodic else self.nodes - 1)
        return self.low + (self.high - self.low) * steps**self.grading


def space_axis(
    index: int,
    low: float,
    high: float,
    nodes: int,
    ends: tuple[End, End] = ("dirichlet", "dirichlet"),
    placement: Literal["vertex", "cell"] = "vertex",
) -> Axis:
    """The axis of the coordinate x[index]."""
    return Axis("x", index, low, high, nodes, ends, placement)


def time_axis(horizon: float, nodes: int, grading: float = 1.0) -> Axis:
    """The axis of time from 0 to `horizon`, both included."""
    return Axis("t", 0, 0.0, horizon, nodes, ("initial", "final"), grading=grading)


@final
@dataclass(frozen=True)
class Grid:
    """The product of axes, space first and time last, in the order of the domain's coordinates.

    Fields on it have the shape `(…, *grid.shape)`; flat, the last axis runs fastest.

    Example:
        >>> grid = Grid((space_axis(0, 0.0, 1.0, 5), time_axis(2.0, 3)))
        >>> grid.shape, grid.points().tensor[1].tolist()
        ((5, 3), [0.0, 1.0])
    """

    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        columns = [axis.column for axis in self.axes]
        space = [column for column in columns if column[0] != "t"]
        expected = [("x", i) for i in range(len(space))] + [("t", 0)] * (len(columns) - len(space))
        if not columns or columns != expected or len(columns) - len(space) > 1:
            found = ", ".join(axis.label for axis in self.axes) or "none"
            raise InputError(f"the axes of a grid must be x1, x2, … and, last, t where there is time; got {found}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Nodes along each axis."""
        return tuple(axis.nodes for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of nodes."""
        return int(torch.tensor(self.shape).prod())

    @property
    def dimension(self) -> int:
        """Number of axes."""
        return len(self.axes)

    @property
    def time(self) -> Axis | None:
        """The axis of time, if there is one."""
        return self.axes[-1] if self.axes[-1].group == "t" else None

    @property
    def space(self) -> tuple[Axis, ...]:
        """The axes of space."""
        return self.axes[:-1] if self.time else self.axes

    @property
    def space_shape(self) -> tuple[int, ...]:
        """Nodes along each axis of space."""
        return tuple(axis.nodes for axis in self.space)

    @property
    def coordinates(self) -> Coordinates:
        """The coordinates of its points."""
        return Coordinates((("x", len(self.space)), *([("t", 0)] if self.time else [])))

    def axis(self, column: tuple[str, int]) -> int | None:
        """The place of a coordinate (group, index) among the axes, or None."""
        return next((place for place, axis in enumerate(self.axes) if axis.column == column), None)

    @cached_property
    def _points(self) -> Points:
        mesh = torch.meshgrid(*(axis.positions() for axis in self.axes), indexing="ij")
        return Points(torch.stack(mesh, -1).reshape(-1, self.dimension), self.coordinates)

    def points(self) -> Points:
        """All nodes, (size, dimension), float64, the last axis running fastest."""
        return self._points

    def flat(self, fields: Tensor) -> Tensor:
        """Fields (…, *shape) as (…, size)."""
        if fields.shape[fields.ndim - self.dimension :] != self.shape:
            raise ShapeError(f"a field on the grid must have shape (…, {self._sizes}), got {tuple(fields.shape)}")
        return fields.flatten(-self.dimension) if self.dimension > 1 else fields

    def unflat(self, columns: Tensor) -> Tensor:
        """Columns (…, size) as fields (…, *shape)."""
        if not columns.ndim or columns.shape[-1] != self.size:
            raise ShapeError(f"a flat field on the grid must have shape (…, {self.size}), got {tuple(columns.shape)}")
        return columns.unflatten(-1, self.shape)

    def end(self, column: tuple[str, int], upper: bool = False) -> Tensor:
        """Which nodes lie at one end of an axis: (*shape), bool."""
        place = self.axis(column)
        if place is None:
            raise InputError(f"the grid has no coordinate {column}; it has {', '.join(a.label for a in self.axes)}")
        here = torch.zeros(self.shape, dtype=torch.bool)
        here.select(place, -1 if upper else 0).fill_(True)
        return here

    def known(self) -> Tensor:
        """Which nodes have known values: those at Dirichlet and initial ends with a node on them; (*shape), bool."""
        here = torch.zeros(self.shape, dtype=torch.bool)
        for place, axis in enumerate(self.axes):
            for node, kind in zip((0, -1), axis.ends, strict=True):
                if kind in ("dirichlet", "initial") and axis.placement == "vertex":
                    here.select(place, node).fill_(True)
        return here

    def measure(self) -> Tensor:
        """The share of the domain that each node stands for, times the number of nodes: (*shape), 1 where all axes are
        uniform. The ends of a uniform axis count as much as other nodes, as in the published errors."""
        result = torch.ones(self.shape, dtype=torch.float64)
        for place, axis in enumerate(self.axes):
            if not axis.uniform:
                width = torch.gradient(axis.positions())[0]
                sizes = [1] * self.dimension
                sizes[place] = axis.nodes
                result = result * (width / width.mean()).reshape(sizes)
        return result

    def with_nodes(self, nodes: Sequence[int]) -> Grid:
        """The same axes with other numbers of nodes."""
        if len(nodes) != self.dimension:
            raise InputError(f"expected {self.dimension} numbers of nodes, got {len(nodes)}")
        return Grid(tuple(replace(axis, nodes=count) for axis, count in zip(self.axes, nodes, strict=True)))

    @property
    def _sizes(self) -> str:
        return ", ".join(map(str, self.shape))
