"""Classical directions: preconditioners, one a file."""

from __future__ import annotations

from pinnx.solvers.linear.preconditioners.algebraic_multigrid import AlgebraicMultigrid
from pinnx.solvers.linear.preconditioners.incomplete_cholesky import IncompleteCholesky
from pinnx.solvers.linear.preconditioners.multigrid import Multigrid
from pinnx.solvers.linear.preconditioners.petsc import PetscPreconditioner
from pinnx.solvers.linear.preconditioners.simple import Identity, Jacobi
from pinnx.solvers.linear.preconditioners.sine_transform import SineTransform

__all__ = [
    "AlgebraicMultigrid",
    "Identity",
    "IncompleteCholesky",
    "Jacobi",
    "Multigrid",
    "PetscPreconditioner",
    "SineTransform",
]
