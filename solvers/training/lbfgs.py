"""Limited-memory BFGS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch.nn import Parameter

from pinnx.options import at_least, check_limits, option, positive
from pinnx.solvers.training.base import Optimizer
from pinnx.solvers.training.schedules import Constant, Schedule


@final
@dataclass(frozen=True)
class Lbfgs(Optimizer):
    """L-BFGS with a strong Wolfe line search (Nocedal & Wright, ch. 7); one step is up to `iterations` iterations."""

    kind: ClassVar[str] = "lbfgs"
    fixed_points: ClassVar[bool] = True
    learning_rate: float = option(1.0, "first trial of the line search", positive)
    schedule: Schedule = option(Constant, "how the learning rate changes over the run")
    iterations: int = option(20, "iterations per step", at_least(1))
    history: int = option(50, "curvature pairs kept", at_least(1))
    tolerance_gradient: float = option(1e-9, "stop a step when no gradient entry is larger", at_least(0.0))
    tolerance_change: float = option(1e-14, "stop a step when loss and parameters change less", at_least(0.0))

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(
            parameters,
            lr=self.learning_rate,
            max_iter=self.iterations,
            history_size=self.history,
            tolerance_grad=self.tolerance_gradient,
            tolerance_change=self.tolerance_change,
            line_search_fn="strong_wolfe",
        )
