"""The sentences of a linear solve: why each column stopped, and what the safeguards did."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pinnx.solvers.linear.result import ColumnStatus, Reason
from pinnx.solvers.linear.state import Counts


def statuses(
    reasons: Sequence[Reason | None], history: Tensor, rtol: float, limit: int, refused: str
) -> tuple[ColumnStatus, ...]:
    """One status per column.

    Args:
        reasons: why each column stopped.
        history: relative residuals, (iterations + 1, k).
        rtol: the relative tolerance.
        limit: of the iterations.
        refused: why nothing was solved, if so.
    """
    found = []
    for column, reason in enumerate(reasons):
        values = history[:, column]
        finite = values[values.isfinite()]
        last = float(finite[-1]) if len(finite) else float("nan")
        steps = max(len(finite) - 1, 0)
        assert reason is not None
        found.append(ColumnStatus(reason, _sentence(reason, last, steps, rtol, limit, refused)))
    return tuple(found)


def _sentence(reason: Reason, last: float, steps: int, rtol: float, limit: int, refused: str) -> str:
    match reason:
        case Reason.CONVERGED:
            return f"converged to a relative residual of {last:.1e} in {steps} iterations"
        case Reason.STAGNATED:
            return (
                f"the residual fell to {last:.1e} in {steps} iterations and no further: this is the accuracy that the "
                f"precision allows, or the direction gives no descent; ask for less than rtol = {rtol:g}, or change "
                "the direction"
            )
        case Reason.INDEFINITE:
            return (
                f"negative curvature p·Ap < 0 was found after {steps} iterations: the operator is not positive "
                "definite; check its sign, or use a method for indefinite matrices such as scipy's minres"
            )
        case Reason.SINGULAR_INCONSISTENT:
            return (
                f"the operator is singular and the right-hand side is not in its range; the residual stays at "
                f"{last:.1e} of the part that is: remove the null vectors (the mean, for Neumann walls) from it, or "
                "hold a value somewhere"
            )
        case Reason.NOT_SYMMETRIC:
            return f"nothing was solved: {refused}; use a method for such matrices, as scipy's gmres"
        case Reason.ITERATION_LIMIT:
            return (
                f"the residual is {last:.1e} after {limit} iterations, above rtol = {rtol:g}: raise max_iterations, "
                "or use a better direction"
            )
        case Reason.NOT_FINITE:
            return "the right-hand side, the start or the operator's result has values that are not finite"


def notes(counts: Sequence[Counts], singular: bool, sound: bool) -> tuple[str, ...]:
    """What a user should know of how the result came about."""

    def total(name: str) -> int:
        return sum(getattr(count, name) for count in counts)

    found = []
    steps = total("iterations")
    if singular:
        found.append("the operator is singular: of the solutions the one whose mean is 0 on each free part is given")
    if total("not_finite"):
        found.append(
            f"the direction was not finite in {total('not_finite')} of {steps} steps: these were left to the guard"
        )
    if sound and total("no_descent"):
        found.append(
            f"q·r was not positive in {total('no_descent')} of {steps} steps: the direction is not symmetric positive "
            "definite as it claims"
        )
    if total("shadowed"):
        found.append(f"conjugate gradients ran beside the direction in {total('shadowed')} of {steps} steps")
    if total("skipped"):
        found.append(
            f"the direction was left out in {total('skipped')} of {steps} steps: it brought under 1 % of the progress"
        )
    if total("overtaken"):
        found.append(
            f"conjugate gradients from the start would have been ahead {total('overtaken')} times: they went on instead"
        )
    if total("renewed"):
        found.append(f"rounding had made the recursive residual drift from the true one {total('renewed')} times")
    return tuple(found)
