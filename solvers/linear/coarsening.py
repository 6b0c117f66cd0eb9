"""Coarse grids for multigrid: pairs of cells merged along one axis at a time, as a network of resistors.

A face is a resistor between the centers of two cells. Merging a pair puts the coarse unknown in the middle of the
resistor between the two (or on the one that is no obstacle): faces across the axis add in series, those along it in
parallel. Interpolation divides the voltage in the same network, so that it follows walls, obstacles and jumps of the
coefficient; on a constant coefficient it is (bi-, tri-)linear interpolation of cell centers. The idea is that of
operator-dependent interpolation (Alcouffe, Brandt, Dendy, Painter. SIAM J. Sci. Stat. Comput. 2 (1981), 430-454), kept
to the faces of the grid so that every level is again a 3-, 5- or 7-point operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.solvers.linear.stencil import GridOperator

#: An axis is merged where its links are at least this part of the strongest axis's.
_WEAK = 0.3


@final
@dataclass(frozen=True, eq=False)
class Transfer:
    """Interpolation from pairs of cells along one axis; restriction is half its transpose.

    Attributes:
        axis: of the grid, from 0.
        size: fine cells along the axis; n = ceil(size / 2) coarse ones.
        own: weights of the coarse cell itself, for the lower and the upper fine cell: each (systems, *coarse grid).
        other: weights of the coarse neighbor below, for the lower fine cell, and above, for the upper one; likewise.
    """

    axis: int
    size: int
    own: tuple[Tensor, Tensor]
    other: tuple[Tensor, Tensor]

    def prolong(self, coarse: Tensor) -> Tensor:
        """(k, *coarse grid) -> (k, *fine grid)."""
        dim, n = self.axis + 1, coarse.shape[self.axis + 1]
        lower, upper = self.own[0] * coarse, self.own[1] * coarse
        lower.narrow(dim, 1, n - 1).addcmul_(self.other[0].narrow(dim, 1, n - 1), coarse.narrow(dim, 0, n - 1))
        upper.narrow(dim, 0, n - 1).addcmul_(self.other[1].narrow(dim, 0, n - 1), coarse.narrow(dim, 1, n - 1))
        return torch.stack([lower, upper], dim + 1).flatten(dim, dim + 1).narrow(dim, 0, self.size)

    def restrict(self, fine: Tensor) -> Tensor:
        """(k, *fine grid) -> (k, *coarse grid): half the transpose, an average."""
        dim = self.axis + 1
        lower, upper = _pairs(fine, dim)
        n = lower.shape[dim]
        coarse = self.own[0] * lower + self.own[1] * upper
        coarse.narrow(dim, 0, n - 1).addcmul_(self.other[0].narrow(dim, 1, n - 1), lower.narrow(dim, 1, n - 1))
        coarse.narrow(dim, 1, n - 1).addcmul_(self.other[1].narrow(dim, 0, n - 1), upper.narrow(dim, 0, n - 1))
        return 0.5 * coarse


def merge(operator: GridOperator, axis: int) -> tuple[GridOperator, Transfer]:
    """The operator on pairs of cells along one axis, and the transfer between the two grids.

    Args:
        operator: the fine operator.
        axis: of the grid, from 0; an odd last cell stays alone.
    """
    dim, grid = axis + 1, operator.grid
    lower, upper = _pairs(operator.mask, dim)
    n = lower.shape[dim]
    face = operator.faces[axis]
    inside = _pairs(face.narrow(dim, 1, grid[axis]), dim)[0]  # between the two of a pair; zero for a single one
    between = _pairs(face.narrow(dim, 1, grid[axis]), dim)[1].narrow(dim, 0, n - 1)
    half = torch.where(lower & upper & (inside > 0), 0.5 / inside, torch.zeros_like(inside))
    series = between / (1 + between * (half.narrow(dim, 0, n - 1) + half.narrow(dim, 1, n - 1)))
    shape = list(face.shape)
    shape[dim] = n + 1
    coarse_face = face.new_zeros(shape)
    coarse_face.narrow(dim, 1, n - 1).copy_(0.5 * series)
    wall = _pairs(operator.walls[axis], dim)
    coarse_wall = sum(0.5 * w / (1 + w * half) for w in wall)
    assert isinstance(coarse_wall, Tensor)
    faces = tuple(coarse_face if a == axis else _mean(f, dim) for a, f in enumerate(operator.faces))
    walls = tuple(coarse_wall if a == axis else _mean(w, dim) for a, w in enumerate(operator.walls))
    reaction = None if operator.reaction is None else _mean(operator.reaction, dim)
    spacing = tuple(h * (1 + (a == axis)) for a, h in enumerate(operator.spacing))
    coarse = GridOperator(faces, walls, lower | upper, spacing, reaction)
    return coarse, _transfer(axis, grid[axis], (lower, upper), half, between, wall)


def coarsened(operator: GridOperator) -> tuple[GridOperator, tuple[Transfer, ...]]:
    """The next coarser operator, and the transfers to it, one per axis merged: all axes but the weakly linked."""
    strength = [h**-2 if n > 1 else 0.0 for h, n in zip(operator.spacing, operator.grid, strict=True)]
    transfers: list[Transfer] = []
    for axis, n in enumerate(operator.grid):
        if n > 1 and strength[axis] >= _WEAK * max(strength):
            operator, transfer = merge(operator, axis)
            transfers.append(transfer)
    return operator, tuple(transfers)


def _transfer(
    axis: int, size: int, masks: tuple[Tensor, Tensor], half: Tensor, between: Tensor, wall: tuple[Tensor, Tensor]
) -> Transfer:
    """Voltage dividers: each fine cell lies between its coarse cell, the next coarse cell, and its walls."""
    dim, n = axis + 1, half.shape[axis + 1]
    # conductances from a fine cell to the coarse cell on its other side, (k, n - 1): below the lower, above the upper
    toward = [torch.zeros_like(half), torch.zeros_like(half)]
    toward[0].narrow(dim, 1, n - 1).copy_(between / (1 + between * half.narrow(dim, 0, n - 1)))
    toward[1].narrow(dim, 0, n - 1).copy_(between / (1 + between * half.narrow(dim, 1, n - 1)))
    own, other = [], []
    for mask, outward, held in zip(masks, toward, wall, strict=True):
        total = 1 / (1 + half * (outward + held))
        own.append(total * mask)
        other.append(half * outward * total)
    return Transfer(axis, size, (own[0], own[1]), (other[0], other[1]))


def _pairs(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The lower and upper member of each pair along an axis; a missing upper one is zero."""
    if x.shape[dim] % 2:
        shape = list(x.shape)
        shape[dim] = 1
        x = torch.cat([x, x.new_zeros(shape)], dim)
    pairs = x.unflatten(dim, (-1, 2))
    return pairs.select(dim + 1, 0), pairs.select(dim + 1, 1)


def _mean(x: Tensor, dim: int) -> Tensor:
    lower, upper = _pairs(x, dim)
    return 0.5 * (lower + upper)
