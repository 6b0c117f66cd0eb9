"""The set-up of large boxes: where the matrix is the same everywhere but at the walls, so is all that is made of it.

What a cell of the next grid is made of lies within a few cells. Hence the first levels of a large box are those of a
small one, its interior repeated; both have the same remainder by 2 for each level, so that they end alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self, final

import torch
from torch import Tensor

from pinnx.solvers.linear.directions.bands import Bands
from pinnx.solvers.linear.directions.hierarchy import Level
from pinnx.solvers.linear.directions.transfers import Transfer
from pinnx.solvers.linear.stencil import GridOperator

#: Levels that are repeated.
LEVELS = 2
#: Cells of an axis of the small box, and up to 3 more; the walls are felt over a few of them, on each level.
SHORT = 32
#: Cells of a grid from which on it is worth it.
LARGE = 1 << 16


@final
@dataclass(frozen=True)
class Repetition:
    """A large box as a small one, repeated.

    Attributes:
        small: the small box.
        indices: per axis, for each number of cells that the small box has there on one of the levels, the cells that
            stand for those of the large one.
    """

    small: GridOperator
    indices: tuple[dict[int, Tensor], ...]

    @classmethod
    def of(cls, operator: GridOperator) -> Self | None:
        """The repetition that an operator is; None where it is none, or too small."""
        if operator.systems > 1 or operator.shape[0] < LARGE or not operator.uniform:
            return None
        faces, walls, reaction = list(operator.faces), list(operator.walls), operator.reaction
        indices = []
        for axis, n in enumerate(operator.grid):
            m = SHORT + n % 2**LEVELS if n >= 2 * SHORT else n
            indices.append({math.ceil(m / 2**k): _index(math.ceil(m / 2**k), math.ceil(n / 2**k)) for k in range(3)})
            for other in range(len(faces)):
                faces[other] = _ends(faces[other], axis, m + (other == axis))
                walls[other] = _ends(walls[other], axis, m)
            reaction = None if reaction is None else _ends(reaction, axis, m)
        mask = torch.ones(walls[0].shape, dtype=torch.bool, device=operator.device)
        found = cls(GridOperator(tuple(faces), tuple(walls), mask, operator.spacing, reaction), tuple(indices))
        return found if torch.equal(found.repeated(found.small.center), operator.center) else None

    def repeated(self, values: Tensor) -> Tensor:
        """An array (1, *grid) of the small box, of any of its levels or between two, as that of the large one."""
        for axis in reversed(range(1, len(self.indices) + 1)):  # the whole grid is written plane by plane
            found = self.indices[axis - 1][values.shape[axis]]
            if len(found) != values.shape[axis]:
                values = values.index_select(axis, found.to(values.device))
        return values

    def bands(self, matrix: Bands) -> Bands:
        """A matrix of the small box as that of the large one."""
        return Bands(self.repeated(matrix.diagonal), {o: self.repeated(w) for o, w in matrix.upper.items()})

    def level(self, level: Level, matrix: Bands) -> Level:
        """A level of the small box as that of the large one, whose matrix is given."""
        scaling = self.repeated(level.scaling.view(1, *level.matrix.grid)).flatten(1)
        transfers, grid = [], list(matrix.grid)
        for transfer in level.transfers:
            left, right = self.repeated(transfer.left), self.repeated(transfer.right)
            transfers.append(Transfer(transfer.axis, tuple(grid), left, right))
            grid[transfer.axis - 1] = left.shape[transfer.axis]
        return Level(matrix, scaling, tuple(transfers))


def _index(short: int, long: int) -> Tensor:
    """Of `short` cells those that stand for `long` ones: from both ends inwards, and the middle one for all between."""
    middle, cells = short // 2, torch.arange(long)
    return torch.minimum(cells, torch.tensor(middle)).maximum(cells - (long - short))


def _ends(values: Tensor, axis: int, count: int) -> Tensor:
    """So many entries along an axis: half from its one end, half from the other."""
    n, low = values.shape[axis + 1], count // 2
    if n == count:
        return values
    return torch.cat([values.narrow(axis + 1, 0, low), values.narrow(axis + 1, n - count + low, count - low)], axis + 1)
