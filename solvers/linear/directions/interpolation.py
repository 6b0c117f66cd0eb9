"""Learned operator-dependent interpolation: weights of a dropped cell from the weights of its row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from pinnx.solvers.linear.directions.bands import Bands, negated, overlap
from pinnx.solvers.linear.directions.perceptron import CellPerceptron
from pinnx.solvers.linear.directions.transfers import Transfer, after, kept_cells, padded_dropped

_TINY = 1e-12


@final
@dataclass(frozen=True)
class _Row:
    """The couplings of each row, collapsed onto one axis; (systems, *grid) each.

    Attributes:
        left: to the cells before, along the axis or beside it.
        right: to the cells after.
        beside: to the cells of the same place on the axis.
        slack: sum of the row: what ties the cell to the value 0.
    """

    left: Tensor
    right: Tensor
    beside: Tensor
    slack: Tensor


class Interpolation(nn.Module):
    """Makes the transfers of a matrix.

    The classical weight of the kept cell on one side is its part a_left / (a_left + a_right) of the collapsed row,
    less where the row has slack. Learned are the share κ of couplings that run beside the axis in the collapse, and,
    from four local features, how far slack draws the weight down and a factor between e^(-1/2) and e^(1/2). Left and
    right use the same weights, all axes and levels too.

    Args:
        hidden: neurons per cell.
        generator: draws the weights.
    """

    def __init__(self, hidden: int, generator: torch.Generator):
        super().__init__()
        self.collapse = nn.Parameter(torch.ones(()))
        self.perceptron = CellPerceptron(4, hidden, 2, generator)

    def transfer(self, matrix: Bands, axis: int, alive: Tensor) -> tuple[Transfer, Tensor]:
        """The transfer along one axis.

        Where a kept cell lies in an obstacle and the dropped one beside it does not, the coarse cell stands for the
        latter: one-cell corridors survive, wherever they run.

        Args:
            matrix: what is to be coarsened.
            axis: from 1.
            alive: which cells are unknowns, (systems, *grid) booleans.

        Returns:
            The transfer, and which coarse cells are unknowns.
        """
        row = self._row(matrix, axis)
        kept_alive, dropped_alive = kept_cells(alive, axis), padded_dropped(alive, axis)
        coarse_alive = kept_alive | dropped_alive
        left = padded_dropped(row.left, axis) * kept_alive
        right = padded_dropped(row.right, axis) * after(coarse_alive, axis)
        slack, beside = padded_dropped(row.slack, axis), padded_dropped(row.beside, axis)
        along = left + right
        tied = slack / (slack + along + _TINY)
        coupled = beside / (beside + along + _TINY)
        k_left, k_right, k_beside, k_slack = (
            kept_cells(part, axis) for part in (row.left, row.right, row.beside, row.slack)
        )
        kept_tied = k_slack / (k_left + k_right + k_beside + k_slack + _TINY)
        along = along + _TINY
        left = self._weight(left / along, tied, kept_tied, coupled)
        right = self._weight(right / along, tied, after(kept_tied, axis), coupled)
        stands_in = dropped_alive & ~kept_alive
        left, right = left.masked_fill(stands_in, 1.0), right.masked_fill(stands_in, 0.0)
        return Transfer(axis, matrix.grid, left, right, (~stands_in).to(left.dtype)), coarse_alive

    def _weight(self, share: Tensor, tied: Tensor, kept_tied: Tensor, coupled: Tensor) -> Tensor:
        return share * self.perceptron(_multiplier, share, tied, kept_tied, coupled)

    def _row(self, matrix: Bands, axis: int) -> _Row:
        left, right, beside = (torch.zeros_like(matrix.diagonal) for _ in range(3))
        slack = matrix.diagonal.clone()
        for offset, weight in matrix.upper.items():
            step, back = offset[axis - 1], negated(offset)
            ahead, behind = (beside, beside) if step == 0 else (right, left) if step > 0 else (left, right)
            straight = sum(map(abs, offset)) == abs(step)
            share = weight if straight or step == 0 else self.collapse * weight
            ahead.sub_(share)
            for total, values, sign in ((behind, share, -1.0), (slack, weight, 1.0)):
                here, seen = overlap(total, values, back)
                here.add_(seen, alpha=sign)
            slack.add_(weight)
        return _Row(left.clamp_min(0), right.clamp_min(0), beside.clamp_min(0), slack.clamp_min(0))


def _multiplier(outputs: tuple[Tensor, ...], features: tuple[Tensor, ...]) -> Tensor:
    (draw, factor), tied = outputs, features[1]
    return (1 - draw.sigmoid() * tied) * (0.5 * factor.tanh()).exp()
