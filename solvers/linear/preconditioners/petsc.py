"""Preconditioners of PETSc, where petsc4py is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from pinnx.errors import MissingExtraError
from pinnx.options import check_limits, one_of, option
from pinnx.solvers.linear.base import LinearOperator, PreparedDirection
from pinnx.solvers.linear.convert import scipy_matrices
from pinnx.solvers.linear.preconditioners.per_system import PerSystem
from pinnx.solvers.linear.preconditioners.simple import Sound


@final
@dataclass(frozen=True)
class PetscPreconditioner(Sound):
    """One application of a symmetric preconditioner of PETSc, for any sparse matrix."""

    kind: ClassVar[str] = "petsc"

    method: str = option(
        "gamg", "gamg or hypre (algebraic multigrid), or icc (incomplete Cholesky)", one_of("gamg", "hypre", "icc")
    )

    def __post_init__(self) -> None:
        check_limits(self)

    def prepare(self, operator: LinearOperator) -> PreparedDirection:
        try:
            from petsc4py import PETSc  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtraError("petsc4py", "petsc", "a preconditioner of PETSc") from error
        matrices = scipy_matrices(operator, "a preconditioner of PETSc")
        return PerSystem([_Applied(PETSc, matrix, self.method) for matrix in matrices])


@final
class _Applied:
    """A set-up preconditioner with its two vectors."""

    def __init__(self, library: Any, matrix: Any, kind: str):
        entries = (matrix.indptr.astype(library.IntType), matrix.indices.astype(library.IntType), matrix.data)
        self.matrix = library.Mat().createAIJ(size=matrix.shape, csr=entries, comm=library.COMM_SELF)
        self.matrix.setOption(library.Mat.Option.SPD, True)
        self.preconditioner = library.PC().create(comm=library.COMM_SELF)
        self.preconditioner.setOperators(self.matrix)
        self.preconditioner.setType(kind)
        self.preconditioner.setUp()
        self.source, self.target = self.matrix.createVecs()

    def __call__(self, r: np.ndarray) -> np.ndarray:
        self.source.setArray(r)
        self.preconditioner.apply(self.source, self.target)
        return self.target.getArray().copy()
