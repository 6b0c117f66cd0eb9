"""A training in stages: one optimizer after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from pinnx.options import at_least, check_limits, option
from pinnx.solvers.training.adam import Adam
from pinnx.solvers.training.base import Optimizer


@final
@dataclass(frozen=True)
class Stage:
    """A part of a training, with an optimizer of its own."""

    steps: int = option(1000, "steps of this stage", at_least(1))
    optimizer: Optimizer = option(Adam, "how parameters move")
    points: int | None = option(None, 'collocation points per step; "none" for those of the solver', at_least(1))
    condition_points: int | None = option(
        None, 'points per step on each soft condition; "none" for those of the solver', at_least(1)
    )
    resample_every: int | None = option(
        None, 'steps between fresh points; 0 keeps the first; "none" for those of the solver', at_least(0)
    )

    def __post_init__(self) -> None:
        check_limits(self)


@final
@dataclass(frozen=True)
class Leg:
    """A stage with everything decided.

    Attributes:
        start: its first step, counted from 0.
        steps: their number.
        optimizer: the one chosen.
        points: collocation points per step.
        condition_points: points per step on each soft condition.
        resample_every: steps between fresh points, 0 for never.
    """

    start: int
    steps: int
    optimizer: Optimizer
    points: int
    condition_points: int
    resample_every: int

    def learning_rate(self, step: int) -> float:
        """The learning rate at a step of the whole training."""
        return self.optimizer.learning_rate_at(step - self.start, self.steps)

    def resamples(self, step: int) -> bool:
        """Whether a step of the whole training takes fresh points."""
        return bool(self.resample_every) and (step - self.start) % self.resample_every == 0


def legs_of(
    stages: Sequence[Stage],
    points: int,
    condition_points: int,
    resample_every: int | None,
    default_every: Callable[[bool], int] = lambda fixed_points: 0 if fixed_points else 1,
) -> list[Leg]:
    """The stages one after the other, with the solver's values where they name none.

    Args:
        stages: in order.
        points: per step, of the solver.
        condition_points: likewise.
        resample_every: of the solver, if it names one.
        default_every: steps between fresh points where neither does, by the optimizer's `fixed_points`.
    """
    legs, start = [], 0
    for stage in stages:
        every = resample_every if stage.resample_every is None else stage.resample_every
        legs.append(
            Leg(
                start,
                stage.steps,
                stage.optimizer,
                points if stage.points is None else stage.points,
                condition_points if stage.condition_points is None else stage.condition_points,
                default_every(stage.optimizer.fixed_points) if every is None else every,
            )
        )
        start += stage.steps
    return legs
