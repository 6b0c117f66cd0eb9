"""Experts on blocks, tied at the faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from pinnx.errors import InputError
from pinnx.expr import Atom, Biharmonic, Directional, Gradient, Partial, Points, SecondOrder, Unknown, Value
from pinnx.options import check_limits, option, positive
from pinnx.solvers.experts.couplings.base import Coupling
from pinnx.solvers.experts.grouping import Recipe, Sorted, group, tables
from pinnx.solvers.experts.partition import Partition
from pinnx.solvers.experts.rows import Rows
from pinnx.solvers.experts.sharing import Sharing
from pinnx.solvers.experts.tables import Table


@final
@dataclass(frozen=True)
class Interface(Coupling):
    """Each expert fits the equation on its own block, and values and normal derivatives of neighbors agree on faces.

    All coefficients are solved jointly. On a grid the nodes next to a face serve; scattered points need rows of the
    role "interface" at `Partition.face_points`. A jump of the derivative counts with the length of the block across the
    face as its unit.
    """

    kind: ClassVar[str] = "interface"
    weight: float = option(1.0, "factor of the mean squared jumps in the sum that is minimized", positive)
    derivatives: Literal["auto", "all", "none"] = option(
        "auto", "which normal derivatives are tied: auto (where the equation is of second order across the face)"
    )

    def __post_init__(self) -> None:
        check_limits(self)

    def members(self, partition: Partition, points: Points) -> Tensor:
        return partition.locate(points)[:, None]

    def requests(self, atoms: Sequence[Atom], points: Points) -> tuple[Atom, ...]:
        tied = [atom for axis in range(points.coordinates.total) for atom, _ in self._tied(atoms, points, axis)]
        return tuple(dict.fromkeys([*atoms, *tied]))

    def ties(self, partition: Partition, rows: Sequence[Rows], sharing: Sharing) -> tuple[Table, ...]:
        if not partition.faces():
            return ()
        atoms = tuple(dict.fromkeys(atom for each in rows if each.role == "equation" for atom in each.atoms))
        own = [each for each in rows if each.role == "interface"]
        source = own or [each for each in rows if each.role == "equation"][:1]
        result: list[Table] = []
        for each in source:
            for axis, axis_name in enumerate(each.points.coordinates.labels()):
                if partition.shape[axis] == 1:
                    continue
                found = _on_faces(partition, each.points, axis, exactly=bool(own))
                if not len(found[0]):
                    raise InputError(
                        f"no points lie on the faces across {axis_name}: scattered points need rows of the role "
                        '"interface" at Partition.face_points, or the coupling "windows"'
                    )
                tied = self._tied(atoms, each.points, axis)
                length = (partition.edges[axis][-1] - partition.edges[axis][0]) / partition.shape[axis]
                result.extend(self._tables(each, found, tied, length, sharing))
        return tuple(result)

    def _tables(
        self, rows: Rows, found: tuple[Tensor, Tensor], tied: list[tuple[Atom, int]], length: float, sharing: Sharing
    ) -> list[Table]:
        """The jumps of some atoms across the faces of an axis, along which blocks have a length."""
        places, pairs = found
        jumps, placed = rows.at(places), Sorted(group(pairs), len(places))
        result = []
        for atom, derivative in tied:
            if atom not in rows.forms:
                raise InputError(f'the coupling "interface" ties {atom} at the faces and needs its form as well')
            weight = self.weight * length ** (2 * derivative) / len(places) * places.new_ones(1, len(places)).double()
            recipe: dict[Atom, Recipe] = {atom: ((atom, None),)}
            result += tables(atom, jumps, placed, weight, recipe, sharing, signs=(1.0, -1.0))
        return result

    def _tied(self, atoms: Sequence[Atom], points: Points, axis: int) -> list[tuple[Atom, int]]:
        """What is tied across the faces of an axis, and the order of its derivative."""
        group_name, index = _column(points, axis)
        result: list[tuple[Atom, int]] = []
        for unknown in dict.fromkeys(atom.of for atom in atoms):
            assert isinstance(unknown, Unknown)
            order = max(_order(atom, group_name, index) for atom in atoms if atom.of == unknown)
            result.append((Value(unknown), 0))
            if self.derivatives == "all" or (self.derivatives == "auto" and order >= 2):
                result.append((Partial(unknown, columns=((group_name, index),)), 1))
        return result


def _column(points: Points, axis: int) -> tuple[str, int]:
    """The coordinate group of a column, and its place in the group."""
    coordinates = points.coordinates
    name = next(name for name in coordinates.names if axis < coordinates.columns(name).stop)
    return name, axis - coordinates.columns(name).start


def _order(atom: Atom, group_name: str, index: int) -> int:
    """How often an atom differentiates along a column."""
    if isinstance(atom, Partial):
        return atom.columns.count((group_name, index))
    if isinstance(atom, (SecondOrder, Biharmonic, Gradient, Directional)) and atom.group == group_name:
        return atom.order
    return 0


def _on_faces(partition: Partition, points: Points, axis: int, *, exactly: bool) -> tuple[Tensor, Tensor]:
    """The points that lie on faces across an axis, or on a grid next to them, and the blocks on both sides.

    Args:
        partition: the blocks.
        points: n points.
        axis: the column.
        exactly: whether points lie on the faces; else the next nodes of a grid on both sides are taken.

    Returns:
        Places (k,) and blocks (k, 2).
    """
    edges, count, periodic = partition.edges[axis], partition.shape[axis], partition.periodic[axis]
    x, positions = points.tensor[:, axis], partition.positions(points)
    levels = x.unique()
    if not exactly and points.tensor.shape[1] > 1 and 2 * len(levels) > len(x):
        return x.new_empty(0, dtype=torch.long), x.new_empty(0, 2, dtype=torch.long)
    slack = 1e-9 * (edges[-1] - edges[0])
    places, pairs = [], []
    for edge in range(count + 1):
        if edge in (0, count) and not periodic:
            continue
        position = edges[edge]
        near = (x - position).abs() <= slack
        if not exactly:
            for side in (levels[levels >= position - slack][:1], levels[levels <= position + slack][-1:]):
                near = near | (x[:, None] == side).any(1)
        here = near.nonzero()[:, 0]
        below, above = positions[here].clone(), positions[here].clone()
        below[:, axis], above[:, axis] = (edge - 1) % count, edge % count
        places.append(here)
        pairs.append(torch.stack([partition.number(below), partition.number(above)], dim=1))
    return torch.cat(places), torch.cat(pairs)
