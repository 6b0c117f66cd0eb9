"""Inner products of the columns of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

#: From this length on, one BLAS call per column is faster than a batched product, on a CPU.
_LONG = 1 << 14


def dots(x: Tensor, y: Tensor) -> Tensor:
    """The inner product of each column: (k, n), (k, n) -> (k,)."""
    if x.shape[0] == 1:
        return torch.dot(x[0], y[0])[None]
    if x.shape[1] >= _LONG and not x.is_cuda:
        return torch.stack([torch.dot(a, b) for a, b in zip(x, y, strict=True)])
    return (x * y).sum(1)


def norms(x: Tensor) -> Tensor:
    """The Euclidean norm of each column: (k, n) -> (k,)."""
    return torch.linalg.vector_norm(x, dim=1)


def add_scaled(y: Tensor, factor: Tensor, x: Tensor) -> None:
    """Add factor·x to y, for each column, in place."""
    if y.shape[0] == 1:
        y.add_(x, alpha=float(factor[0]))
    else:
        y.addcmul_(factor[:, None], x)
