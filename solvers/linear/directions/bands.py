"""Symmetric matrices on a grid, held as one array of weights per neighbor offset, and their Galerkin products.

A matrix whose row i couples only to i + o, for a few offsets o, needs one array for the diagonal and one per offset of
one half space. Weights that would leave the grid are zero, so that a product is a handful of shifted slices of the
*flattened* arrays: long contiguous runs, whatever the dimension, and no ghost cells. Coarsening goes one axis at a
time, as the product of 1-d interpolations (`pinnx.solvers.linear.directions.transfers`), so that the code of a product
PᵀAP is the same in one, two and three dimensions and costs far less than a full one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from pinnx.solvers.linear.stencil import GridOperator

Offset = tuple[int, ...]


def flat(offset: Offset, grid: tuple[int, ...]) -> int:
    """The distance of two neighbors in the flattened grid."""
    return sum(o * math.prod(grid[axis + 1 :]) for axis, o in enumerate(offset))


def positive(offset: Offset) -> bool:
    """Whether an offset is in the stored half space: its first nonzero entry is positive."""
    return next((o > 0 for o in offset if o), False)


def negated(offset: Offset) -> Offset:
    """The opposite offset."""
    return tuple(-o for o in offset)


@final
@dataclass(frozen=True)
class Bands:
    """A batch of symmetric matrices on one grid.

    Attributes:
        diagonal: (systems, *grid).
        upper: weight arrays (systems, *grid) by offset of the positive half space: entry i couples i and i + offset,
            and is zero where i + offset leaves the grid.
        links: the weights between neighbors along each axis where these are the only ones and all equal, else None.
    """

    diagonal: Tensor
    upper: dict[Offset, Tensor]
    links: tuple[float, ...] | None = None

    @property
    def grid(self) -> tuple[int, ...]:
        """Cells per axis."""
        return tuple(self.diagonal.shape[1:])

    @property
    def systems(self) -> int:
        """Number of different matrices."""
        return self.diagonal.shape[0]

    @cached_property
    def rows(self) -> tuple[Tensor, list[tuple[int, Tensor]]]:
        """Diagonal and bands as rows, or as one long row where every right-hand side has its own matrix."""
        grid, rows = self.grid, (self.systems, -1)
        bands = []
        for offset, weight in self.upper.items():
            distance = flat(offset, grid)
            assert distance > 0, f"offset {offset} on a grid {grid}"
            bands.append((distance, weight.reshape(rows)))
        return self.diagonal.reshape(rows), bands

    def apply(self, x: Tensor) -> Tensor:
        """The product with x (k, n), differentiable; k is `systems`, or anything where that is 1."""
        diagonal, bands = self.rows
        y = diagonal * x
        n = x.shape[1]
        for distance, weight in bands:
            if distance >= n:
                continue
            part = weight[:, : n - distance]
            forward = torch.nn.functional.pad(part * x[:, distance:], (0, distance))
            y = y + forward + torch.nn.functional.pad(part * x[:, : n - distance], (distance, 0))
        return y

    def select(self, index: Tensor) -> Bands:
        """Some of the matrices."""
        upper = {offset: weight[index] for offset, weight in self.upper.items()}
        return Bands(self.diagonal[index], upper, self.links)

    def dense(self) -> Tensor:
        """The matrices as (systems, n, n)."""
        n = math.prod(self.grid)
        matrix = torch.diag_embed(self.diagonal.reshape(self.systems, n))
        for offset, weight in self.upper.items():
            distance = flat(offset, self.grid)
            if distance < n:
                band = torch.diag_embed(weight.reshape(self.systems, n)[:, : n - distance], offset=distance)
                matrix = matrix + band + band.mT
        return matrix


def shifted(values: Tensor, offset: Offset) -> Tensor:
    """Values (systems, *grid) seen from each cell at cell + offset; zero where that is outside."""
    for axis, o in enumerate(offset, start=1):
        if o:
            n = values.shape[axis]
            inner = values.narrow(axis, max(o, 0), n - abs(o))
            edge = torch.zeros_like(values.narrow(axis, 0, abs(o)))
            values = torch.cat([inner, edge] if o > 0 else [edge, inner], dim=axis)
    return values


def overlap(total: Tensor, values: Tensor, offset: Offset) -> tuple[Tensor, Tensor]:
    """The cells of `total` from which a cell of `values` is seen at cell + offset, and those cells: both as views."""
    for axis, o in enumerate(offset, start=1):
        if o:
            n = values.shape[axis] - abs(o)
            total, values = total.narrow(axis, max(-o, 0), n), values.narrow(axis, max(o, 0), n)
    return total, values


def from_operator(operator: GridOperator, dtype: torch.dtype) -> Bands:
    """The bands of a grid operator: the links between unknowns, and the diagonal."""
    dimension = len(operator.grid)
    upper = {}
    for axis, face in enumerate(operator.faces):
        ends = face.narrow(axis + 1, 1, operator.grid[axis])  # entry i: the face between i and i + 1
        upper[tuple(int(a == axis) for a in range(dimension))] = -ends.to(dtype)
    links = [-link for link in operator.links if isinstance(link, float)]
    return Bands(operator.center.to(dtype), upper, tuple(links) if len(links) == dimension else None)
