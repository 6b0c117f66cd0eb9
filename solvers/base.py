"""What a solver is: options that start a training; a training goes step by step and can be stopped anywhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch

from pinnx.networks.base import NetworkSpec
from pinnx.problem import Problem
from pinnx.solvers.diagnostics import Diagnostics, Which
from pinnx.solvers.errors import Errors
from pinnx.solvers.solution import Answer


class Solver(ABC):
    """A way to solve a problem. Leaves are frozen dataclasses; their fields are the options of a case file.

    Attributes:
        kind: its name in a case file.
    """

    kind: ClassVar[str]

    @abstractmethod
    def start(self, problem: Problem, network: NetworkSpec, *, seed: int, device: torch.device) -> Training:
        """A training at step 0; the same arguments give the same one.

        Raises:
            UnsupportedError: the solver, the network and the equation do not fit together.
        """


class SystemSolver(Solver):
    """A solver that can do without an equation, since its own options say what is solved."""

    @abstractmethod
    def start(self, problem: Problem | None, network: NetworkSpec, *, seed: int, device: torch.device) -> Training:
        """A training at step 0; the same arguments give the same one.

        Raises:
            UnsupportedError: the parts do not fit together.
        """


class Training(ABC):
    """The state of one run: everything that is needed to go on.

    Attributes:
        step_number: steps done.
        total_steps: steps to do.
        evaluate_every: steps between two measurements of the error.
        notes: sentences that tell the user what was chosen and why.
        parameters: number of trainable parameters.
        network_evaluations: evaluations of the network so far.
    """

    step_number: int
    total_steps: int
    evaluate_every: int
    notes: tuple[str, ...]
    parameters: int
    network_evaluations: int

    @abstractmethod
    def step(self) -> dict[str, float]:
        """Do one step.

        Returns:
            Metrics by name: `loss`, one `loss/<term>` per term, `learning_rate`, `gradient_norm`.

        Raises:
            DivergedError: the loss or its gradient is not finite; the state stays as before the step.
        """

    @abstractmethod
    def evaluate(self) -> Errors | None:
        """Errors on the fixed test points, or None without a reference; changes nothing in the state."""

    @abstractmethod
    def baselines(self) -> dict[str, Errors | None]:
        """Errors of the trivial answers `zero`, `constant` and `affine` on the same test points."""

    def diagnose(self, which: Which = "own", seconds: float = 0.5) -> Diagnostics | None:
        """Noise, bias and cost of its estimator and of others, or None where it has none; changes nothing in the state.

        Args:
            which: the estimator of this training only, or others besides (see `pinnx.solvers.diagnostics`).
            seconds: about how long each estimator's draws, and its steps, may take.
        """
        return None

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that changes from step to step, as tensors and plain values."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state; the steps that follow are bitwise those that would have followed it (on CPU)."""

    @abstractmethod
    def solution(self) -> Answer:
        """The solution as it is now; a solver of equations gives a `Solution`."""

    def finish(self, folder: Path, say: Callable[[str], None] = lambda sentence: None) -> dict[str, Any] | None:
        """Write what a run leaves besides a solution, and measure what takes longer than an evaluation.

        Args:
            folder: the run directory.
            say: told what takes time.

        Returns:
            Plain values for `comparison.json`, from which the report is drawn, or None where there is nothing.
        """
        return None
