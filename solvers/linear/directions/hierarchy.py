"""The grids of a V-cycle: matrices, smoothers and transfers of every level, and the cycle itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from pinnx.solvers.linear.directions.bands import Bands
from pinnx.solvers.linear.directions.transfers import Transfer


@final
@dataclass(frozen=True)
class Level:
    """One grid but the coarsest.

    Attributes:
        matrix: A of this grid.
        scaling: D of its smoother, (systems, n).
        transfers: to the next grid, one per axis.
    """

    matrix: Bands
    scaling: Tensor
    transfers: tuple[Transfer, ...]


@final
@dataclass(frozen=True)
class Hierarchy:
    """All grids.

    Attributes:
        levels: finest first.
        inverse: of the coarsest matrix, (systems, m, m).
        coefficients: of the smoothing polynomial, constant first.
        correction: factor of the corrections from the next grid.
    """

    levels: tuple[Level, ...]
    inverse: Tensor
    coefficients: Tensor
    correction: Tensor

    def cycle(self, residuals: Tensor, depth: int = 0) -> Tensor:
        """The V-cycle from zero, (k, n) -> (k, n), differentiable."""
        if depth == len(self.levels):
            return solve_coarsest(self.inverse, residuals)
        level = self.levels[depth]
        matrix = level.matrix
        x = self._smooth(level, residuals)
        coarse = (residuals - matrix.apply(x)).reshape(-1, *matrix.grid)
        for transfer in level.transfers:
            coarse = transfer.restrict(coarse)
        correction = self.cycle(coarse.flatten(1), depth + 1).reshape(coarse.shape)
        for transfer in reversed(level.transfers):
            correction = transfer.prolong(correction)
        x = x + self.correction * correction.flatten(1)
        return x + self._smooth(level, residuals - matrix.apply(x))

    def _smooth(self, level: Level, residuals: Tensor) -> Tensor:
        value = self.coefficients[-1] * residuals
        for coefficient in reversed(self.coefficients[:-1]):
            value = level.matrix.apply(level.scaling * value) + coefficient * residuals
        return level.scaling * value

    def select(self, index: Tensor) -> Hierarchy:
        """The hierarchy of some of the systems."""

        def part(values: Tensor) -> Tensor:
            return values[index]

        levels = tuple(
            Level(
                level.matrix.select(index),
                part(level.scaling),
                tuple(Transfer(t.axis, t.grid, part(t.left), part(t.right)) for t in level.transfers),
            )
            for level in self.levels
        )
        return Hierarchy(levels, part(self.inverse), self.coefficients, self.correction)


def solve_coarsest(inverse: Tensor, residuals: Tensor) -> Tensor:
    """The product of each system's inverse with its residual: (systems or 1, m, m), (k, m) -> (k, m)."""
    if inverse.shape[0] == 1:
        return residuals @ inverse[0]
    return (inverse @ residuals.unsqueeze(-1)).squeeze(-1)
