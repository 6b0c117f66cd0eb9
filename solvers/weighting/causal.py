"""Causal weights: the residual at a time counts once those at earlier times are small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.expr import Points
from pinnx.options import at_least, between, check_limits, option
from pinnx.solvers.probe import Probe
from pinnx.solvers.weighting.base import Circumstances, Weighting, Weights
from pinnx.solvers.weights import weights_of, with_weights


@final
class CausalWeights(Weights):
    """One weight per slice of time: w_i = exp(−ε Σ_{j before i} L_j), with L_j the mean r² in the slice j."""

    def __init__(self, options: Causal, circumstances: Circumstances):
        super().__init__()
        self.options = options
        domain = circumstances.problem.domain
        low, high = (float(bound[domain.coordinates.columns("t")][0]) for bound in domain.bounds())
        self.start, self.length = low, high - low
        self.values = torch.ones(options.slices, dtype=circumstances.dtype, device=circumstances.device)
        self.level = 0

    def slices(self, points: Points) -> Tensor:
        """The slice (n,) of each point, counted in the order in which they are learned."""
        count = self.options.slices
        index = ((points.t - self.start) / self.length * count).long().clamp(0, count - 1)
        return count - 1 - index if self.options.direction == "backward" else index

    def update(self, batch: Sequence[Points], probe: Probe, generator: torch.Generator) -> None:
        points = batch[0]
        squares, index = probe.squares(points, generator), self.slices(points)
        own = weights_of(points)
        own = torch.ones_like(squares) if own is None else own
        zero = torch.zeros_like(self.values)
        total, count = (zero.index_add(0, index, each) for each in (own * squares, own))
        means = torch.where(count > 0, total / count.clamp_min(torch.finfo(count.dtype).tiny), zero)
        tolerance = self.options.tolerances[self.level]
        self.values = torch.exp(-tolerance * (means.cumsum(0) - means))
        least = float(self.values.min())
        self.metrics = {"causal_least_weight": least, "causal_tolerance": tolerance}
        if least > self.options.threshold and self.level + 1 < len(self.options.tolerances):
            self.level += 1

    def apply(self, batch: Sequence[Points]) -> list[Points]:
        return [with_weights(batch[0], self.values[self.slices(batch[0])]), *batch[1:]]

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values, "level": self.level, "metrics": dict(self.metrics)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values, self.level = state["values"].to(self.values), state["level"]
        self.metrics = dict(state["metrics"])


@final
@dataclass(frozen=True)
class Causal(Weighting):
    """Causal weights exp(−ε Σ L_earlier) of slices of time: what comes later is learned later.

    ε climbs through `tolerances`: to the next one when the least weight exceeds `threshold`.
    """

    kind: ClassVar[str] = "causal"
    references: ClassVar[tuple[str, ...]] = (
        "S. Wang, S. Sankaran, P. Perdikaris. Respecting causality for training physics-informed neural networks. "
        "Comput. Methods Appl. Mech. Engrg. 421 (2024), 116813. arXiv 2203.07404",
    )
    slices: int = option(32, "slices of equal length that time is cut into", at_least(2))
    tolerances: tuple[float, ...] = option((0.01, 0.1, 1.0, 10.0, 100.0), "ε, one after the other")
    threshold: float = option(0.99, "least weight at which the next ε follows", between(0, 1))
    direction: Literal["forward", "backward"] = option(
        "forward", "where time runs to: backward for a problem with a condition at its end"
    )
    every: int | None = option(
        None, "steps between two updates; default 10, or 100 for optimizers that build up curvature", at_least(1)
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if not self.tolerances or min(self.tolerances) <= 0:
            raise ValueError(f"tolerances must be positive numbers, at least one, got {self.tolerances!r}")

    def build(self, circumstances: Circumstances) -> Weights:
        coordinates = circumstances.problem.domain.coordinates
        if "t" not in coordinates.names:
            raise UnsupportedError(
                f"the weights 'causal' need a coordinate t, and this problem has {', '.join(coordinates.labels()[:6])}"
            )
        if circumstances.stochastic:
            raise UnsupportedError(
                "the weights 'causal' are exponentials of the residual in slices of time; the noise of stochastic "
                "derivatives would be taken for residual, and later times never count: use exact derivatives"
            )
        return CausalWeights(self, circumstances)
