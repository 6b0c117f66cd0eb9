"""How the coefficients of a constraint are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from pinnx.options import at_least, between, check_limits, option, positive


@final
@dataclass(frozen=True)
class LeastSquaresOptions:
    """Levenberg-Marquardt in float64 for nonlinear equations, one least-squares solve for linear ones.

    `tolerance` bounds two numbers without a unit, of which either ends the iteration: the cosine of the angle between
    the residual and any column of the Jacobian, and the length of a step relative to that of the coefficients, both
    measured with each column scaled to length 1.
    """

    max_iterations: int = option(50, "Levenberg-Marquardt iterations, at most", at_least(1))
    tolerance: float = option(1e-10, "of the convergence test, without a unit", positive)
    damping: float = option(1e-3, "first damping, relative to columns of length 1", positive)
    ridge: float = option(
        0.0, "penalty on each coefficient, relative to the squared length of its column at the start", at_least(0.0)
    )
    rank_tolerance: float = option(
        1e-12, "smallest singular value, with columns of length 1, that counts as such", between(1e-15, 1e-2)
    )
    factorization: Literal["qr", "gram"] = option(
        "qr", "how rows are condensed: qr (accurate), or gram (normal equations, several times faster)"
    )

    def __post_init__(self) -> None:
        check_limits(self)

    @property
    def least_singular(self) -> float:
        """The smallest singular value that counts; rows condensed by their Gram matrix cannot tell less than 1e-6."""
        return max(self.rank_tolerance, 1e-6) if self.factorization == "gram" else self.rank_tolerance
