"""Sums over the neighbors of a cell, slab by slab: each slab of the result is finished while it lies in the cache.

A product with the matrix of a grid is a dozen passes over arrays. Where these are larger than a core's cache, moving
them takes most of the time; a slab of a few planes is moved once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

#: Cells of a slab.
CELLS = 1 << 16


class Slab(NamedTuple):
    """A part of arrays (k, *grid): some of the columns, some cells of the first axis."""

    columns: slice
    cells: slice

    def of(self, values: Tensor) -> Tensor:
        """The slab of an array (k or 1, *grid)."""
        return values[slice(None) if values.shape[0] == 1 else self.columns, self.cells]


class Term(NamedTuple):
    """Add weight·source to target."""

    target: Tensor
    weight: Tensor | float
    source: Tensor


def slabs(shape: Sequence[int], cells: int = CELLS) -> list[Slab]:
    """The slabs that arrays (k, *grid) consist of."""
    columns, planes, plane = shape[0], shape[1], math.prod(shape[2:])
    if math.prod(shape[1:]) <= cells:
        together = max(1, cells // math.prod(shape[1:]))
        return [Slab(slice(k, k + together), slice(0, planes)) for k in range(0, columns, together)]
    thick = max(1, cells // plane)
    return [
        Slab(slice(k, k + 1), slice(start, min(start + thick, planes)))
        for k in range(columns)
        for start in range(0, planes, thick)
    ]


def neighbor_terms(links: Sequence[Tensor | float], x: Tensor, slab: Slab, target: Tensor) -> Iterator[Term]:
    """What the neighbors of a slab's cells add to them.

    Args:
        links: per axis, the weights between neighbors: (k or 1, *grid with one less on that axis), or a number.
        x: (k, *grid).
        slab: the part of the result.
        target: that part, in the shape of the slab.
    """
    start, stop = slab.cells.start, slab.cells.stop
    for axis, link in enumerate(links, start=1):
        if axis == 1:
            last, first = min(stop, x.shape[1] - 1), max(start, 1)
            if last > start:
                low = Slab(slab.columns, slice(start, last))
                source = Slab(slab.columns, slice(start + 1, last + 1)).of(x)
                yield Term(target.narrow(1, 0, last - start), _part(link, low), source)
            if stop > first:
                low = Slab(slab.columns, slice(first - 1, stop - 1))
                yield Term(target.narrow(1, first - start, stop - first), _part(link, low), low.of(x))
        else:
            n, weight, here = x.shape[axis] - 1, _part(link, slab), slab.of(x)
            yield Term(target.narrow(axis, 0, n), weight, here.narrow(axis, 1, n))
            yield Term(target.narrow(axis, 1, n), weight, here.narrow(axis, 0, n))


def _part(link: Tensor | float, slab: Slab) -> Tensor | float:
    return slab.of(link) if isinstance(link, Tensor) else link
