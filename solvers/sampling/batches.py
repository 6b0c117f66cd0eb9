"""The points of a training's steps: chosen, weighed, kept in checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch

from pinnx.expr import Points
from pinnx.problem import Problem
from pinnx.solvers.probe import Probe
from pinnx.solvers.sampling.base import Law, Sampler
from pinnx.solvers.training.stages import Leg
from pinnx.solvers.weighting.base import Weighting, Weights
from pinnx.solvers.weights import weights_of


@final
class Batches:
    """The points of the equation, by a sampler, and those of the soft conditions, from their own laws; with weights.

    Args:
        problem: gives the domains.
        sampler: chooses the equation's points.
        weightings: options of the weights.
        weights: what they have built.
        probe: looks at residuals.
        generator: of the training.

    Attributes:
        current: points of the equation, then of each condition, with their weights; None before the first step of a
            stage.
    """

    def __init__(
        self,
        problem: Problem,
        sampler: Sampler,
        weightings: Sequence[Weighting],
        weights: Sequence[Weights],
        probe: Probe,
        generator: torch.Generator,
    ):
        self.problem, self.sampler, self.weightings, self.weights = problem, sampler, weightings, weights
        self.probe = probe
        self.current: list[Points] | None = None
        self._plain: list[Points] = []
        self._generator_state = generator.get_state()

    def prepare(self, leg: Leg, step: int, generator: torch.Generator) -> bool:
        """Make the points of a step ready; whether points or weights have changed."""
        changed = self.current is None or leg.resamples(step)
        if changed:
            self._draw(leg, generator)
            for each in self.weights:
                each.moved()
        for options, each in zip(self.weightings, self.weights, strict=True):
            if (step - leg.start) % options.steps_between(leg.optimizer.fixed_points) == 0:
                each.update(self._plain, self.probe, generator)
                changed = True
        if changed:
            self.current = self._weighed()
        return changed

    def plain(self, leg: Leg, generator: torch.Generator) -> list[Points]:
        """Points of a step from the domains' own laws."""
        return [self.sampler.law.draw(leg.points, generator), *self._conditions(leg, generator)]

    @property
    def metrics(self) -> dict[str, float]:
        """What the choice of points and weights reports."""
        result = dict(self.sampler.metrics)
        for each in self.weights:
            result |= each.metrics
        return result

    def shown(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The equation's points (n, D) and their weights (n,), where either is chosen by the residual; for figures."""
        if self.current is None:
            return None, None
        weights = weights_of(self.current[0])
        if weights is None and self.sampler.redrawn:
            return None, None
        points = self.current[0].tensor.detach().double().cpu().numpy()
        return points, None if weights is None else weights.detach().double().cpu().numpy()

    def state_dict(self) -> dict[str, Any]:
        """Weights, and the points, unless they can be drawn again."""
        state: dict[str, Any] = {"batch_generator": self._generator_state}
        if not self.sampler.redrawn:
            points = dict(self._plain[0].extra) if self._plain else {}
            tensor = self._plain[0].tensor if self._plain else None
            state |= {"points": tensor, "points_extra": points, "sampler": self.sampler.state_dict()}
        if self.weights:
            state["weights"] = [each.state_dict() for each in self.weights]
        return state

    def load_state_dict(self, state: dict[str, Any], leg: Leg | None, generator: torch.Generator) -> None:
        """Go back to a state; moves the generator.

        Args:
            state: as `state_dict` gave it.
            leg: the stage of the last step; None before the first one.
            generator: draws again what was not kept.
        """
        for each, kept in zip(self.weights, state.get("weights", ()), strict=True):
            each.load_state_dict(kept)
        self.current, self._plain, self._generator_state = None, [], state["batch_generator"]
        first = None
        if not self.sampler.redrawn:
            if state["points"] is not None:
                law, device = self.sampler.law, generator.device
                extra = {name: tensor.to(device) for name, tensor in state["points_extra"].items()}
                first = Points(state["points"].to(device, law.dtype), law.domain.coordinates, extra)
            self.sampler.load_state_dict(state["sampler"], first)
        if leg is None:
            return
        generator.set_state(self._generator_state.cpu())
        if first is None:
            first = self.sampler.draw(leg.points, self.probe, generator)
        self._plain = [first, *self._conditions(leg, generator)]
        self.current = self._weighed()

    def _draw(self, leg: Leg, generator: torch.Generator) -> None:
        if self.sampler.redrawn:
            self._generator_state = generator.get_state()
            first = self.sampler.draw(leg.points, self.probe, generator)
        else:
            first = self.sampler.draw(leg.points, self.probe, generator)
            self._generator_state = generator.get_state()
        self._plain = [first, *self._conditions(leg, generator)]

    def _conditions(self, leg: Leg, generator: torch.Generator) -> list[Points]:
        law = self.sampler.law
        return [
            Law(condition.domain, law.dtype, law.method).draw(leg.condition_points, generator)
            for condition in self.problem.conditions
        ]

    def _weighed(self) -> list[Points]:
        batch = self._plain
        for each in self.weights:
            batch = each.apply(batch)
        return batch
