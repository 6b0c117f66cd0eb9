"""Operator-dependent interpolation along one axis, and the Galerkin product that belongs to it.

Every second cell of an axis is kept. A dropped cell takes w_left u_left + w_right u_right from the kept cells beside
it; the weights come from its own row of the matrix (Alcouffe, Brandt, Dendy & Painter, SISSC 2(4), 1981; Dendy,
J. Comput. Phys. 48, 1982, whose collapsed stencils these are, axis after axis), so that nothing is interpolated through
a wall or across a jump, and PᵀAP keeps every wall, however thin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor

from pinnx.solvers.linear.directions.bands import Bands, Offset, negated, positive, shifted

Action = Callable[[], object]
"""A torch operation bound to its buffers, run for its effect."""


def kept_cells(values: Tensor, axis: int) -> Tensor:
    """Every second cell, from the first."""
    return values[(slice(None),) * axis + (slice(0, None, 2),)]


def dropped_cells(values: Tensor, axis: int) -> Tensor:
    """Every second cell, from the second."""
    return values[(slice(None),) * axis + (slice(1, None, 2),)]


def padded_dropped(values: Tensor, axis: int) -> Tensor:
    """The dropped cells, with a zero after the last where the number of cells is odd."""
    odd = dropped_cells(values, axis)
    if values.shape[axis] % 2:
        odd = torch.cat([odd, torch.zeros_like(values.narrow(axis, 0, 1))], dim=axis)
    return odd


def before(values: Tensor, axis: int) -> Tensor:
    """Values one place further left: what cell I finds at I - 1."""
    return torch.cat(
        [torch.zeros_like(values.narrow(axis, 0, 1)), values.narrow(axis, 0, values.shape[axis] - 1)], axis
    )


def after(values: Tensor, axis: int) -> Tensor:
    """Values one place further right: what cell I finds at I + 1."""
    return torch.cat(
        [values.narrow(axis, 1, values.shape[axis] - 1), torch.zeros_like(values.narrow(axis, 0, 1))], axis
    )


@final
@dataclass(frozen=True)
class Transfer:
    """Interpolation along one axis and its transpose.

    Attributes:
        axis: of arrays (systems, *grid), from 1.
        grid: cells per axis before the coarsening.
        left: weights of the kept cell before, (systems, *coarse grid); entry I belongs to the dropped cell 2I + 1.
        right: weights of the kept cell after.
        kept: 0 where the kept cell is an obstacle and the coarse cell stands for the dropped one, else 1. Only the
            Galerkin product needs it: residuals in obstacles are zero, and what lands there touches nothing.
    """

    axis: int
    grid: tuple[int, ...]
    left: Tensor
    right: Tensor
    kept: Tensor | None = None

    @property
    def coarse_grid(self) -> tuple[int, ...]:
        """Cells per axis after the coarsening."""
        return tuple(self.left.shape[1:])

    def restrict(self, fine: Tensor) -> Tensor:
        """Pᵀ: (k, *grid) -> (k, *coarse grid), differentiable."""
        odd = padded_dropped(fine, self.axis)
        return kept_cells(fine, self.axis) + self.left * odd + before(self.right * odd, self.axis)

    def prolong(self, coarse: Tensor) -> Tensor:
        """P: (k, *coarse grid) -> (k, *grid), differentiable."""
        axis, size = self.axis, self.grid[self.axis - 1]
        odd = self.left * coarse + self.right * after(coarse, axis)
        both = torch.stack([coarse, odd], dim=axis + 1)
        return both.flatten(axis, axis + 1).narrow(axis, 0, size)

    def restriction(self, fine: Tensor, out: Tensor) -> list[Action]:
        """The operations of `restrict` on buffers, without gradients."""
        odd, axis = dropped_cells(fine, self.axis), self.axis
        drops, keeps = odd.shape[axis], out.shape[axis]
        actions: list[Action] = [
            partial(out.copy_, kept_cells(fine, axis)),
            partial(out.narrow(axis, 0, drops).addcmul_, self.left.narrow(axis, 0, drops), odd),
        ]
        if keeps > 1:
            right = self.right.narrow(axis, 0, keeps - 1)
            actions.append(partial(out.narrow(axis, 1, keeps - 1).addcmul_, right, odd.narrow(axis, 0, keeps - 1)))
        return actions

    def prolongation(self, coarse: Tensor, out: Tensor, *, add: bool) -> list[Action]:
        """The operations of `prolong` on buffers, without gradients; `add`: on top of what `out` holds."""
        axis = self.axis
        even, odd = kept_cells(out, axis), dropped_cells(out, axis)
        drops, keeps = odd.shape[axis], even.shape[axis]
        left, low = self.left.narrow(axis, 0, drops), coarse.narrow(axis, 0, drops)
        actions: list[Action] = [
            partial(even.add_ if add else even.copy_, coarse),
            partial(odd.addcmul_, left, low) if add else partial(torch.mul, left, low, out=odd),
        ]
        if keeps > 1:
            right = self.right.narrow(axis, 0, keeps - 1)
            actions.append(partial(odd.narrow(axis, 0, keeps - 1).addcmul_, right, coarse.narrow(axis, 1, keeps - 1)))
        return actions

    def galerkin(self, fine: Bands) -> Bands:
        """PᵀAP of the matrices A."""
        axis = self.axis
        shares = _shares(fine, axis)
        transverse = {offset for _, offset in shares}
        products = {t: self._products(shares, t) for t in transverse}
        dimension = len(self.grid)
        diagonal, upper = None, {}
        for t, (kept, dropped) in products.items():
            for step in (-1, 0, 1):
                offset = tuple(step if a == axis - 1 else t[a] for a in range(dimension))
                if step < 0 and not any(t):
                    continue
                value = _sum(
                    kept.get(step),
                    _times(dropped.get(step), self.left),
                    before(self.right * dropped[step + 1], axis) if step + 1 in dropped else None,
                )
                if value is None:
                    continue
                if positive(offset):
                    upper[offset] = value
                elif any(offset):
                    upper[negated(offset)] = shifted(value, negated(offset))
                else:
                    diagonal = value
        assert diagonal is not None
        reached = {o: w for o, w in upper.items() if all(abs(s) < n for s, n in zip(o, self.coarse_grid, strict=True))}
        return Bands(diagonal, reached)

    def _products(
        self, shares: dict[tuple[int, Offset], Tensor], t: Offset
    ) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """The products AP for one transverse offset: rows of kept and of dropped cells, by step to the coarse cell."""
        axis = self.axis
        left, right = shifted(self.left, t), shifted(self.right, t)
        left_before, right_before = before(left, axis), before(right, axis)
        here, ahead, behind = (shares.get((step, t)) for step in (0, 1, -1))
        kept, dropped = {}, {}
        k_here, k_ahead, k_behind = (
            None if s is None else kept_cells(s, axis).contiguous() for s in (here, ahead, behind)
        )
        if self.kept is not None and k_here is not None and not any(t):
            k_here = k_here * self.kept
        d_here, d_ahead, d_behind = (
            None if s is None else padded_dropped(s, axis).contiguous() for s in (here, ahead, behind)
        )
        _put(kept, 0, k_here, _times(k_ahead, left), _times(k_behind, right_before))
        _put(kept, 1, _times(k_ahead, right))
        _put(kept, -1, _times(k_behind, left_before))
        _put(dropped, 0, _times(d_here, left), d_behind)
        _put(dropped, 1, _times(d_here, right), d_ahead)
        return kept, dropped


def _times(values: Tensor | None, weights: Tensor) -> tuple[Tensor, Tensor] | None:
    return None if values is None else (values, weights)


def _sum(*terms: Tensor | tuple[Tensor, Tensor] | None) -> Tensor | None:
    """The sum of values and of products of two; None counts as nothing."""
    total = None
    for term in terms:
        if isinstance(term, tuple):
            total = term[0] * term[1] if total is None else torch.addcmul(total, *term)
        elif term is not None:
            total = term if total is None else total + term
    return total


def _put(target: dict[int, Tensor], step: int, *terms: Tensor | tuple[Tensor, Tensor] | None) -> None:
    total = _sum(*terms)
    if total is not None:
        target[step] = total


def _shares(matrix: Bands, axis: int) -> dict[tuple[int, Offset], Tensor]:
    """The weights of a row by step along the axis and transverse offset, transverse offsets of one half space only."""
    dimension = len(matrix.grid)
    shares: dict[tuple[int, Offset], Tensor] = {(0, (0,) * dimension): matrix.diagonal}
    for offset, weight in matrix.upper.items():
        for signed in (offset, negated(offset)):
            t = tuple(0 if a == axis - 1 else o for a, o in enumerate(signed))
            if any(t) and not positive(t):
                continue
            shares[signed[axis - 1], t] = weight if signed == offset else shifted(weight, signed)
    return shares
