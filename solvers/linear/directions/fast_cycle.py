"""The V-cycle without gradients: in place, on buffers that are kept from call to call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import final

import torch
from torch import Tensor

from pinnx.solvers.linear.directions.hierarchy import Hierarchy, Level, solve_coarsest
from pinnx.solvers.linear.directions.sweeps import Pick, blocks, sweep
from pinnx.solvers.linear.directions.transfers import Action


@final
class FastCycle:
    """What `Hierarchy.cycle` computes.

    Args:
        hierarchy: what it runs on.
    """

    def __init__(self, hierarchy: Hierarchy):
        self.hierarchy = hierarchy
        coefficients = hierarchy.coefficients.tolist()
        self._ratios = [a / b for a, b in zip(coefficients[:-1], coefficients[1:], strict=True)][::-1]
        self._last, self._correction = coefficients[-1], float(hierarchy.correction)
        self._levels: list[_BoundLevel] = []

    def __call__(self, residuals: Tensor) -> Tensor:
        """(k, n) -> (k, n); the result is overwritten by the next call."""
        if not self._levels or self._levels[0].b.shape[0] != residuals.shape[0]:
            self._levels = [
                _BoundLevel(level, residuals, self._ratios, self._last, self._correction)
                for level in self.hierarchy.levels
            ]
        b = residuals
        for level in self._levels:
            level.b.copy_(b)
            for action in level.down:
                action()
            b = level.coarse
        x = solve_coarsest(self.hierarchy.inverse, b)
        for level in reversed(self._levels):
            level.correction.copy_(x)
            for action in level.up:
                action()
            x = level.x
        return x


class _BoundLevel:
    """The buffers of one grid for k columns, and the operations on them.

    Attributes:
        b: right-hand sides, (k, n), to be filled before `down`.
        coarse: the residual on the next grid, (k, m), after `down`.
        correction: from the next grid, (k, m), to be filled before `up`.
        x: the result, (k, n), after `up`.
    """

    def __init__(self, level: Level, like: Tensor, ratios: list[float], last: float, correction: float):
        k, grid = like.shape[0], level.matrix.grid
        n = level.scaling.shape[1]
        self._ratios, self._scaling, self._final = ratios, level.scaling, last * level.scaling
        self.b, self.x, self._r, self._y = (like.new_empty(k, n) for _ in range(4))
        self._spare = like.new_empty(k, n) if len(ratios) > 1 else self._y
        self._blocks = blocks(level.matrix, k)
        stages = [self._r.view(k, *grid)]
        stages += [like.new_empty(k, *transfer.coarse_grid) for transfer in level.transfers]
        self.coarse = stages[-1].flatten(1)
        self.correction = like.new_empty(self.coarse.shape)
        way = [self.x.view(k, *grid), *stages[1:-1], self.correction.view(stages[-1].shape)]
        self.down = self._smooth(self.b, self._set) + sweep(self._blocks, self.x, self.b, 1.0, -1.0, self._r)
        for transfer, fine, small in zip(level.transfers, stages[:-1], stages[1:], strict=True):
            self.down += transfer.restriction(fine, small)
        self.up: list[Action] = [partial(self.correction.mul_, correction)] if correction != 1.0 else []
        for axis in reversed(range(len(level.transfers))):
            self.up += level.transfers[axis].prolongation(way[axis + 1], way[axis], add=axis == 0)
        self.up += self._residual_and_scaled() + self._smooth(self._r, self._add, scaled=True)

    def _set(self, value: Tensor, pick: Pick) -> list[Action]:
        return [partial(torch.mul, pick(self._final), value, out=pick(self.x))]

    def _add(self, value: Tensor, pick: Pick) -> list[Action]:
        return [partial(pick(self.x).addcmul_, pick(self._final), value)]

    def _residual_and_scaled(self) -> list[Action]:
        """The residual, and in the same pass the scaled residual that smoothing starts from."""

        def scaled(value: Tensor, pick: Pick) -> list[Action]:
            return [partial(torch.mul, pick(self._scaling), value, out=pick(self._y))]

        return sweep(self._blocks, self.x, self.b, 1.0, -1.0, self._r, scaled if self._ratios else None)

    def _smooth(self, b: Tensor, end: Callable[[Tensor, Pick], list[Action]], *, scaled: bool = False) -> list[Action]:
        """q(DA)D b by Horner's rule; `end` says what becomes of it. `scaled`: y holds D b already."""
        if not self._ratios:
            return [action for block in self._blocks for action in end(block.of(b), block.of)]
        actions: list[Action] = [] if scaled else [partial(torch.mul, self._scaling, b, out=self._y)]
        y, other = self._y, self._spare
        for ratio in self._ratios[:-1]:

            def onwards(value: Tensor, pick: Pick, out: Tensor = other) -> list[Action]:
                return [partial(torch.mul, pick(self._scaling), value, out=pick(out))]

            actions += sweep(self._blocks, y, b, ratio, 1.0, None, onwards)
            y, other = other, y
        return actions + sweep(self._blocks, y, b, self._ratios[-1], 1.0, None, end)
