"""The loss of a physics-informed network: mean squared residuals and conditions, corrected where they are estimated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from pinnx.expr import Expr, Points, atoms
from pinnx.solvers.derivatives.sampled import Correction, SampledEstimator, SquaredResiduals
from pinnx.solvers.system import ResidualSystem
from pinnx.solvers.weights import weighted_mean

#: The biased loss has stopped falling when it falls by less than this fraction …
PLATEAU_FALL = 0.05
#: … from one window of steps to the next, in so many windows in a row.
PLATEAU_WINDOWS = 2


class Loss(ABC):
    """Terms of the loss of a batch: one set of points for the equation, one for each soft condition.

    Attributes:
        notes: sentences for the user.
        evaluations: network evaluations so far.
    """

    notes: tuple[str, ...] = ()
    evaluations: int = 0

    def __init__(self, system: ResidualSystem):
        self.system = system
        count = len(system.residuals)
        self.names = ["residual"] if count == 1 else [f"residual{index + 1}" for index in range(count)]

    def terms(self, batch: Sequence[Points], generator: torch.Generator) -> dict[str, Tensor]:
        """The weighted terms by name."""
        squares = self.squares(self.system.residuals, batch[0], generator)
        terms = dict(zip(self.names, squares, strict=True))
        conditions = self.system.problem.conditions
        for condition, expr, points in zip(conditions, self.system.conditions, batch[1:], strict=True):
            (square,) = self.squares((expr,), points, generator)
            terms[condition.name] = condition.weight * square
        return terms

    @abstractmethod
    def squares(self, expressions: tuple[Expr, ...], points: Points, generator: torch.Generator) -> list[Tensor]:
        """One estimate per expression of the mean square over the points, with their weights."""

    def count(self, batch: Sequence[Points]) -> None:
        """Count the network evaluations of one call of `terms`."""
        self.evaluations += sum(len(points) for points in batch)

    def observe(self, step: int, loss: float) -> dict[str, float]:
        """Take note of the loss of a step, counted from 1; returns further metrics."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What changes from step to step."""
        return {"evaluations": self.evaluations}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.evaluations = state["evaluations"]


@final
class ExactLoss(Loss):
    """The loss with exact derivatives."""

    def squares(self, expressions: tuple[Expr, ...], points: Points, generator: torch.Generator) -> list[Tensor]:
        values = self.system.values(expressions, points, generator)
        return [weighted_mean(each.square(), points) for each in values]


@final
@dataclass
class Plateau:
    """Whether a noisy loss has stopped falling: its mean over a window is hardly below that of the window before.

    Attributes:
        window: steps per window.
        total: sum over the current window.
        count: steps in the current window.
        previous: mean over the window before, or None.
        flat: windows in a row without a fall.
    """

    window: int
    total: float = 0.0
    count: int = 0
    previous: float | None = None
    flat: int = 0

    def reached(self, loss: float) -> bool:
        """Take the loss of a step; whether the plateau is reached."""
        self.total, self.count = self.total + loss, self.count + 1
        if self.count < self.window:
            return False
        mean = self.total / self.count
        falling = self.previous is None or mean < (1 - PLATEAU_FALL) * self.previous
        self.flat = 0 if falling else self.flat + 1
        self.previous, self.total, self.count = mean, 0.0, 0
        return self.flat >= PLATEAU_WINDOWS


@final
class SampledLoss(Loss):
    """The loss with a stochastic estimator and its correction.

    Args:
        system: with a stochastic estimator.
        total_steps: of the run; sets the plateau test's window.
    """

    def __init__(self, system: ResidualSystem, total_steps: int):
        super().__init__(system)
        estimator = system.estimator
        assert isinstance(estimator, SampledEstimator)
        self.estimator = estimator
        expressions = [system.residuals, *((expr,) for expr in system.conditions)]
        self._squared = {group: SquaredResiduals(estimator, group) for group in expressions}
        hybrid = estimator.correction == "hybrid"
        self.phase: Correction = "biased" if hybrid else estimator.correction
        self._after: Correction = "unbiased"
        self._plateau = Plateau(max(50, total_steps // 40)) if hybrid else None
        self.switched_at: int | None = None
        for squared in self._squared.values():  # too few samples are refused now, not at the switch
            squared.groups(self._after if hybrid else self.phase, system.network)
        self.notes = tuple(dict.fromkeys(each.note for each in self._squared.values() if each.note))

    @property
    def drawing(self) -> list[SquaredResiduals]:
        """What draws samples."""
        return list(self._squared.values())

    @property
    def phases(self) -> set[Correction]:
        """The corrections of this run, those that are still to come among them."""
        return {self.phase, self._after if self._plateau is not None else self.phase}

    def squares(self, expressions: tuple[Expr, ...], points: Points, generator: torch.Generator) -> list[Tensor]:
        return self._squared[expressions](self.system.network, points, generator, self.phase)

    def count(self, batch: Sequence[Points]) -> None:
        # one batch per residual system and condition, even where two conditions state the same expression
        stated = [self.system.residuals, *((expr,) for expr in self.system.conditions)]
        for expressions, points in zip(stated, batch, strict=True):
            samples = sum(self._squared[expressions].groups(self.phase, self.system.network))
            self.evaluations += len(points) * self.estimator.evaluations(atoms(*expressions), samples)

    def observe(self, step: int, loss: float) -> dict[str, float]:
        if self._plateau is not None and self.switched_at is None:
            fixed = getattr(self.estimator, "switch_at", None)
            due = step >= fixed if fixed is not None else self._plateau.reached(loss)
            if due:
                self.phase, self.switched_at = self._after, step
        return {"unbiased": float(self.phase != "biased")}

    def state_dict(self) -> dict[str, Any]:
        plateau = None if self._plateau is None else vars(self._plateau).copy()
        state = {"phase": self.phase, "switched_at": self.switched_at, "plateau": plateau}
        return {**super().state_dict(), **state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.phase, self.switched_at = state["phase"], state["switched_at"]
        self._plateau = None if state["plateau"] is None else Plateau(**state["plateau"])


def loss_for(system: ResidualSystem, total_steps: int) -> Loss:
    """The loss that fits a system's estimator."""
    return SampledLoss(system, total_steps) if system.estimator.stochastic else ExactLoss(system)
