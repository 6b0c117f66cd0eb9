"""Weights that make the gradients of all soft conditions as long as that of the equation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch

from pinnx.errors import UnsupportedError
from pinnx.expr import Points
from pinnx.options import at_least, between, check_limits, option
from pinnx.solvers.probe import Probe
from pinnx.solvers.weighting.base import Circumstances, Weighting, Weights
from pinnx.solvers.weights import with_weights


def constant_weights(points: Points, value: float) -> Points:
    """The points, all with one weight."""
    return with_weights(points, points.tensor.new_full((len(points),), value))


def require_conditions(kind: str, circumstances: Circumstances) -> list[str]:
    """The names of the soft conditions; raises UnsupportedError where there are none."""
    names = [condition.name for condition in circumstances.problem.conditions]
    if not names:
        raise UnsupportedError(
            f"the weights {kind!r} balance soft conditions, and this problem has none: its trial solution meets them"
        )
    return names


@final
class GradientNormWeights(Weights):
    """One weight per condition."""

    def __init__(self, options: GradientNorm, names: Sequence[str]):
        super().__init__()
        self.options, self.names = options, list(names)
        self.values: list[float] = []

    def update(self, batch: Sequence[Points], probe: Probe, generator: torch.Generator) -> None:
        equation, *conditions = probe.gradient_norms(batch, generator)
        old = self.values or [1.0] * len(conditions)
        # a gradient that vanishes asks for nothing
        found = [equation / norm if norm > 0 else before for norm, before in zip(conditions, old, strict=True)]
        memory = self.options.memory if self.values else 0.0
        self.values = [memory * a + (1 - memory) * b for a, b in zip(old, found, strict=True)]
        self.metrics = {f"weight/{name}": value for name, value in zip(self.names, self.values, strict=True)}

    def apply(self, batch: Sequence[Points]) -> list[Points]:
        if not self.values:
            return list(batch)
        conditions = zip(batch[1:], self.values, strict=True)
        return [batch[0], *(constant_weights(points, value) for points, value in conditions)]

    def state_dict(self) -> dict[str, Any]:
        return {"values": list(self.values)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values = list(state["values"])
        self.metrics = dict(zip((f"weight/{name}" for name in self.names), self.values, strict=False))


@final
@dataclass(frozen=True)
class GradientNorm(Weighting):
    """Weights λ = |∇ L_equation| / |∇ L_condition| of the soft conditions, times their own, as a moving average.

    The published weights multiply all terms, the equation's among them, with a sum of norms over its own; these are
    the same up to a common factor, with one on the equation.
    """

    kind: ClassVar[str] = "gradient-norm"
    references: ClassVar[tuple[str, ...]] = (
        "S. Wang, Y. Teng, P. Perdikaris. Understanding and mitigating gradient flow pathologies in physics-informed "
        "neural networks. SIAM J. Sci. Comput. 43 (2021), A3055-A3081. arXiv 2001.04536",
        "S. Wang, S. Sankaran, H. Wang, P. Perdikaris. An expert's guide to training physics-informed neural networks. "
        "arXiv 2308.08468 (2023), section 5.1",
    )
    memory: float = option(0.9, "share of the old weight in the new one", between(0, 0.9999))
    every: int | None = option(100, "steps between two updates", at_least(1))

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, circumstances: Circumstances) -> Weights:
        names = require_conditions(self.kind, circumstances)
        if circumstances.stochastic:
            raise UnsupportedError(
                "the weights 'gradient-norm' compare lengths of gradients, and the noise of stochastic derivatives "
                "makes that of the equation longer than it is: use exact derivatives"
            )
        return GradientNormWeights(self, names)
