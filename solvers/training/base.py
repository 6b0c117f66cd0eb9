"""What an optimizer's options are: they build a torch optimizer and say how it wants to be fed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch.nn import Parameter

from pinnx.errors import UnsupportedError
from pinnx.solvers.training.schedules import Schedule


@final
@dataclass(frozen=True)
class Situation:
    """What the choice of an optimizer depends on.

    Attributes:
        parameters: number P of trainable parameters.
        residuals: number N of residuals in a batch, those of soft conditions included.
        precision: "float32" or "float64".
        stochastic: whether derivatives are estimated from random samples.
        coordinates: number of coordinates of the domain.
        points_stay: whether all steps see the same points.
    """

    parameters: int
    residuals: int
    precision: str
    stochastic: bool = False
    coordinates: int = 1
    points_stay: bool = False


class Optimizer(ABC):
    """The options of an optimizer. Leaves are frozen dataclasses with the fields `learning_rate` and `schedule`.

    Attributes:
        kind: its name in a case file.
        fixed_points: whether it builds up curvature from step to step, so that its points must not change each step.
        needs: what its `step` is called with: a closure that computes the loss and its gradients, or `Residuals`.
        restores: whether a step that fails leaves the parameters and its own state as they were.
    """

    kind: ClassVar[str]
    fixed_points: ClassVar[bool] = False
    needs: ClassVar[Literal["gradients", "residuals"]] = "gradients"
    restores: ClassVar[bool] = False

    learning_rate: float
    schedule: Schedule

    @abstractmethod
    def build(self, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
        """The optimizer; its `step` is called with a closure that computes the loss and its gradients.

        If it has a dictionary `metrics`, these are reported with the step; if it has a method `restart`, it is called
        when the points have changed.
        """

    def choose(self, situation: Situation) -> tuple[Optimizer, str | None]:
        """The optimizer that will do the work, and a sentence saying why if that is not plain.

        Raises:
            UnsupportedError: it cannot work here.
        """
        if (reason := self.refusal(situation)) is not None:
            raise UnsupportedError(f"the optimizer {self.kind!r} {reason}")
        return self, None

    def refusal(self, situation: Situation) -> str | None:
        """Why it cannot work here, as the end of a sentence that begins with its name; None if it can."""
        if situation.stochastic and self.fixed_points:
            return (
                "compares losses along a line, and stochastic derivatives change them at every evaluation; "
                "use adam or soap, or exact derivatives"
            )
        return None

    def learning_rate_at(self, step: int, total: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self.learning_rate * self.schedule.factor(step, total)
