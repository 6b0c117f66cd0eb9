"""Linear systems: operators, preconditioners and learned directions, and one Krylov loop for all of them."""

from __future__ import annotations

from pinnx.solvers.linear.base import Direction, LinearOperator, PreparedDirection, spot_check
from pinnx.solvers.linear.krylov import solve
from pinnx.solvers.linear.result import ColumnStatus, LinearResult, Reason
from pinnx.solvers.linear.stencil import GridOperator, grid_operator

__all__ = [
    "ColumnStatus",
    "Direction",
    "GridOperator",
    "LinearOperator",
    "LinearResult",
    "PreparedDirection",
    "Reason",
    "grid_operator",
    "solve",
    "spot_check",
]
