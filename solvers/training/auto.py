"""The optimizer chosen by size, points, precision and derivatives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar, final

import torch
from torch.nn import Parameter

from pinnx.errors import UnsupportedError
from pinnx.solvers.training.adam import Adam
from pinnx.solvers.training.base import Optimizer, Situation
from pinnx.solvers.training.natural_gradient import Spring
from pinnx.solvers.training.quasi_newton import SelfScaled
from pinnx.solvers.training.soap import Soap

#: Up to this many parameters and coordinates, a dense quasi-Newton matrix on fixed points is the best choice: its
#: update costs no more than a gradient, and the points fill the domain.
DENSE_PARAMETERS, DENSE_COORDINATES = 3000, 3
#: Up to this many residuals a step, their Gram matrix takes 0.2 GB with its factor, and some seconds of one CPU core.
GRAM_RESIDUALS = 3000


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
        if size <= DENSE_PARAMETERS and situation.coordinates <= DENSE_COORDINATES:
            return SelfScaled(), f"a dense matrix of {size} × {size} is small, and fixed points fill the domain"
        if rows <= GRAM_RESIDUALS:
            return Spring(), f"the Gram matrix of {rows} residuals is small beside {size} parameters"
        return _first_order(
            f"the Gram matrix of {rows} residuals and a dense matrix for {size} parameters are too large"
        )


def _first_order(why: str) -> tuple[Optimizer, str]:
    return (Soap(), why) if find_spec("pytorch_optimizer") else (Adam(), f"{why}, and soap is not installed")
