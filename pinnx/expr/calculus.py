"""Exact derivatives of any differentiable function, by torch.func: the slow and general way.

It serves known functions without closed forms, networks that no faster estimator can read, and the tests of all others.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, jvp, vmap

from pinnx.errors import UnsupportedError
from pinnx.expr.atoms import Atom, Biharmonic, Directional, Gradient, Matrix, Partial, SecondOrder, Value
from pinnx.expr.points import Points

#: Elements of the largest intermediate tensor; directions are processed in chunks that respect it.
MEMORY_ELEMENTS = 1 << 24

RowFunction = Callable[[Tensor], Tensor]


def differentiate(function: RowFunction, atom: Atom, points: Points, vector: Tensor | None = None) -> Tensor:
    """The value of an atom of a function at every point.

    Args:
        function: maps one point (D,) to a scalar; differentiable by torch.func.
        atom: the functional (its `of` is ignored).
        points: n points.
        vector: the direction of a `Directional` atom, (d,), (1, d) or (n, d).

    Returns:
        (n,), or (n, d) for a gradient; differentiable in whatever `function` closes over.

    Raises:
        UnsupportedError: the atom is of an unknown type.
    """
    rows = points.tensor
    if isinstance(atom, Value):
        return vmap(function)(rows)
    if isinstance(atom, Partial):
        for group, index in atom.columns:
            function = _along(function, points.coordinates.columns(group).start + index, rows)
        return vmap(function)(rows)
    if isinstance(atom, (Gradient, Directional)):
        columns = points.coordinates.columns(atom.group)
        gradient = vmap(grad(function))(rows)[:, columns]
        return gradient if vector is None else (gradient * vector).sum(-1)
    if isinstance(atom, SecondOrder):
        return _second_order(function, atom, points)
    if isinstance(atom, Biharmonic):
        columns = points.coordinates.columns(atom.group)
        return vmap(_laplacian(_laplacian(function, columns), columns))(rows)
    raise UnsupportedError(f"automatic differentiation does not know the atom {type(atom).__name__}")


def _along(function: RowFunction, column: int, like: Tensor) -> RowFunction:
    """The derivative of a row function in one coordinate."""
    direction = torch.zeros_like(like[0])
    direction[column] = 1
    return lambda row: jvp(function, (row,), (direction,))[1]


def _laplacian(function: RowFunction, columns: slice) -> RowFunction:
    """The Laplacian of a row function over some of its columns."""
    gradient = grad(function)

    def sum_of_curvatures(row: Tensor) -> Tensor:
        axes = torch.eye(row.shape[0], dtype=row.dtype, device=row.device)[columns]
        return vmap(lambda axis: jvp(gradient, (row,), (axis,))[1] @ axis)(axes).sum()

    return sum_of_curvatures


def _second_order(function: RowFunction, atom: SecondOrder, points: Points) -> Tensor:
    rows, columns = points.tensor, points.coordinates.columns(atom.group)
    directions, weights = second_order_directions(atom.matrix, points, columns.stop - columns.start)
    gradient = grad(function)

    def curvature(row: Tensor, direction: Tensor) -> Tensor:
        full = torch.nn.functional.pad(direction, (columns.start, row.shape[0] - columns.stop))
        return (jvp(gradient, (row,), (full,))[1] * full).sum()

    chunk = max(1, MEMORY_ELEMENTS // max(1, rows.numel()))
    if directions.ndim == 2:  # the same directions (k, d) at every point
        over_points = vmap(curvature, in_dims=(0, None))
        curvatures = vmap(over_points, in_dims=(None, 0), chunk_size=chunk)(rows, directions)
        return (curvatures * weights[:, None]).sum(0)
    over_points = vmap(curvature, in_dims=(0, 0))
    curvatures = vmap(over_points, in_dims=(None, 1), chunk_size=chunk)(rows, directions)
    return (curvatures * weights.T).sum(0)


def second_order_directions(matrix: Matrix | None, points: Points, size: int) -> tuple[Tensor, Tensor]:
    """Directions l_k and weights s_k with A = Σ s_k l_k l_kᵀ (the symmetric part of A).

    Args:
        matrix: A, or None for the identity.
        points: where a varying matrix is evaluated.
        size: dimension d of the coordinate group.

    Returns:
        Directions (k, d) and weights (k,), or (n, k, d) and (n, k) for a matrix that varies with the point.

    Raises:
        UnsupportedError: the matrix has another size than the coordinate group.
    """
    like = points.tensor
    if matrix is None:
        return torch.eye(size, dtype=like.dtype, device=like.device), like.new_ones(size)
    value = matrix.at(points)
    expected = ([len(points)] if matrix.varies else []) + [size] * (1 if matrix.diagonal else 2)
    if list(value.shape) != expected:
        raise UnsupportedError(f"the matrix {matrix.name} must have shape {expected}, got {list(value.shape)}")
    if matrix.diagonal:
        identity = torch.eye(size, dtype=like.dtype, device=like.device)
        return (identity.expand(len(points), size, size), value) if matrix.varies else (identity, value)
    weights, vectors = torch.linalg.eigh((value + value.mT) / 2)
    return vectors.mT, weights
