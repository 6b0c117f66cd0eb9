"""Whatever a user hands in as a matrix, as a `LinearOperator`."""

from __future__ import annotations

from typing import Any

from pinnx.solvers.linear.base import LinearOperator


def as_operator(A: Any) -> LinearOperator:
    return A
