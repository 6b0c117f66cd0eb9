"""A training that needs no network: a deterministic walk, quick enough to be stopped anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pinnx.errors import DivergedError
from pinnx.solvers.base import Training
from pinnx.solvers.errors import Errors
from pinnx.solvers.solution import Solution


class Walk(Training):
    """Adds a random number a step.

    Args:
        total_steps: steps to do.
        diverge_at: step that cannot be done.
        on_step: called at the beginning of each step, with its number.
        negative: whether the loss may be negative.
    """

    def __init__(
        self,
        total_steps: int,
        *,
        diverge_at: int | None = None,
        on_step: Callable[[int], Any] = lambda step: None,
        evaluate_every: int = 10,
    ):
        self.total_steps, self.evaluate_every = total_steps, evaluate_every
        self.diverge_at, self.on_step = diverge_at, on_step
        self.step_number = self.network_evaluations = 0
        self.notes, self.parameters = ("a walk",), 1
        self.generator = torch.Generator().manual_seed(77_201)
        self.position = torch.zeros(1, dtype=torch.float64)

    def step(self) -> dict[str, float]:
        step = self.step_number + 1
        self.on_step(step)
        if step == self.diverge_at:
            raise DivergedError(f"step {step}: loss/residual is not finite (nan); try a smaller learning rate")
        self.position = self.position + torch.randn(1, generator=self.generator, dtype=torch.float64)
        self.step_number = step
        self.network_evaluations += 3
        loss = float(self.position)
        return {"loss": loss, "loss/residual": loss / 2, "learning_rate": 1 / step}

    def evaluate(self) -> Errors | None:
        error = abs(float(self.position))
        return Errors(error, 2 * error, 3 * error)

    def baselines(self) -> dict[str, Errors | None]:
        return {"zero": Errors(1.0, 1.0, 1.0), "constant": None, "affine": None}

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step_number, "position": self.position, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step_number, self.position = state["step"], state["position"]
        self.generator.set_state(state["generator"])

    def solution(self) -> Solution:
        raise NotImplementedError
