"""What an optimizer's options are: they build a torch optimizer and say how it wants to be fed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import torch
from torch.nn import Parameter

from pinnx.solvers.training.schedules import Schedule


class Optimizer(ABC):
    """The options of an optimizer. Leaves are frozen dataclasses with the fields `learning_rate` and `schedule`.

    Attributes:
        kind: its name in a case file.
        fixed_points: whether it builds up curvature from step to step, so that its points must not change each step.
    """

    kind: ClassVar[str]
    fixed_points: ClassVar[bool] = False

    learning_rate: float
    schedule: Schedule

    @abstractmethod
    def build(self, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
        """The optimizer; its `step` is called with a closure that computes the loss and its gradients."""

    def learning_rate_at(self, step: int, total: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self.learning_rate * self.schedule.factor(step, total)
