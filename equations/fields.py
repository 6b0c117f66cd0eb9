"""The simple known functions that many equations share: |x|², the time, the time left.

A derivative that is the same at every point has one row, which stands for all of them: at 100 000 dimensions nobody
stores zeros.
"""

from __future__ import annotations

from torch import Tensor

from pinnx.expr import Known, Points


def zero(points: Points) -> Tensor:
    """The number zero, shape (1,)."""
    return points.tensor.new_zeros(1)


def zero_vector(points: Points) -> Tensor:
    """A zero vector over the group x, shape (1, d)."""
    return points.x.new_zeros(1, points.x.shape[1])


def squared_norm() -> Known:
    """|x|², constant in time."""
    return Known(
        "|x|**2",
        lambda points: points.x.square().sum(1),
        gradient=lambda points: 2 * points.x,
        laplacian=lambda points: points.x.new_full((1,), 2.0 * points.x.shape[1]),
        dt=zero,
        symbol=r"|\mathbf{x}|^{2}",
    )


def elapsed() -> Known:
    """The time t."""
    return Known(
        "t", lambda points: points.t, gradient=zero_vector, laplacian=zero, dt=lambda points: points.t.new_ones(1)
    )


def remaining(horizon: float) -> Known:
    """The time left, T - t."""
    return Known(
        f"({horizon:g} - t)",
        lambda points: horizon - points.t,
        gradient=zero_vector,
        laplacian=zero,
        dt=lambda points: points.t.new_full((1,), -1.0),
    )
