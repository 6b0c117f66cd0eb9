"""How collocation points are chosen: options, and what they build."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from pinnx.domain.base import Domain
from pinnx.expr import Points
from pinnx.solvers.probe import Probe


@final
@dataclass(frozen=True)
class Law:
    """The domain's own law, in a precision and by a method of drawing.

    Attributes:
        domain: where points are drawn.
        dtype: of the points.
        method: "uniform" or "sobol".
    """

    domain: Domain
    dtype: torch.dtype
    method: str = "uniform"

    def draw(self, count: int, generator: torch.Generator) -> Points:
        """Fresh points."""
        return self.domain.sample(count, generator, dtype=self.dtype, method=self.method)

    def restore(self, tensor: Tensor, device: torch.device) -> Points:
        """Points from their coordinates (n, D)."""
        return Points(tensor.to(device, self.dtype), self.domain.coordinates)


class Sampler(ABC):
    """Chooses the equation's points of a run; the state of a strategy.

    Attributes:
        metrics: of the last choice, reported with the steps.
        redrawn: whether the points can be drawn again from the generator's state before them: they depend on nothing
            else. Other points are kept in the checkpoints.
    """

    redrawn: ClassVar[bool] = False

    def __init__(self, law: Law):
        self.law, self.metrics = law, dict[str, float]()

    @abstractmethod
    def draw(self, count: int, probe: Probe, generator: torch.Generator) -> Points:
        """The next points, with weights (see `pinnx.solvers.weights`) where the strategy has them.

        Args:
            count: how many the stage asks for; a strategy that grows gives more.
            probe: looks at the residuals as they are now.
            generator: draws them.
        """

    def state_dict(self) -> dict[str, Any]:
        """What changes from choice to choice, besides the points themselves."""
        return {"metrics": dict(self.metrics)}

    def load_state_dict(self, state: dict[str, Any], points: Points | None) -> None:
        """Go back to a state.

        Args:
            state: as `state_dict` gave it.
            points: the points as they were then; None where none were drawn, or where they are drawn again.
        """
        self.metrics = dict(state["metrics"])


class Resampling(ABC):
    """The options of a strategy. Leaves are frozen dataclasses.

    Attributes:
        kind: its name in a case file.
        references: where it comes from.
        every: steps between two choices of points where `resample_every` says nothing.
        ranks: whether it ranks points by the size of their residual, which stochastic derivatives blur.
        adaptive: whether the points depend on the network.
    """

    kind: ClassVar[str]
    references: ClassVar[tuple[str, ...]] = ()
    every: ClassVar[int] = 100
    ranks: ClassVar[bool] = True
    adaptive: ClassVar[bool] = True

    @abstractmethod
    def build(self, law: Law) -> Sampler:
        """The sampler of a run.

        Raises:
            UnsupportedError: it cannot serve the domain.
        """

    def steps_between(self, fixed_points: bool) -> int:
        """Steps between two choices of points, by default; 0 for never.

        Args:
            fixed_points: whether the optimizer builds up curvature, which it loses where points change.
        """
        return max(self.every, 100) if fixed_points else self.every

    def refusal(self, stochastic: bool) -> str | None:
        """Why it cannot work, as the end of a sentence that begins with its name; None if it can."""
        if stochastic and self.ranks:
            return (
                "chooses points where the residual is large, and with stochastic derivatives would choose those where "
                'the noise is; use exact derivatives, kind = "importance", whose weights undo the choice, or "uniform"'
            )
        return None
