"""Self-adaptive weights: they climb while the network descends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.expr import Points
from pinnx.options import at_least, check_limits, option, positive
from pinnx.solvers.probe import Probe
from pinnx.solvers.weighting.base import Circumstances, Weighting, Weights
from pinnx.solvers.weighting.gradient_norm import require_conditions
from pinnx.solvers.weights import with_weights


@final
class SelfAdaptiveWeights(Weights):
    """One weight per condition, or one per point of a condition."""

    def __init__(self, options: SelfAdaptive, names: Sequence[str]):
        super().__init__()
        self.options, self.names = options, list(names)
        self.values: list[Tensor] = []

    def update(self, batch: Sequence[Points], probe: Probe, generator: torch.Generator) -> None:
        each = self.options.per == "point"
        if not self.values:
            self.values = [points.tensor.new_ones(len(points) if each else 1) for points in batch[1:]]
        for index, points in enumerate(batch[1:]):
            squares = probe.condition_squares(index, points, generator)
            slope = squares if each else squares.mean()  # of λ L in λ
            self.values[index] = self.values[index] + self.options.rate * slope
        means = [float(value.mean()) for value in self.values]
        self.metrics = {f"weight/{name}": mean for name, mean in zip(self.names, means, strict=True)}

    def apply(self, batch: Sequence[Points]) -> list[Points]:
        if not self.values:
            return list(batch)
        conditions = zip(batch[1:], self.values, strict=True)
        return [batch[0], *(with_weights(points, value.expand(len(points))) for points, value in conditions)]

    def moved(self) -> None:
        if self.options.per == "point":
            self.values = []

    def state_dict(self) -> dict[str, Any]:
        return {"values": list(self.values), "metrics": dict(self.metrics)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values, self.metrics = list(state["values"]), dict(state["metrics"])


@final
@dataclass(frozen=True)
class SelfAdaptive(Weighting):
    """Self-adaptive weights λ ← λ + rate · r² of the soft conditions, from one upwards, times their own.

    The loss is a saddle: least in the network, largest in the weights. With one weight per point, as published, the
    points must stay the same.
    """

    kind: ClassVar[str] = "self-adaptive"
    references: ClassVar[tuple[str, ...]] = (
        "L. D. McClenny, U. M. Braga-Neto. Self-adaptive physics-informed neural networks. J. Comput. Phys. 474 "
        "(2023), 111722. arXiv 2009.04544",
    )
    rate: float = option(1.0, "step of the weights up the slope of the loss", positive)
    per: Literal["condition", "point"] = option("condition", "what has a weight of its own")
    every: int | None = option(
        None, "steps between two updates; default 10, or 100 for optimizers that build up curvature", at_least(1)
    )

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, circumstances: Circumstances) -> Weights:
        names = require_conditions(self.kind, circumstances)
        if self.per == "point" and not circumstances.points_stay:
            raise UnsupportedError(
                "the weights 'self-adaptive' with per = \"point\" belong to points, which change here: set "
                'resample_every = 0, or per = "condition"'
            )
        if circumstances.stochastic:
            raise UnsupportedError(
                "the weights 'self-adaptive' climb with squares of residuals, which the noise of stochastic "
                "derivatives makes larger than they are: use exact derivatives"
            )
        return SelfAdaptiveWeights(self, names)
