"""Hard constraints: coefficients of basis functions, solved block by block, for which the equation holds."""

from pinnx.solvers.experts.coordinate_forms import network_forms
from pinnx.solvers.experts.couplings import Coupling, Gated, Independent, Interface, Windows
from pinnx.solvers.experts.mixture import Mixture, solve_coefficients
from pinnx.solvers.experts.options import LeastSquaresOptions
from pinnx.solvers.experts.partition import Partition
from pinnx.solvers.experts.rows import Rows
from pinnx.solvers.experts.sharing import Alone, Processes, Sharing
from pinnx.solvers.experts.solved import Ending, InstanceStatus, Solved

__all__ = [
    "Alone",
    "Coupling",
    "Ending",
    "Gated",
    "Independent",
    "InstanceStatus",
    "Interface",
    "LeastSquaresOptions",
    "Mixture",
    "Partition",
    "Processes",
    "Rows",
    "Sharing",
    "Solved",
    "Windows",
    "network_forms",
    "solve_coefficients",
]
