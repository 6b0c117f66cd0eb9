"""A sparse matrix that is the 3-, 5- or 7-point matrix of a grid, as a `GridOperator`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse

from pinnx.errors import InputError
from pinnx.solvers.linear.stencil import GridOperator

#: Relative difference of entries that counts as none.
_ROUNDING = 1e-10


def as_grid_operator(matrix: Any, grid: Sequence[int]) -> GridOperator:
    """The matrix-free form of a symmetric matrix with entries ≤ 0 between neighbors of a grid, and none elsewhere.

    Rows of the identity become obstacles. What a row's diagonal exceeds its links by is held by walls where the cell
    has fewer neighbors than axes offer, and is a reaction elsewhere: multigrid coarsens the two differently.

    Args:
        matrix: scipy sparse, (n, n).
        grid: cells along each axis, n together, the last axis fastest.

    Raises:
        InputError: the matrix is no such one; the message says in what.

    Example:
        >>> from pinnx.solvers.linear import grid_operator
        >>> A = grid_operator((4, 5)).to_scipy()
        >>> bool(abs(as_grid_operator(A, (4, 5)).to_scipy() - A).max() < 1e-14)
        True
    """
    grid = tuple(int(size) for size in grid)
    matrix = sparse.csr_array(matrix).astype(np.float64)
    n = math.prod(grid)
    if not 1 <= len(grid) <= 3 or matrix.shape != (n, n):
        raise InputError(f"the grid {grid} has {n} cells, and the matrix has the shape {matrix.shape}")
    diagonal = matrix.diagonal()
    links, found = _links(matrix, grid)
    others = abs(matrix).sum() - np.abs(diagonal).sum() - found
    size = float(np.abs(diagonal).max())
    if others > _ROUNDING * size * n:
        raise InputError(
            f"the matrix has entries between cells of the grid {grid} that are no neighbors along an axis: it is not "
            f"the {2 * len(grid) + 1}-point matrix of this grid (is the last axis the fastest?)"
        )
    ties, neighbors = np.zeros(grid), np.zeros((len(grid), *grid))
    for axis, link in enumerate(links):
        for position in (0, 1):  # the cells at the low and at the high end of each link
            window = tuple(
                slice(position, position + size) if a == axis else slice(None) for a, size in enumerate(link.shape)
            )
            ties[window] += link
            neighbors[axis][window] += link > 0
    diagonal = diagonal.reshape(grid)
    mask = ~((ties == 0) & (diagonal == 1.0)) if n > 1 else np.ones(grid, dtype=bool)
    rest = np.where(mask, diagonal - ties, 0.0)
    if rest.min() < -_ROUNDING * size:
        raise InputError("a diagonal entry is smaller than the sum of its row's other entries: no grid operator is so")
    rest = np.where(rest > _ROUNDING * size, rest, 0.0)
    open_sides = 2 - neighbors
    total = open_sides.sum(0)
    share = np.divide(open_sides, total, out=np.zeros_like(neighbors), where=total > 0)
    faces = tuple(
        torch.from_numpy(np.pad(link, [(int(a == axis),) * 2 for a in range(len(grid))]))[None]
        for axis, link in enumerate(links)
    )
    walls = tuple(torch.from_numpy(rest * part)[None] for part in share)
    inside = np.where(total > 0, 0.0, rest)
    reaction = torch.from_numpy(inside)[None] if inside.any() else None
    return GridOperator(faces, walls, torch.from_numpy(mask)[None], (1.0,) * len(grid), reaction)


def _links(matrix: sparse.csr_array, grid: tuple[int, ...]) -> tuple[list[np.ndarray], float]:
    """Per axis the weights between neighbors, (*grid with one less); and the sum of all entries that they stand for."""
    links, found = [], 0.0
    for axis, size in enumerate(grid):
        stride = math.prod(grid[axis + 1 :])
        shape = tuple(count - (a == axis) for a, count in enumerate(grid))
        low = np.arange(math.prod(grid)).reshape(grid).take(range(size - 1), axis=axis).ravel()
        upper, lower = (np.asarray(matrix.diagonal(offset), dtype=np.float64) for offset in (stride, -stride))
        weights, mirrored = -upper[low], -lower[low]
        scale = np.abs(weights).max(initial=0.0)
        if np.abs(weights - mirrored).max(initial=0.0) > _ROUNDING * scale:
            raise InputError("the matrix is not symmetric, and the matrix of a grid operator is")
        if weights.min(initial=0.0) < -_ROUNDING * scale:
            raise InputError("an entry beside the diagonal is positive, and those of a grid operator are not")
        links.append(np.maximum(weights, 0.0).reshape(shape))
        found += 2 * float(np.abs(weights).sum())
    return links, found
