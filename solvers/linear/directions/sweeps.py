"""Products with the matrix of one grid, bound to their buffers and done block by block.

Each block of a result is finished while it lies in the cache: the weights of a Galerkin product are read once, and what
is done with the product (scaled, added) costs no further pass. Binding the operations to their views once saves finding
the views on each call, which on small grids takes longer than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol, final

import torch
from torch import Tensor

from pinnx.solvers.linear.directions.bands import Bands
from pinnx.solvers.linear.directions.transfers import Action
from pinnx.solvers.linear.slabs import CELLS, Slab, Term, neighbor_terms, slabs

Pick = Callable[[Tensor], Tensor]
"""The part of a vector (k, n) that belongs to a block."""


class Block(Protocol):
    """A part of the result of a product."""

    def of(self, values: Tensor) -> Tensor:
        """The part of vectors (k, n), or of one per system (systems, n)."""
        ...

    def diagonal(self) -> Tensor:
        """The part of the diagonal."""
        ...

    def terms(self, source: Tensor, target: Tensor) -> Iterator[Term]:
        """What the neighbors add to the part `target` of a product."""
        ...


@final
class _Run:
    """A run of cells of the flattened grid, of all columns; weights that leave the grid are zero."""

    def __init__(self, matrix: Bands, columns: int, start: int, stop: int):
        self._long = columns == matrix.systems
        self._diagonal, self._bands = matrix.rows
        self._start, self._stop = start, stop

    def _row(self, values: Tensor) -> Tensor:
        """One long row if every column has its own matrix: longer runs, fewer calls."""
        return values.view(1, -1) if self._long else values

    def of(self, values: Tensor) -> Tensor:
        return self._row(values)[:, self._start : self._stop]

    def diagonal(self) -> Tensor:
        return self.of(self._diagonal)

    def terms(self, source: Tensor, target: Tensor) -> Iterator[Term]:
        start, stop, x = self._start, self._stop, self._row(source)
        for distance, weight in self._bands:
            row, last, first = self._row(weight), min(stop, x.shape[1] - distance), max(start, distance)
            if last > start:
                yield Term(target[:, : last - start], row[:, start:last], x[:, start + distance : last + distance])
            if stop > first:
                before = slice(first - distance, stop - distance)
                yield Term(target[:, first - start :], row[:, before], x[:, before])


@final
class _Planes:
    """A slab of the grid, where all weights along an axis are equal: nothing but vectors is read."""

    def __init__(self, matrix: Bands, links: tuple[float, ...], slab: Slab):
        self._matrix, self._links, self._slab = matrix, links, slab

    def of(self, values: Tensor) -> Tensor:
        return self._slab.of(values.view(-1, *self._matrix.grid))

    def diagonal(self) -> Tensor:
        return self._slab.of(self._matrix.diagonal)

    def terms(self, source: Tensor, target: Tensor) -> Iterator[Term]:
        return neighbor_terms(self._links, source.view(-1, *self._matrix.grid), self._slab, target)


def blocks(matrix: Bands, columns: int) -> list[Block]:
    """The blocks of vectors (columns, n)."""
    if matrix.links is not None:
        return [_Planes(matrix, matrix.links, slab) for slab in slabs((columns, *matrix.grid))]
    n = matrix.diagonal[0].numel()
    length, width = (n * columns, CELLS) if columns == matrix.systems else (n, max(1024, CELLS // columns))
    return [_Run(matrix, columns, start, min(start + width, length)) for start in range(0, length, width)]


def sweep(
    parts: list[Block],
    source: Tensor,
    base: Tensor,
    factor: float,
    sign: float,
    out: Tensor | None,
    finish: Callable[[Tensor, Pick], list[Action]] | None = None,
) -> list[Action]:
    """The operations that compute factor·base + sign·A source.

    Args:
        parts: see `blocks`.
        source: contiguous (k, n).
        base: contiguous (k, n).
        factor: of the base.
        sign: 1 or -1.
        out: where the result goes, contiguous (k, n); None: only `finish` sees it.
        finish: the operations that follow on each block, given the block of the result and a way to pick the block
            of other vectors; it must not touch `source`.
    """
    actions: list[Action] = []
    scratch: dict[torch.Size, Tensor] = {}
    for block in parts:
        origin = block.of(base)
        if out is None and origin.shape not in scratch:
            scratch[origin.shape] = origin.new_empty(origin.shape)
        target = scratch[origin.shape] if out is None else block.of(out)
        diagonal, middle = block.diagonal(), block.of(source)
        if factor == 1.0:
            actions.append(partial(torch.addcmul, origin, diagonal, middle, value=sign, out=target))
        else:
            actions.append(partial(torch.mul, origin, factor, out=target))
            actions.append(partial(target.addcmul_, diagonal, middle, value=sign))
        for part, weight, neighbor in block.terms(source, target):
            if isinstance(weight, Tensor):
                actions.append(partial(part.addcmul_, weight, neighbor, value=sign))
            else:
                actions.append(partial(part.add_, neighbor, alpha=sign * weight))
        if finish is not None:
            actions += finish(target, block.of)
    return actions
