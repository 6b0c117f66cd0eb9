"""Adam."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch.nn import Parameter

from pinnx.options import at_least, between, check_limits, option, positive
from pinnx.solvers.training.base import Optimizer
from pinnx.solvers.training.schedules import Linear, Schedule


@final
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba, arXiv 1412.6980): robust, cheap per step, slow to reach high accuracy."""

    kind: ClassVar[str] = "adam"
    learning_rate: float = option(1e-3, "step length", positive)
    schedule: Schedule = option(Linear, "how the learning rate changes over the run")
    beta1: float = option(0.9, "decay of the mean of gradients", between(0.0, 1.0))
    beta2: float = option(0.999, "decay of the mean of squared gradients", between(0.0, 1.0))
    weight_decay: float = option(0.0, "decoupled weight decay (AdamW)", at_least(0.0))

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            parameters,
            lr=self.learning_rate,
            betas=(self.beta1, self.beta2),
            weight_decay=self.weight_decay,
            fused=True,
        )
