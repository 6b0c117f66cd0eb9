"""A row of the accuracy table for another package: points, data and error from pinnx, everything else its own.

Points, forcing, boundary values, the two functions of the trial solution and the test points come from pinnx, so that
the problem is the same to the last digit. Network, derivatives, loss and training are the other package's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import accuracy_rows

from pinnx.expr import Known, Points
from pinnx.expr import evaluate as value_of
from pinnx.solvers.errors import TestSet
from pinnx.solvers.solution import TEST_SEED
from pinnx.trial import Affine

#: Adam has this part of the time, L-BFGS the rest.
ADAM_SHARE = 0.5
ADAM_RATE = 5e-3
#: Points are drawn anew after so many steps of Adam.
RESAMPLE_EVERY = 100
#: Curvature pairs of L-BFGS, as DeepXDE has it by default.
HISTORY = 100
#: Points of a set that stays (L-BFGS), as a multiple of those of a step of Adam.
FIXED_FACTOR = 4


class Task:
    """What a worker is asked for.

    Attributes:
        row: the problem.
        budget: CPU seconds of training.
        dimension: number of space coordinates; they come first, and time last.
        timed: whether there is time.
    """

    def __init__(self, name: str, budget: float, seed: int):
        self.name, self.budget, self.seed = name, budget, seed
        self.row = accuracy_rows.ROWS[name]
        self.equation = self.row.equation
        self.problem = self.equation.problem()
        self.coordinates = self.problem.domain.coordinates
        self.timed = "t" in dict(self.coordinates.groups)
        self.columns = self.coordinates.total
        self.dimension = self.columns - int(self.timed)
        self.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)

    def interior(self, factor: int = 1) -> Tensor:
        """Collocation points (n, D)."""
        count = factor * self.row.first_order_points
        return self.problem.domain.sample(count, self.generator, dtype=torch.float64).tensor

    def boundary(self, factor: int = 1) -> list[tuple[Tensor, Tensor]]:
        """For each soft condition, points (n, D) and the values (n, 1) that the solution has there."""
        result = []
        for condition in self.problem.conditions:
            count = factor * self.row.first_order_condition_points
            points = condition.domain.sample(count, self.generator, dtype=torch.float64)
            result.append((points.tensor, self.problem.exacts[0](points)[:, None]))
        return result

    def points(self, x: Tensor) -> Points:
        """Points of pinnx from (n, D)."""
        return Points(x, self.coordinates)

    def trial(self, x: Tensor, network: Tensor) -> Tensor:
        """The trial solution from the network's output, (n, 1) each."""
        trial, points = self.problem.trials[0], self.points(x)
        if not isinstance(trial, Affine):
            return trial.scale * network  # type: ignore[attr-defined]
        factor, offset = (_column(each, points) for each in (trial.factor, trial.offset))
        return trial.scale * factor * network + offset

    @torch.no_grad()
    def forcing(self, x: Tensor) -> Tensor:
        """The operator applied to the exact solution, (n, 1): what the equation's left-hand side equals."""
        return value_of(self.equation.operator(self.problem.exacts[0]), self.points(x.detach()))[:, None]  # type: ignore[attr-defined]

    @cached_property
    def _tests(self) -> TestSet:
        return TestSet(self.problem, TEST_SEED, torch.device("cpu"))

    def error(self, predict: Callable[[Tensor], Tensor]) -> float:
        """Relative L2 error of a function (n, D) -> (n, 1)."""
        errors = self._tests.errors(lambda points: predict(points.tensor))
        assert errors is not None
        return errors.relative_l2


def residual(
    task: Task,
    x: Tensor,
    u: Tensor,
    laplacian: Callable[[], Tensor],
    gradient: Callable[[], Tensor],
) -> Tensor:
    """The residual (n, 1) of a row's equation in terms of a package's own derivatives.

    Args:
        task: the row.
        x: points (n, D).
        u: the solution there, (n, 1).
        laplacian: Σ ∂²u/∂x_i² over space, (n, 1).
        gradient: ∂u/∂(x, t), (n, D).
    """
    kind = type(task.equation).__name__
    space = slice(0, task.dimension)
    if kind == "Poisson":
        return -laplacian() - task.forcing(x)
    if kind == "AllenCahn":
        return laplacian() + u - u**3 - task.forcing(x)
    if kind == "SineGordon":
        return laplacian() + torch.sin(u) - task.forcing(x)
    slopes = gradient()
    rate, slope = slopes[:, -1:], slopes[:, space]
    if kind == "ClassicalBurgers":
        return rate + u * slope - task.equation.viscosity * laplacian()  # type: ignore[attr-defined]
    if kind == "Heat":
        return rate - 0.25 * laplacian()
    if kind == "LogFokkerPlanck":
        drift = 0.5 * (x[:, space] * slope).sum(1, keepdim=True) + (slope**2).sum(1, keepdim=True)
        return rate - task.dimension / 2 - drift - laplacian()
    if kind == "FokkerPlanck":
        return rate - 0.5 * laplacian() + slope.sum(1, keepdim=True)
    assert kind == "HamiltonJacobiBellman"
    return rate + laplacian() - (slope**2).sum(1, keepdim=True)


class Clock:
    """Counts the CPU seconds of training, and notes the error on the way, which does not count.

    Args:
        budget: seconds altogether.
        error: measures it.
        measurements: how often, in equal parts of the budget.
    """

    def __init__(self, budget: float, error: Callable[[], float], measurements: int = 10):
        self.budget, self._error, self._part = budget, error, budget / measurements
        self.spent, self.steps, self._since, self._due = 0.0, 0, time.process_time(), self._part
        self.curve: list[tuple[float, float]] = []

    def start(self) -> None:
        """Training goes on."""
        self._since = time.process_time()

    def stop(self) -> None:
        """Training pauses."""
        self.spent += time.process_time() - self._since

    def tick(self) -> None:
        """A step is done."""
        self.stop()
        self.steps += 1
        if self.spent >= self._due:
            self.curve.append((round(self.spent, 2), self._error()))
            self._due = self.spent + self._part
        self.start()

    def over(self, share: float = 1.0) -> bool:
        """Whether this part of the budget is spent."""
        return self.spent >= share * self.budget


def ask() -> Task:
    """The task of the command line; one thread, float64."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--row", choices=accuracy_rows.ROWS, required=True)
    parser.add_argument("--budget", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    return Task(asked.row, asked.budget, asked.seed)


def report(package: str, clock: Clock, error: float, parameters: int, end: str) -> None:
    """Print the result: one line of JSON, the last of the output."""
    answer = {
        "relative_l2": error,
        "steps": clock.steps,
        "seconds": round(clock.spent, 1),
        "parameters": parameters,
        "curve": [*clock.curve, (round(clock.spent, 2), error)],
        "end": end,
        "notes": [f"{package} {version(package)}"],
    }
    print(json.dumps(answer), flush=True)


def _column(function: Known | float, points: Points) -> Tensor | float:
    return function(points)[:, None] if isinstance(function, Known) else function
