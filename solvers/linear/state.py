"""What the Krylov loop passes around: its settings, its steps, and what it reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, final

from torch import Tensor

from pinnx.solvers.linear.base import PreparedDirection
from pinnx.solvers.linear.result import Reason

Memory = int | Literal["full"]
"""How many earlier directions a new one is made A-orthogonal to."""


class Iterate(NamedTuple):
    """What a callback sees after each iteration.

    Attributes:
        iteration: from 1.
        columns: indices of the columns still active, (a,).
        x: their iterates, (a, n).
        r: their residuals, (a, n).
    """

    iteration: int
    columns: Tensor
    x: Tensor
    r: Tensor


@final
@dataclass(frozen=True)
class Settings:
    """What `solve` hands to the iteration.

    Attributes:
        memory: number of earlier directions that a new one is made A-orthogonal to, or "full".
        max_iterations: limit.
        sound: the direction is known to be symmetric, positive definite and linear.
        guarded: whether conjugate gradients run beside a direction that is not sound.
        callback: called after each iteration.
    """

    memory: Memory
    max_iterations: int
    sound: bool
    guarded: bool
    callback: Callable[[Iterate], None] | None


@dataclass
class Counts:
    """What happened, over all columns; the notes of the result are made of it."""

    direction: int = 0
    operator: int = 0
    iterations: int = 0
    not_finite: int = 0
    no_descent: int = 0
    skipped: int = 0
    shadowed: int = 0
    restarts: int = 0
    renewed: int = 0
    overtaken: int = 0


@dataclass
class Outcome:
    """The end of a batch of columns: x (k, n), reasons, iterations (k,), history (iterations + 1, k), counts."""

    x: Tensor
    reasons: list[Reason | None]
    iterations: Tensor
    history: Tensor
    counts: Counts = field(default_factory=Counts)


class Step(NamedTuple):
    """A step made: p and A p, (k, n); p·Ap and the factor of p, (k,)."""

    p: Tensor
    image: Tensor
    curvature: Tensor
    alpha: Tensor

    @property
    def gain(self) -> Tensor:
        """Twice the decrease of the energy, (k,): the decrease of the squared A-norm of the error."""
        return self.alpha * self.alpha * self.curvature


def select_prepared(prepared: PreparedDirection, index: Tensor, columns: int) -> PreparedDirection:
    """The part of a prepared direction for some of its systems.

    Args:
        prepared: the direction for all systems; where it has no method `select`, all are evaluated still.
        index: the systems wanted.
        columns: number of all systems.
    """
    select = getattr(prepared, "select", None)
    if select is not None:
        return select(index)

    def padded(r: Tensor) -> Tensor:
        full = r.new_zeros(columns, r.shape[1])
        full[index] = r
        return prepared(full)[index]

    return padded
