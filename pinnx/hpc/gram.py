"""Natural gradients on several processes: each holds the rows of the Jacobian that belong to its points.

K = J Jᵀ is a sum over the columns of J. Every process forms the rows of its own points, they are dealt out by columns,
each process multiplies its columns with themselves, and one sum makes K of the products. So the work and the memory of
J are divided; K itself, N × N, and its factorization are the same on every process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from pinnx.hpc.meeting import Meeting
from pinnx.solvers.natural import Exchange, Jacobian, Linearization


@final
class GramExchange(Exchange):
    """What the processes of a job ask of one another.

    Args:
        meeting: of this process with the others.
        sizes: rows of each process, by group.
    """

    def __init__(self, meeting: Meeting, sizes: Sequence[Sequence[int]]):
        self.meeting, self.sizes, self.rank = meeting, sizes, meeting.ranks.rank

    def columns(self, rows: Tensor) -> Tensor:
        return self.meeting.deal(rows, [sum(each) for each in self.sizes])

    def gather(self, parts: Sequence[Tensor], groups: Sequence[int]) -> list[list[Tensor]]:
        shapes = [
            [(part.shape[0], each[group], part.shape[2]) for part, group in zip(parts, groups, strict=True)]
            for each in self.sizes
        ]
        lengths = [s * n * k for each in shapes for s, n, k in each]
        flat = parts[0].new_zeros(sum(lengths) + 1)
        pieces = list(flat[:-1].split(lengths))
        count = len(parts)
        for part, piece in zip(parts, pieces[self.rank * count :], strict=False):
            piece.copy_(part.reshape(-1))
        pieces = iter(self.meeting.sum(flat)[:-1].split(lengths))
        return [[next(pieces).view(shape) for shape in each] for each in shapes]


@final
class SplitJacobian(Jacobian):
    """The Jacobian of which every process holds the rows of its own points.

    Args:
        share: these rows.
        exchange: with the other processes.
    """

    def __init__(self, share: Jacobian, exchange: GramExchange):
        self.share, self.exchange = share, exchange

    def gram(self, exchange: Exchange | None = None) -> Tensor:
        gram = self.share.gram(self.exchange)
        return self._sum(gram.reshape(-1)).view_as(gram)

    def apply(self, direction: Tensor) -> Tensor:
        return everybodys(self.share.apply(direction), self.exchange)

    def adjoint(self, rows: Tensor) -> Tensor:
        return self._sum(self.share.adjoint(rows[self.exchange.own]))

    def rows(self) -> Tensor:
        own = self.share.rows()
        result = own.new_zeros(self.exchange.total, own.shape[1])
        result[self.exchange.own] = own
        return self._sum(result.reshape(-1)).view_as(result)

    def normal(self) -> Tensor:
        own = self.share.normal()
        return self._sum(own.reshape(-1)).view_as(own)

    def _sum(self, values: Tensor) -> Tensor:
        return self.exchange.meeting.sum(torch.cat([values, values.new_zeros(1)]))[:-1]


def everybodys(rows: Tensor, exchange: GramExchange) -> Tensor:
    """The rows (n,) of every process one after the other: (N,)."""
    values = rows.new_zeros(exchange.total + 1)
    values[exchange.own] = rows
    return exchange.meeting.sum(values)[:-1]


def whole(share: Linearization, meeting: Meeting, counts: Sequence[int]) -> Linearization:
    """The linearization of a batch from that of a process's share.

    Args:
        share: of this process.
        meeting: of this process with the others.
        counts: points of the whole batch, by set.
    """
    cuts = [[meeting.share(count, rank) for count in counts] for rank in range(meeting.ranks.count)]
    exchange = GramExchange(meeting, [[each[s].stop - each[s].start for s in share.groups] for each in cuts])
    residuals = everybodys(share.residuals, exchange)
    terms = residuals.new_tensor([*share.terms.values(), 0.0])
    sums = meeting.sum(terms).tolist()
    named = dict(zip(share.terms, sums, strict=False))
    return Linearization(residuals, SplitJacobian(share.jacobian, exchange), named, share.groups)
