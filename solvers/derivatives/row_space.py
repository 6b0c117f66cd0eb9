"""A square factor of W Wᵀ with the gradient of W, without differentiating any matrix decomposition.

A sum of second directional derivatives of f(x) = g(W x + b) depends on the directions only through W A Wᵀ (A the
operator's matrix). Any S with S Sᵀ = W Wᵀ may therefore replace W, and an h×h one makes the cost independent of d.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _not_compiled(function: _Function) -> _Function:
    """Leave a function out of torch.compile: its way depends on the data."""
    return cast("_Function", torch.compiler.disable(function))


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
    return _factor_and_basis(weight)[0]


@_not_compiled
def _factor_and_basis(weight: Tensor) -> tuple[Tensor, Tensor | None]:
    """S, and Q where it does not follow from S."""
    factor, info = torch.linalg.cholesky_ex(weight.detach() @ weight.detach().T)
    diagonal = factor.diagonal()
    # L⁻¹ amplifies rounding by cond(L): below this the backward product would lose half of the digits.
    threshold = torch.finfo(weight.dtype).eps ** 0.5
    if bool((info == 0) & (diagonal.min() > threshold * diagonal.max())):
        return _CholeskyFactor.apply(weight, factor), None
    basis = torch.linalg.qr(weight.detach().T).Q
    return weight @ basis, basis


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


@final
@dataclass(frozen=True)
class Frame:
    """Coordinates q of a random vector ξ ~ N(0, I_d), as far as the first layer can tell them apart.

    W ξ = S q with q ~ N(0, I_r). Either q = ξ (S = W), or q = Qᵀ ξ with an orthonormal basis Q (d, r) of W's row space.

    Attributes:
        columns: W (h, d).
        factor: S (h, r).
        basis: Q, or None where it is Wᵀ S⁻ᵀ or not needed.
        reduced: whether q lives in the row space.
    """

    columns: Tensor
    factor: Tensor
    basis: Tensor | None
    reduced: bool

    @property
    def rank(self) -> int:
        """Number r of coordinates."""
        return self.factor.shape[1]

    def embed(self, q: Tensor) -> Tensor:
        """The change of the hidden layer: (…, r) -> (…, h)."""
        return q @ self.factor.T

    def along(self, slopes: Tensor, vector: Tensor, hidden: Tensor) -> Tensor:
        """The derivative along vectors (1 or n, d).

        Args:
            slopes: along the frame's axes, (…, n, r).
            vector: b.
            hidden: g, the slopes in the hidden layer (…, n, h); of it only the mean matters, and only for gradients.
        """
        if not self.reduced:
            return (slopes * vector).sum(-1)
        image = vector @ self.columns.T  # W b
        inside = self._solve(image.detach()) if self.basis is None else vector @ self.basis  # Qᵀ b
        # Q is held constant, so that what b has outside the row space needs a term whose value is zero but whose
        # gradient in W is not: g · (W − S Qᵀ) b. S⁻ᵀ(slopes) would be such a g, too, with a noise that grows with the
        # condition of W, and none at all where neurons see the same combination of coordinates.
        return (slopes * inside).sum(-1) + (hidden.detach() * (image - inside @ self.factor.T)).sum(-1)

    def lift(self, slopes: Tensor, hidden: Tensor) -> Tensor:
        """The gradient (…, n, d), from the same as `along`."""
        if not self.reduced:
            return slopes
        basis = self._solve(self.columns.detach().T) if self.basis is None else self.basis
        return slopes @ basis.T + hidden.detach() @ (self.columns - self.factor @ basis.T)

    def _solve(self, right: Tensor) -> Tensor:
        """The product right · S⁻ᵀ, with S held constant."""
        return torch.linalg.solve(self.factor.detach().T, right, left=False)


def coordinate_frame(columns: Tensor) -> Frame:
    """The frame of all d coordinates."""
    return Frame(columns, columns, None, reduced=False)


def row_space_frame(columns: Tensor) -> Frame:
    """The frame of the row space of W (h, d), d > h."""
    factor, basis = _factor_and_basis(columns)
    return Frame(columns, factor, basis, reduced=True)
