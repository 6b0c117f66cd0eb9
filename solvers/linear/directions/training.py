"""Training a direction network, step by step, stoppable anywhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from pinnx.errors import DivergedError, InputError
from pinnx.options import at_least, check_limits, one_of, option, positive
from pinnx.solvers.linear.directions.learned import DirectionSpec, LearnedDirection
from pinnx.solvers.linear.directions.losses import LOSSES, advance
from pinnx.solvers.linear.directions.random_samples import RandomSamples
from pinnx.solvers.linear.directions.samples import Sample, SampleSource
from pinnx.solvers.linear.directions.vcycle import VCycle
from pinnx.solvers.training import Adam, Cosine, Optimizer


@final
@dataclass(frozen=True)
class TrainDirection:
    """The options of a training.

    Example:
        >>> training = TrainDirection(steps=2, batch=2).start(seed=71993)
        >>> sorted(training.step())
        ['gradient_norm', 'learning_rate', 'loss']
    """

    network: DirectionSpec = option(VCycle, "the direction network")
    samples: SampleSource = option(RandomSamples, "what it is trained on")
    loss: str = option("energy", "what is made small: energy, or residual as in the DCDM paper", one_of(*LOSSES))
    rollout: int = option(3, "steps of the iteration that each sample goes through; 1: none but the first", at_least(1))
    steps: int = option(300, "training steps", at_least(1))
    batch: int = option(8, "residuals per step", at_least(1))
    optimizer: Optimizer = option(
        lambda: Adam(learning_rate=0.02, schedule=Cosine()), "how the parameters move, and how fast"
    )
    clip: float = option(1.0, "largest norm of a gradient; larger ones are shortened", positive)
    validation: int = option(4, "batches of the validation, drawn apart", at_least(1))

    def __post_init__(self) -> None:
        check_limits(self)

    def start(self, *, seed: int, folder: Path | str = ".") -> DirectionTraining:
        """A training at step 0; the same arguments give the same one.

        Args:
            seed: of parameters and samples.
            folder: where the sample source keeps large files, if it needs any.
        """
        return DirectionTraining(self, seed, Path(folder))


class DirectionTraining:
    """The state of one training: everything that is needed to go on.

    Attributes:
        options: what it was started with.
        step_number: steps done.
        total_steps: steps to do.
        direction: the direction as it is now; it goes on learning.
        parameters: number of trainable parameters.
    """

    def __init__(self, options: TrainDirection, seed: int, folder: Path):
        self.options, self.seed, self._folder = options, seed, folder
        self.step_number, self.total_steps = 0, options.steps
        self.direction = options.network.build(torch.Generator().manual_seed(seed))
        self.parameters = self.direction.parameters
        self._generator = torch.Generator().manual_seed(seed + 1)
        self._samples = options.samples.start(seed=seed, folder=folder, batch=options.batch)
        self._optimizer = options.optimizer.build(self.direction.module.parameters())
        self._loss = LOSSES[options.loss]
        self._seconds = 0.0

    def step(self) -> dict[str, float]:
        """Do one step.

        Returns:
            Metrics by name: `loss`, `learning_rate`, `gradient_norm`.

        Raises:
            DivergedError: the loss or its gradient is not finite; the parameters stay as before the step.
            InputError: the grids of the samples are too small for the network to have anything to learn on them.
        """
        began = time.process_time()
        rate = self.options.optimizer.learning_rate_at(self.step_number, self.total_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._losses(self._samples.draw(self._generator)).mean()
        if not loss.requires_grad:
            raise InputError(
                "the network solves the grids of the samples directly, so that there is nothing to learn: train it on "
                "larger grids, or lower its `coarsest`"
            )
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.direction.module.parameters(), self.options.clip)
        value, slope = loss.item(), norm.item()
        if not (math.isfinite(value) and math.isfinite(slope)):
            raise DivergedError(
                f"the training of the direction met a loss of {value} with gradient {slope} in step "
                f"{self.step_number}: lower the learning rate"
            )
        self._optimizer.step()
        self.step_number += 1
        self._seconds += time.process_time() - began
        self.direction.record = self._record()
        return {"loss": value, "learning_rate": rate, "gradient_norm": slope}

    def run(self, progress: Callable[[int, dict[str, float]], None] | None = None) -> LearnedDirection:
        """Do all steps that are left.

        Args:
            progress: called after each step with its number and metrics.

        Raises:
            DivergedError: the loss or its gradient is not finite.
        """
        while self.step_number < self.total_steps:
            metrics = self.step()
            if progress is not None:
                progress(self.step_number, metrics)
        return self.direction

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Losses on draws that training never sees, always the same ones; changes nothing in the state.

        Returns:
            `loss`, the mean over the rollout; `loss/first` and `loss/last`, those of its first and last step.
        """
        options = self.options
        generator = torch.Generator().manual_seed(self.seed + 2)
        source = options.samples.start(seed=self.seed, folder=self._folder, batch=options.batch)
        losses = torch.stack([self._losses(source.draw(generator)) for _ in range(options.validation)]).mean(0)
        return {"loss": float(losses.mean()), "loss/first": float(losses[0]), "loss/last": float(losses[-1])}

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes from step to step, as tensors and plain values."""
        return {
            "step": self.step_number,
            "seconds": self._seconds,
            "parameters": {name: value.clone() for name, value in self.direction.module.state_dict().items()},
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "samples": self._samples.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state; the steps that follow are bitwise those that would have followed it (on CPU)."""
        self.step_number, self._seconds = state["step"], state["seconds"]
        self.direction.module.load_state_dict(state["parameters"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"])
        self._samples.load_state_dict(state["samples"])
        self.direction.record = self._record()

    def _losses(self, sample: Sample) -> Tensor:
        """The loss of each step of the rollout; gradients stop between the steps."""
        apply = self.direction.module.prepare(sample.operator)
        residuals, errors, before, losses = sample.residuals, sample.errors, None, []
        for number in range(self.options.rollout):
            directions = apply(residuals)
            if not torch.is_grad_enabled():
                directions = directions.clone()  # the next call would overwrite it
            losses.append(self._loss(sample.bands, residuals, errors, directions))
            if number + 1 < self.options.rollout:
                residuals, errors, before = advance(sample.bands, residuals, errors, directions.detach(), before)
        return torch.stack(losses)

    def _record(self) -> dict[str, Any]:
        options = self.options
        return {
            "steps": self.step_number,
            "cpu_seconds": self._seconds,
            "seed": self.seed,
            "loss": options.loss,
            "rollout": options.rollout,
            "batch": options.batch,
            "samples": repr(options.samples),
        }
