"""A square factor of W Wᵀ with the gradient of W, without differentiating any matrix decomposition.

A sum of second directional derivatives of f(x) = g(W x + b) depends on the directions only through W A Wᵀ (A the
operator's matrix). Any S with S Sᵀ = W Wᵀ may therefore replace W, and an h×h one makes the cost independent of d.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_Tensors = TypeVar("_Tensors", bound=Callable[..., Tensor])


def _not_compiled(function: _Tensors) -> _Tensors:
    """Leave a function out of torch.compile: its way depends on the data."""
    return cast("_Tensors", torch.compiler.disable(function))


@_not_compiled
def row_space_factor(weight: Tensor) -> Tensor:
    """S (h, h) with S Sᵀ = W Wᵀ in value and in first-order gradient.

    S = W Q with Q an orthonormal basis of W's row space that is held constant: d(S Sᵀ) = dW Wᵀ + W dWᵀ. Where the
    Gram matrix is well conditioned Q = Wᵀ L⁻ᵀ with its Cholesky factor L = S, so that the only work that grows with d
    is one matrix product forward and one backward; else Q comes from a QR decomposition of Wᵀ.

    Args:
        weight: W (h, d), d >= h.

    Returns:
        S (h, h). It cannot be differentiated twice.
    """
    factor, info = torch.linalg.cholesky_ex(weight.detach() @ weight.detach().T)
    diagonal = factor.diagonal()
    # L⁻¹ amplifies rounding by cond(L): below this the backward product would lose half of the digits.
    threshold = torch.finfo(weight.dtype).eps ** 0.5
    if bool((info == 0) & (diagonal.min() > threshold * diagonal.max())):
        return _CholeskyFactor.apply(weight, factor)
    basis = torch.linalg.qr(weight.detach().T).Q
    return weight @ basis


class _CholeskyFactor(torch.autograd.Function):
    """Forward: the given factor L. Backward: that of W Q with Q = Wᵀ L⁻ᵀ constant."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(weight, factor)
        return factor.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        weight, factor = ctx.saved_tensors
        left = torch.linalg.solve_triangular(factor.T, grad_outputs[0].T, upper=True).T
        return left @ weight, None
