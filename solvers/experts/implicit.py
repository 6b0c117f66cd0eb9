"""Gradients through a minimization, by the implicit function theorem.

At a minimum ω*, g(ω*, b) = 0 with g = Jᵀr; so dω/db = -H⁻¹ ∂g/∂b, with the full Hessian H: dropping its second-order
part is exact only where the residual vanishes. The function g is differentiable in the forms b; a step of -H⁻¹g, zero
in value, carries the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class NewtonStep(torch.autograd.Function):
    """-H⁻¹g, whose value counts as zero: the gradient of a minimizer in everything that g depends on."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, solve: Callable[[Tensor], Tensor]) -> Tensor:
        """Zeros of the shape of g, (B, E, N)."""
        ctx.solve = solve
        return torch.zeros_like(gradient)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        """-H⁻¹ v."""
        return -ctx.solve(cotangents[0]), None
