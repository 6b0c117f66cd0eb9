"""Chebyshev smoothing on one grid, in place and without allocations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from pinnx.solvers.linear.coarsening import Transfer
from pinnx.solvers.linear.slabs import neighbor_terms, slabs
from pinnx.solvers.linear.stencil import GridOperator

Action = Callable[[], object]
"""A torch operation bound to its buffers, run for its effect."""


class Level:
    """The buffers of one grid for k columns, and the operations on them, bound once: on small grids finding the views
    would take longer than the arithmetic.

    Args:
        operator: of this grid.
        transfers: to the next coarser grid, one per axis merged; empty on the coarsest.
        columns: k.
        degree: of the Chebyshev polynomial.
        interval: its interval (low, high) of eigenvalues of D⁻¹A.
    """

    def __init__(
        self,
        operator: GridOperator,
        transfers: tuple[Transfer, ...],
        columns: int,
        degree: int,
        interval: tuple[float, float],
    ):
        new = partial(torch.zeros, dtype=operator.dtype, device=operator.device)
        shape = (columns, *operator.grid)
        self.b, self.x, self.r, self.d = (new(shape) for _ in range(4))
        self._inverse = operator.center.reciprocal()
        self._slabs = slabs(shape)
        self._residuals = self._bind_residuals(operator)
        self._steps = _coefficients(degree, interval)
        self._smoothing = [self._bind_step(keep, step) for keep, step in self._steps]
        self._grids = [self.r]
        self._corrections: list[Tensor] = []
        for transfer in transfers:
            previous = list(self._grids[-1].shape)
            previous[transfer.axis + 1] = (transfer.size + 1) // 2
            self._grids.append(new(previous))
            self._corrections.append(new(previous))
        self._restrictions = [
            action
            for transfer, fine, coarse in zip(transfers, self._grids, self._grids[1:], strict=False)
            for action in _restriction(transfer, fine, coarse)
        ]
        fines = [self.d, *self._corrections]
        chain = list(zip(transfers, fines, fines[1:], strict=False))
        self._prolongations = [a for t, fine, coarse in reversed(chain) for a in _prolongation(t, fine, coarse)]

    def presmooth(self) -> None:
        """Smooth from x = 0."""
        (_, first), *_ = self._steps
        torch.mul(self._inverse, self.b, out=self.d).mul_(first)
        self.x.copy_(self.d)
        for step in self._smoothing[1:]:
            self._step(step)

    def postsmooth(self) -> None:
        """The same polynomial from the present x."""
        for step in self._smoothing:
            self._step(step)

    def restrict(self) -> Tensor:
        """The residual on the next grid."""
        for actions in self._residuals:
            for action in actions:
                action()
        for action in self._restrictions:
            action()
        return self._grids[-1]

    def correct(self, coarse: Tensor) -> None:
        """Add the interpolated correction of the next grid."""
        self._corrections[-1].copy_(coarse)
        for action in self._prolongations:
            action()
        self.x.add_(self.d)

    def _step(self, step: list[list[Action]]) -> None:
        """One step of the recurrence: slab by slab, so that what a slab needs is moved once."""
        for residual, update in zip(self._residuals, step, strict=True):
            for action in residual:
                action()
            for action in update:
                action()
        self.x.add_(self.d)

    def _bind_step(self, keep: float, step: float) -> list[list[Action]]:
        """For each slab what follows the residual r: d <- keep·d + step·D⁻¹r."""
        updates: list[list[Action]] = []
        for slab in self._slabs:
            inverse, r, d = slab.of(self._inverse), slab.of(self.r), slab.of(self.d)
            if keep:
                updates.append([partial(r.mul_, inverse), partial(d.mul_, keep), partial(d.add_, r, alpha=step)])
            else:
                updates.append([partial(torch.mul, inverse, r, out=d), partial(d.mul_, step)])
        return updates

    def _bind_residuals(self, operator: GridOperator) -> list[list[Action]]:
        """For each slab what makes r = b - A x."""
        residuals: list[list[Action]] = []
        for slab in self._slabs:
            target, center = slab.of(self.r), slab.of(operator.center)
            actions: list[Action] = [
                partial(torch.addcmul, slab.of(self.b), center, slab.of(self.x), value=-1.0, out=target)
            ]
            for part, weight, source in neighbor_terms(operator.links, self.x, slab, target):
                if isinstance(weight, Tensor):
                    actions.append(partial(part.addcmul_, weight, source))
                else:
                    actions.append(partial(part.add_, source, alpha=weight))
            residuals.append(actions)
        return residuals


def _coefficients(degree: int, interval: tuple[float, float]) -> list[tuple[float, float]]:
    """Per step (keep, step) of d <- keep·d + step·D⁻¹r: the first-kind recurrence (Saad, Iterative methods, 12.3.2)."""
    middle, radius = (interval[1] + interval[0]) / 2, (interval[1] - interval[0]) / 2
    sigma = middle / radius
    rho, steps = 1 / sigma, [(0.0, 1 / middle)]
    for _ in range(degree - 1):
        following = 1 / (2 * sigma - rho)
        steps.append((following * rho, 2 * following / radius))
        rho = following
    return steps


def _halves(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    index = [slice(None)] * x.ndim
    lower, upper = list(index), list(index)
    lower[dim], upper[dim] = slice(0, None, 2), slice(1, None, 2)
    return x[tuple(lower)], x[tuple(upper)]


def _restriction(transfer: Transfer, fine: Tensor, coarse: Tensor) -> list[Action]:
    """Operations that fill `coarse` with half the transpose of interpolation of `fine`."""
    dim, n, m = transfer.axis + 1, coarse.shape[transfer.axis + 1], transfer.size // 2
    lower, upper = _halves(fine, dim)
    own = [0.5 * weight for weight in transfer.own]
    below, above = (0.5 * weight for weight in transfer.other)
    count = min(m, n - 1)
    return [
        partial(torch.mul, own[0], lower, out=coarse),
        partial(coarse.narrow(dim, 0, m).addcmul_, own[1].narrow(dim, 0, m).contiguous(), upper),
        partial(
            coarse.narrow(dim, 0, n - 1).addcmul_,
            below.narrow(dim, 1, n - 1).contiguous(),
            lower.narrow(dim, 1, n - 1),
        ),
        partial(
            coarse.narrow(dim, 1, count).addcmul_,
            above.narrow(dim, 0, count).contiguous(),
            upper.narrow(dim, 0, count),
        ),
    ]


def _prolongation(transfer: Transfer, fine: Tensor, coarse: Tensor) -> list[Action]:
    """Operations that fill `fine` with the interpolation of `coarse`."""
    dim, n, m = transfer.axis + 1, coarse.shape[transfer.axis + 1], transfer.size // 2
    lower, upper = _halves(fine, dim)
    count = min(m, n - 1)
    below, above = transfer.other
    return [
        partial(torch.mul, transfer.own[0], coarse, out=lower),
        partial(torch.mul, transfer.own[1].narrow(dim, 0, m).contiguous(), coarse.narrow(dim, 0, m), out=upper),
        partial(
            lower.narrow(dim, 1, n - 1).addcmul_,
            below.narrow(dim, 1, n - 1).contiguous(),
            coarse.narrow(dim, 0, n - 1),
        ),
        partial(
            upper.narrow(dim, 0, count).addcmul_,
            above.narrow(dim, 0, count).contiguous(),
            coarse.narrow(dim, 1, count),
        ),
    ]
