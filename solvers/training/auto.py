"""The optimizer chosen by size, points, precision and derivatives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar, final

import torch
from torch.nn import Parameter

from pinnx.errors import UnsupportedError
from pinnx.solvers.natural.normal_equations import LARGEST_JACOBIAN
from pinnx.solvers.training.adam import Adam
from pinnx.solvers.training.base import Optimizer, Situation
from pinnx.solvers.training.natural_gradient import Engd, Spring
from pinnx.solvers.training.quasi_newton import SelfScaled
from pinnx.solvers.training.schedules import Geometric
from pinnx.solvers.training.soap import Soap

#: Up to so many residuals a step, or parameters where they are fewer, the matrix of a second-order step takes 0.2 GB
#: with its factor, and some seconds of one CPU core.
LARGEST_MATRIX = 3000
#: From so many on a batch leaves most directions open, and a step that fits it exactly does harm in them.
MANY_COORDINATES = 50


@final
@dataclass(frozen=True)
class AutoOptimizer(Optimizer):
    """The most accurate optimizer that fits, second-order where it can be; the run says which and why."""

    kind: ClassVar[str] = "auto"

    def choose(self, situation: Situation) -> tuple[Optimizer, str | None]:
        chosen, why = self._choice(situation)
        return chosen.choose(situation)[0], f"optimizer: {chosen.kind}, because {why}"

    def build(self, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
        raise UnsupportedError("the optimizer 'auto' stands for another one: call its method `choose` first")

    def _choice(self, situation: Situation) -> tuple[Optimizer, str]:
        size, rows = situation.parameters, situation.residuals
        if situation.stochastic:
            return _first_order("second-order steps would fit the noise of stochastic derivatives")
        if situation.precision != "float64":
            return _first_order('second-order steps need solver.precision = "float64"')
        if rows < size and rows <= LARGEST_MATRIX:
            why = f"the Gram matrix of {rows} residuals is small beside {size} parameters"
            if situation.coordinates >= MANY_COORDINATES:
                return Spring(damping=1e-5), f"{why}; with much damping, because a batch says little of so many axes"
            # each step fits its batch, noise included: long steps at first, then many short ones that average
            return Spring(schedule=Geometric()), why
        if size <= LARGEST_MATRIX and rows * size <= LARGEST_JACOBIAN:
            why = f"{rows} residuals determine {size} parameters, and each step its damping"
            if situation.points_stay:
                return Engd(search="trust"), why
            return Engd(search="trust", schedule=Geometric(final=0.02)), f"{why}; its steps shorten, which averages"
        if size <= LARGEST_MATRIX:
            return SelfScaled(), f"a dense matrix of {size} × {size} is small beside the Jacobian of {rows} residuals"
        return _first_order(
            f"the Gram matrix of {rows} residuals and a dense matrix for {size} parameters are too large"
        )


def _first_order(why: str) -> tuple[Optimizer, str]:
    return (Soap(), why) if find_spec("pytorch_optimizer") else (Adam(), f"{why}, and soap is not installed")
