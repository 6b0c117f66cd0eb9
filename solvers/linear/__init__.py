"""Linear systems: operators, preconditioners and learned directions, and one Krylov loop for all of them."""

from __future__ import annotations

from pinnx.solvers.linear.base import Direction, LinearOperator, PreparedDirection, spot_check
from pinnx.solvers.linear.convert import as_operator, as_scipy
from pinnx.solvers.linear.equation import GridSystem, equation_system
from pinnx.solvers.linear.files import load_matrix, load_vector
from pinnx.solvers.linear.krylov import solve
from pinnx.solvers.linear.preconditioners import (
    AlgebraicMultigrid,
    Identity,
    IncompleteCholesky,
    Jacobi,
    Multigrid,
    PetscPreconditioner,
    SineTransform,
)
from pinnx.solvers.linear.random_problems import random_obstacle_problem, random_right_hand_sides
from pinnx.solvers.linear.result import ColumnStatus, LinearResult, Reason
from pinnx.solvers.linear.sparse import FunctionOperator, SparseOperator
from pinnx.solvers.linear.state import Iterate
from pinnx.solvers.linear.stencil import GridOperator, grid_operator

__all__ = [
    "AlgebraicMultigrid",
    "ColumnStatus",
    "Direction",
    "FunctionOperator",
    "GridOperator",
    "GridSystem",
    "Identity",
    "IncompleteCholesky",
    "Iterate",
    "Jacobi",
    "LinearOperator",
    "LinearResult",
    "Multigrid",
    "PetscPreconditioner",
    "PreparedDirection",
    "Reason",
    "SineTransform",
    "SparseOperator",
    "as_operator",
    "as_scipy",
    "equation_system",
    "grid_operator",
    "load_matrix",
    "load_vector",
    "random_obstacle_problem",
    "random_right_hand_sides",
    "solve",
    "spot_check",
]
