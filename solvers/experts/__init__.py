"""Hard constraints: coefficients of basis functions, solved block by block, for which the equation holds."""

from pinnx.solvers.experts.layer import solve_coefficients
from pinnx.solvers.experts.options import LeastSquaresOptions
from pinnx.solvers.experts.partition import Partition
from pinnx.solvers.experts.rows import Rows
from pinnx.solvers.experts.solved import Ending, InstanceStatus, Solved

__all__ = [
    "Ending",
    "InstanceStatus",
    "LeastSquaresOptions",
    "Partition",
    "Rows",
    "Solved",
    "solve_coefficients",
]
