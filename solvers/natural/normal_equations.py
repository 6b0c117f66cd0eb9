"""The damped normal equations of a natural-gradient step, in the space of the residuals or of the parameters."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from pinnx.errors import DivergedError
from pinnx.solvers.natural.jacobian import Jacobian

#: Factor of a damping that was too small, for the Cholesky factorization or for a good step.
ESCALATION = 10.0
#: Elements of a Jacobian that is formed where it has more rows than columns: 0.5 GB.
LARGEST_JACOBIAN = 2**26


@final
class NormalEquations:
    """The directions Jᵀ (K + λI)⁻¹ ζ = (JᵀJ + λI)⁻¹ Jᵀ ζ by the smaller of the two matrices.

    Args:
        jacobian: J.
        count: its rows N.
        size: its columns P.
    """

    def __init__(self, jacobian: Jacobian, count: int, size: int):
        self.jacobian = jacobian
        self.by_residuals = count <= size or count * size > LARGEST_JACOBIAN
        self.matrix = jacobian.gram() if self.by_residuals else jacobian.normal()
        self.diagonal = self.matrix.diagonal().clone()
        self.mean = self.diagonal.sum() / count
        if not bool(torch.isfinite(self.mean)) or not bool(self.mean > 0):
            raise DivergedError(
                "the derivatives of the residuals in the parameters are not finite or all vanish; try another seed, or "
                "steps of adam first"
            )

    def solve(self, target: Tensor, damping: float) -> tuple[Tensor, float]:
        """The direction for ζ, and the damping, raised until the factorization bears it.

        Args:
            target: ζ (N,).
            damping: λ relative to the mean diagonal entry of K.
        """
        right = target if self.by_residuals else self.jacobian.adjoint(target)
        while True:
            self.matrix.diagonal().copy_(self.diagonal + damping * self.mean)
            factor, info = torch.linalg.cholesky_ex(self.matrix)
            if not bool(info):
                solution = torch.cholesky_solve(right[:, None], factor)[:, 0]
                if bool(torch.isfinite(solution).all()):
                    return (self.jacobian.adjoint(solution) if self.by_residuals else solution), damping
            damping *= ESCALATION
