"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch.nn import Parameter

from pinnx.errors import MissingExtraError
from pinnx.options import at_least, between, check_limits, option, positive
from pinnx.solvers.training.base import Optimizer
from pinnx.solvers.training.schedules import Linear, Schedule


@final
@dataclass(frozen=True)
class Soap(Optimizer):
    """SOAP (Vyas et al., arXiv 2409.11321), the safe first-order choice for large networks.

    Uses the package `pytorch_optimizer`, from the extra `optimizers`.
    """

    kind: ClassVar[str] = "soap"
    learning_rate: float = option(3e-3, "step length", positive)
    schedule: Schedule = option(Linear, "how the learning rate changes over the run")
    beta1: float = option(0.95, "decay of the mean of gradients", between(0.0, 1.0))
    beta2: float = option(0.95, "decay of the mean of squared gradients", between(0.0, 1.0))
    every: int = option(10, "steps between updates of the preconditioner's eigenbasis", at_least(1))
    largest: int = option(4096, "sides longer than this are not preconditioned", at_least(1))
    weight_decay: float = option(0.0, "weight decay", at_least(0.0))

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
        try:
            from pytorch_optimizer import SOAP  # an extra: imported where used
        except ImportError as error:
            raise MissingExtraError("pytorch_optimizer", "optimizers", 'the optimizer "soap"') from error
        return SOAP(
            list(parameters),
            lr=self.learning_rate,
            betas=(self.beta1, self.beta2),
            weight_decay=self.weight_decay,
            precondition_frequency=self.every,
            max_precondition_dim=self.largest,
        )
