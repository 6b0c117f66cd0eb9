"""What a linear solve returns: the solution, and for every column why it stopped."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

from torch import Tensor


class Reason(StrEnum):
    """Why a column stopped."""

    CONVERGED = "converged"
    STAGNATED = "stagnated"
    INDEFINITE = "indefinite"
    SINGULAR_INCONSISTENT = "singular-inconsistent"
    NOT_SYMMETRIC = "not-symmetric"
    ITERATION_LIMIT = "iteration-limit"
    NOT_FINITE = "not-finite"


@final
@dataclass(frozen=True)
class ColumnStatus:
    """The end of one column.

    Attributes:
        reason: why it stopped.
        message: one sentence: what happened and, unless it converged, what to do about it.
    """

    reason: Reason
    message: str

    @property
    def ok(self) -> bool:
        """Whether the column reached its tolerance."""
        return self.reason is Reason.CONVERGED


@final
@dataclass(frozen=True)
class LinearResult:
    """The result of `solve`.

    Attributes:
        x: solution, (k, n), or (n,) where the right-hand side was.
        status: one per column.
        iterations: steps of each column, (k,).
        history: norms of the residuals b - A x relative to those of b, (iterations + 1, k); NaN after a column's end.
        setup_seconds: time of `Direction.prepare`.
        solve_seconds: time of the iteration.
        notes: sentences about what the safeguards did and what was assumed.
        direction_calls: columns for which the direction was evaluated.
        operator_calls: columns to which the operator was applied.
    """

    x: Tensor
    status: tuple[ColumnStatus, ...]
    iterations: Tensor
    history: Tensor
    setup_seconds: float
    solve_seconds: float
    notes: tuple[str, ...]
    direction_calls: int
    operator_calls: int

    @property
    def ok(self) -> bool:
        """Whether every column converged."""
        return all(status.ok for status in self.status)
