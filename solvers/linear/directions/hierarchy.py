"""The grids of a V-cycle: matrices, smoothers and transfers of every level, and the cycle itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
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
            return _solve_coarsest(self.inverse, residuals)
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
                Bands(part(level.matrix.diagonal), {o: part(w) for o, w in level.matrix.upper.items()}),
                part(level.scaling),
                tuple(Transfer(t.axis, t.grid, part(t.left), part(t.right)) for t in level.transfers),
            )
            for level in self.levels
        )
        return Hierarchy(levels, part(self.inverse), self.coefficients, self.correction)


def _solve_coarsest(inverse: Tensor, residuals: Tensor) -> Tensor:
    if inverse.shape[0] == 1:
        return residuals @ inverse[0]
    return (inverse @ residuals.unsqueeze(-1)).squeeze(-1)


@final
@dataclass
class FastCycle:
    """The same cycle without gradients: in place, on buffers that are kept from call to call.

    Attributes:
        hierarchy: what it runs on.
    """

    hierarchy: Hierarchy
    _columns: int = field(default=0, init=False)
    _buffers: list[tuple[Tensor, ...]] = field(default_factory=list, init=False)
    _stages: list[list[Tensor]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        coefficients = self.hierarchy.coefficients.tolist()
        self._ratios = [a / b for a, b in zip(coefficients[:-1], coefficients[1:], strict=True)][::-1]
        self._last = [coefficients[-1] * level.scaling for level in self.hierarchy.levels]
        self._correction = float(self.hierarchy.correction)

    def __call__(self, residuals: Tensor) -> Tensor:
        """(k, n) -> (k, n); the result is overwritten by the next call."""
        residuals = residuals.contiguous()
        if residuals.shape[0] != self._columns:
            self._allocate(residuals)
        return self._cycle(residuals, 0)

    def _allocate(self, residuals: Tensor) -> None:
        self._columns = k = residuals.shape[0]
        self._buffers, self._stages = [], []
        for level in self.hierarchy.levels:
            self._buffers.append(tuple(residuals.new_empty(k, level.scaling.shape[1]) for _ in range(4)))
            self._stages.append([residuals.new_empty(k, *transfer.coarse_grid) for transfer in level.transfers])

    def _cycle(self, b: Tensor, depth: int) -> Tensor:
        if depth == len(self.hierarchy.levels):
            return _solve_coarsest(self.hierarchy.inverse, b)
        level, stages = self.hierarchy.levels[depth], self._stages[depth]
        x, r, y, v = self._buffers[depth]
        torch.mul(self._last[depth], self._smoothed(level, b, y, r), out=x)
        level.matrix.residual(b, x, out=r)
        fine = r.view(-1, *level.matrix.grid)
        for transfer, coarse in zip(level.transfers, stages, strict=True):
            fine = transfer.restrict_into(fine, coarse)
        correction = self._cycle(stages[-1].flatten(1), depth + 1)
        if self._correction != 1.0:
            correction = correction * self._correction
        coarse = correction.view(stages[-1].shape)
        for transfer, fine in zip(reversed(level.transfers[1:]), reversed(stages[:-1]), strict=True):
            coarse = transfer.prolong_into(coarse, fine, add=False)
        level.transfers[0].prolong_into(coarse, x.view(-1, *level.matrix.grid), add=True)
        level.matrix.residual(b, x, out=r)
        return x.addcmul_(self._last[depth], self._smoothed(level, r, y, v))

    def _smoothed(self, level: Level, b: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """q(AD) b up to a factor, by Horner's rule, in `v` or, for a constant q, b itself; `y` is overwritten."""
        value = b
        for ratio in self._ratios:
            torch.mul(level.scaling, value, out=y)
            value = level.matrix.multiply(y, out=v).add_(b, alpha=ratio)
        return value
