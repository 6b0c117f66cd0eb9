"""Algebraic multigrid, by the library PyAMG."""

from __future__ import annotations

import warnings
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
class AlgebraicMultigrid(Sound):
    """One symmetric V-cycle of PyAMG with its default smoothers, for any sparse matrix.

    N. Bell, L. N. Olson, J. Schroder, B. Southworth. PyAMG: Algebraic multigrid solvers in Python. J. Open Source
    Softw. 8 (2023), 5495.
    """

    kind: ClassVar[str] = "algebraic-multigrid"

    coarsening: str = option(
        "smoothed-aggregation",
        "how coarse levels are made: smoothed-aggregation or ruge-stuben",
        one_of("smoothed-aggregation", "ruge-stuben"),
    )

    def __post_init__(self) -> None:
        check_limits(self)

    def prepare(self, operator: LinearOperator) -> PreparedDirection:
        try:
            import pyamg
        except ImportError as error:
            raise MissingExtraError("pyamg", "linear", "algebraic multigrid") from error
        smoothed = self.coarsening == "smoothed-aggregation"
        make: Any = pyamg.smoothed_aggregation_solver if smoothed else pyamg.ruge_stuben_solver
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyAMG's hints on the storage of coarse matrices mean nothing to a user
            solvers = [_seeded(make, matrix) for matrix in scipy_matrices(operator, "algebraic multigrid")]
        cycles = [solver.aspreconditioner(cycle="V") for solver in solvers]
        return PerSystem([lambda r, cycle=cycle: cycle @ r for cycle in cycles])


def _seeded(make: Any, matrix: Any) -> Any:
    """A solver that is the same each time: PyAMG estimates spectral radii from NumPy's global random numbers."""
    state = np.random.get_state()  # noqa: NPY002 - it is PyAMG that uses the global generator
    np.random.seed(20641)  # noqa: NPY002
    try:
        return make(matrix)
    finally:
        np.random.set_state(state)  # noqa: NPY002
