"""Rows taken in another order, with gradients as quick as the values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Taken(torch.autograd.Function):
    """Rows of a tensor, whose gradient is taken the same way: plain indexing would add row by row."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return _rows(values, index)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None, None]:
        return _rows(cotangents[0], ctx.saved_tensors[0]), None, None


def taken(values: Tensor, index: Tensor, back: Tensor) -> Tensor:
    """values[:, index], with zeros where the index is -1.

    Args:
        values: (B, n, …).
        index: (k,) of 0 … n-1, or -1.
        back: for each row of the values the one place of the result that its gradient comes from, (n,), or -1: where
            `index` repeats a row, the others must not count in what is made of the result.
    """
    result = _Taken.apply(values, index, back)
    assert isinstance(result, Tensor)
    return result


def _rows(values: Tensor, index: Tensor) -> Tensor:
    result = values.index_select(1, index.clamp_min(0))
    missing = index < 0
    if bool(missing.any()):
        result.masked_fill_(missing.view(1, -1, *(1,) * (values.ndim - 2)), 0.0)
    return result
