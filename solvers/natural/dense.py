"""The Jacobian of any network, row by row, by reverse mode: simple, and as large as N × P."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from pinnx.solvers.natural.jacobian import CHUNK_ELEMENTS, Exchange, Jacobian


@final
class DenseJacobian(Jacobian):
    """A Jacobian held as a matrix.

    Args:
        matrix: J (N, P).
    """

    def __init__(self, matrix: Tensor):
        self.matrix = matrix

    def gram(self, exchange: Exchange | None = None) -> Tensor:
        if exchange is None:
            return self.matrix @ self.matrix.T
        result = self.matrix.new_zeros(exchange.total, exchange.total)
        for rows in self.matrix.split(max(1, CHUNK_ELEMENTS // exchange.total), dim=1):
            columns = exchange.columns(rows)
            result.addmm_(columns, columns.T)
        return result

    def apply(self, direction: Tensor) -> Tensor:
        return self.matrix @ direction

    def adjoint(self, rows: Tensor) -> Tensor:
        return self.matrix.T @ rows

    def rows(self) -> Tensor:
        return self.matrix


def jacobian_rows(residuals: Callable[[slice], Tensor], rows: int, parameters: Sequence[Tensor], chunk: int) -> Tensor:
    """J (rows, P) of residuals that depend on one point each.

    Args:
        residuals: the residuals of the points in a slice, with their graph.
        rows: number of points.
        parameters: what they are differentiated in.
        chunk: points at a time; their rows come from one batched backward pass, whose work grows with its square.
    """
    parts = []
    for start in range(0, rows, chunk):
        values = residuals(slice(start, min(start + chunk, rows)))
        parts.append(_rows(values, parameters))
    return torch.cat(parts)


def _rows(values: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    identity = torch.eye(len(values), dtype=values.dtype, device=values.device)
    try:
        gradients = torch.autograd.grad(
            values, parameters, identity, is_grads_batched=True, allow_unused=True, retain_graph=True
        )
    except RuntimeError:  # an operation without a rule for batches, such as those of the row space
        each = [torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True) for value in values]
        gradients = [_stacked(column) for column in zip(*each, strict=True)]
    filled = [
        values.new_zeros(len(values), parameter.numel()) if gradient is None else gradient.reshape(len(values), -1)
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]
    return torch.cat(filled, dim=1)


def _stacked(gradients: tuple[Tensor | None, ...]) -> Tensor | None:
    some = next((gradient for gradient in gradients if gradient is not None), None)
    if some is None:
        return None
    return torch.stack([torch.zeros_like(some) if gradient is None else gradient for gradient in gradients])
