"""Incomplete Cholesky factorization without fill-in, by the library ilupp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from pinnx.errors import MissingExtraError, UnsupportedError
from pinnx.solvers.linear.base import LinearOperator, PreparedDirection
from pinnx.solvers.linear.convert import scipy_matrices
from pinnx.solvers.linear.preconditioners.per_system import PerSystem
from pinnx.solvers.linear.preconditioners.simple import Sound


@final
@dataclass(frozen=True)
class IncompleteCholesky(Sound):
    """IC(0): A ≈ L Lᵀ with L of A's own sparsity; exists for M-matrices, such as the grid operators.

    J. A. Meijerink, H. A. van der Vorst. Math. Comp. 31 (1977), 148-162.
    """

    kind: ClassVar[str] = "incomplete-cholesky"

    def prepare(self, operator: LinearOperator) -> PreparedDirection:
        try:
            import ilupp
        except ImportError as error:
            raise MissingExtraError("ilupp", "linear", "the incomplete Cholesky preconditioner") from error
        matrices = scipy_matrices(operator, "incomplete Cholesky factorization")
        if not all((matrix.diagonal() > 0).all() for matrix in matrices):
            raise UnsupportedError("incomplete Cholesky factorization needs a positive diagonal")
        factors = [ilupp.IChol0Preconditioner(matrix) for matrix in matrices]
        return PerSystem([lambda r, factor=factor: np.asarray(factor @ r) for factor in factors])
