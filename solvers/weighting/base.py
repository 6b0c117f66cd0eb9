"""Weights of points and terms that change during a training: options, and what they build."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch

from pinnx.expr import Points
from pinnx.problem import Problem
from pinnx.solvers.probe import Probe


@final
@dataclass(frozen=True)
class Circumstances:
    """What the choice of weights depends on.

    Attributes:
        problem: whose residuals are weighed.
        stochastic: whether derivatives are estimated from random samples.
        points_stay: whether the points of every stage stay the same.
        device: of the points.
        dtype: of the points.
    """

    problem: Problem
    stochastic: bool
    points_stay: bool
    device: torch.device
    dtype: torch.dtype


class Weights(ABC):
    """Weights of a run.

    Attributes:
        metrics: of the last update, reported with the steps.
    """

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    @abstractmethod
    def update(self, batch: Sequence[Points], probe: Probe, generator: torch.Generator) -> None:
        """Change the weights by what the residuals are now.

        Args:
            batch: points of the equation, with their own weights if the choice of points gives them any, then those
                of each condition.
            probe: looks at the residuals.
            generator: as an estimator asks for one.
        """

    @abstractmethod
    def apply(self, batch: Sequence[Points]) -> list[Points]:
        """The batch with the weights as they are."""

    def moved(self) -> None:  # noqa: B027 - most weights do not belong to single points
        """Other points follow."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The weights, as tensors and plain values."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state."""


class Weighting(ABC):
    """The options of weights. Leaves are frozen dataclasses with the field `every`.

    Attributes:
        kind: its name in a case file.
        references: where it comes from.
    """

    kind: ClassVar[str]
    references: ClassVar[tuple[str, ...]] = ()
    every: int | None

    @abstractmethod
    def build(self, circumstances: Circumstances) -> Weights:
        """The weights at the start of a run.

        Raises:
            UnsupportedError: they have no meaning here.
        """

    def steps_between(self, fixed_points: bool) -> int:
        """Steps between two updates; more where an optimizer builds up curvature of one loss."""
        if self.every is not None:
            return self.every
        return 100 if fixed_points else 10
