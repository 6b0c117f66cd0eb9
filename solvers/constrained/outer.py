"""The outer loop of a constrained training: parameters of the basis move, coefficients follow."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from pinnx.errors import DivergedError, UnsupportedError
from pinnx.solvers.base import Training
from pinnx.solvers.split import Split, Whole
from pinnx.solvers.training.base import Optimizer, Situation
from pinnx.solvers.training.snapshot import snapshot


@final
@dataclass(frozen=True)
class OuterLoss:
    """The loss of one batch.

    Attributes:
        terms: what is added up and differentiated, by name.
        metrics: what else is worth a line.
        left_out: fraction of the batch that has no loss.
        trouble: why, if that is all of it.
    """

    terms: dict[str, Tensor]
    metrics: dict[str, float] = field(default_factory=dict)
    left_out: float = 0.0
    trouble: str = ""


class OuterTraining(Training):
    """A training whose loss is computed afresh at each step from a generator that depends on seed and step alone.

    So a state holds no generator, and every step can be done again. Several processes draw the same batch and have a
    share of it each (`split`).
    """

    device: torch.device

    def __init__(
        self,
        network: nn.Module,
        optimizer: Optimizer,
        *,
        steps: int,
        evaluate_every: int,
        clip: float | None,
        seed: int,
    ):
        self.network, self.chosen, self.clip, self.seed = network, optimizer, clip, seed
        self.step_number, self.total_steps, self.evaluate_every = 0, steps, evaluate_every
        self.trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.parameters = sum(parameter.numel() for parameter in self.trainable)
        self.network_evaluations = 0
        self.optimizer = optimizer.build(self.trainable)
        self.split: Split = Whole()

    @property
    @abstractmethod
    def batch_sizes(self) -> dict[str, int]:
        """What a step's batch consists of, such as "instances", and how many."""

    @abstractmethod
    def loss(self, generator: torch.Generator) -> OuterLoss:
        """The loss of this process's share of a batch: terms, metrics and what is left out are addends of the whole's.

        Raises:
            DivergedError: there is none.
        """

    def step(self) -> dict[str, float]:
        rate = self.learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        calls: list[dict[str, float]] = []
        undo = snapshot(self.trainable, self.optimizer) if self.chosen.fixed_points else None

        def closure() -> Tensor:
            loss, metrics = self._loss_and_gradient()
            calls.append(metrics)
            return loss

        try:
            self.optimizer.step(closure)  # type: ignore[arg-type]
        except DivergedError:
            if undo is not None:
                undo()
            raise
        self.step_number += 1
        return {**calls[getattr(self.optimizer, "reported", 0)], "learning_rate": rate}

    def learning_rate(self) -> float:
        """Of the step to come."""
        return self.chosen.learning_rate_at(self.step_number, self.total_steps)

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step_number,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "evaluations": self.network_evaluations,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step_number, self.network_evaluations = state["step"], state["evaluations"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _generator(self) -> torch.Generator:
        """Of the step to come; of the first one always where the optimizer needs a fixed loss."""
        step = 0 if self.chosen.fixed_points else self.step_number
        device = self.trainable[0].device
        return torch.Generator(device).manual_seed((self.seed + 1) * 1_000_003 + step)

    def _loss_and_gradient(self) -> tuple[Tensor, dict[str, float]]:
        self.optimizer.zero_grad(set_to_none=True)
        before = self.network_evaluations
        outer = self.loss(self._generator())
        terms, others = self._whole(outer, self.network_evaluations - before)
        loss = torch.stack(list(terms.values())).sum()
        metrics = {"loss": float(loss)} | {f"loss/{name}": float(term) for name, term in terms.items()}
        self._require_finite(metrics)
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.trainable if p.grad is not None])
        metrics["gradient_norm"] = float(norm)
        self._require_finite({"the gradient": metrics["gradient_norm"]})
        if self.clip is not None and metrics["gradient_norm"] > self.clip:
            torch.nn.utils.clip_grads_with_norm_(self.trainable, self.clip, norm)
        return loss, metrics | others

    def _whole(self, outer: OuterLoss, evaluations: int) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Terms and metrics of the whole batch from this process's share; the gradient is left in the parameters.

        Args:
            outer: of the share.
            evaluations: of the network, for it.

        Raises:
            DivergedError: all of the batch is left out.
        """
        total = torch.stack(list(outer.terms.values())).sum()
        if total.requires_grad:
            total.backward()
        else:  # all of this share is left out
            for parameter in self.trainable:
                parameter.grad = torch.zeros_like(parameter)
        counts = {**outer.metrics, "left out": outer.left_out, "evaluations": float(evaluations)}
        addends = {f"loss/{name}": term.detach() for name, term in outer.terms.items()}
        addends |= {name: total.new_tensor(value) for name, value in counts.items()}
        sums = self.split.total(addends, self.trainable)
        self.network_evaluations += int(sums["evaluations"]) - evaluations
        terms, kept = {name: sums[f"loss/{name}"] for name in outer.terms}, 1.0 - float(sums["left out"])
        if kept < 1e-6:
            raise DivergedError(f"step {self.step_number + 1}: {outer.trouble}")
        if kept < 1.0:  # a mean over what is kept
            terms = {name: term / kept for name, term in terms.items()}
            for parameter in self.trainable:
                if parameter.grad is not None:
                    parameter.grad /= kept
        return terms, {name: float(sums[name]) for name in outer.metrics}

    def _require_finite(self, values: dict[str, float]) -> None:
        bad = [name for name, value in values.items() if value != value or abs(value) == float("inf")]
        if bad:
            raise DivergedError(
                f"step {self.step_number + 1}: {bad[-1]} is not finite ({values[bad[-1]]}); try a smaller "
                "solver.optimizer.learning_rate, solver.clip_gradient = 1.0 or solver.precision = 'float64'"
            )


def choose_optimizer(optimizer: Optimizer, situation: Situation) -> tuple[Optimizer, tuple[str, ...]]:
    """The optimizer that will do the work, and why.

    Raises:
        UnsupportedError: it cannot work here.
    """
    chosen, reason = optimizer.choose(situation)
    if chosen.needs == "residuals":
        raise UnsupportedError(
            f"the optimizer {chosen.kind!r} needs the Jacobian of the residuals in the parameters, and the "
            "coefficients of a hard constraint depend on all of them; use adam, soap, lbfgs or ssbroyden"
        )
    return chosen, () if reason is None else (reason,)
