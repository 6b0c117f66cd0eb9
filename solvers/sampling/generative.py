"""Collocation points from a normalizing flow that is trained beside the network: AAS and DAS.

Both learn a density p on the cube behind the domain's law (see `pinnx.solvers.sampling.flow`). With r² scaled to mean
one under the law, AAS moves p up the inner maximum of

    min_θ max_p  ∫ r_θ² p − β ∫ |∇p|²,

whose second part keeps p from collapsing onto single points; DAS fits p to the density ∝ r², by cross entropy. Points
are drawn from the mixture q of p and the law, and the integrals estimated at them with weights 1/q.

Sources: K. Tang, J. Zhai, X. Wan, C. Yang, ICLR 2024 (arXiv 2305.18702), section 3; K. Tang, X. Wan, C. Yang,
J. Comput. Phys. 476 (2023), 111868 (arXiv 2112.14038), section 4.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from pinnx.domain import MappedDomain
from pinnx.errors import UnsupportedError
from pinnx.expr import Points
from pinnx.options import at_least, between, check_limits, option, positive
from pinnx.solvers.probe import Probe
from pinnx.solvers.sampling.base import Law, Resampling, Sampler
from pinnx.solvers.sampling.flow import CubeDraws, CubeFlow, inside


class Generative(Resampling):
    """What AAS and DAS share; the fields stand in the leaves."""

    every: ClassVar[int] = 20
    updates: int
    learning_rate: float
    share: float
    layers: int
    width: int
    bins: int

    @abstractmethod
    def gain(self, flow: CubeFlow, cube: Tensor, squares: Tensor, log_mixture: Tensor) -> Tensor:
        """What the flow maximizes.

        Args:
            flow: p.
            cube: points (n, d) that were drawn from q.
            squares: r² (n,) there, scaled so that their mean under the law is estimated as one.
            log_mixture: log q (n,) there.
        """

    def build(self, law: Law) -> Sampler:
        if not isinstance(law.domain, MappedDomain):
            raise UnsupportedError(
                f"the points {self.kind!r} need a domain whose law is an image of a cube, and "
                f"{type(law.domain).__name__} draws by itself: use rad, r3 or importance"
            )
        return FlowSampler(law, self)


@final
class FlowSampler(Sampler):
    """A flow, its optimizer, and the points of the cube that were drawn last."""

    def __init__(self, law: Law, options: Generative):
        super().__init__(law)
        assert isinstance(law.domain, MappedDomain)
        self.options, self.domain = options, law.domain
        self.flow: CubeFlow | None = None
        self.optimizer: torch.optim.Adam | None = None
        self.cube: Tensor | None = None
        self.drawn = 0  # how many of them the flow has drawn; they come first

    def draw(self, count: int, probe: Probe, generator: torch.Generator) -> Points:
        flow = self._flow(generator)
        if self.cube is not None:
            self.ascend(flow, self.cube, probe, generator)
        self.drawn = round(self.options.share * count) if self.cube is not None else 0
        size = (count - self.drawn, flow.columns)
        law = torch.rand(size, generator=generator, dtype=flow.dtype, device=generator.device)
        self.cube = torch.cat([flow.sample(self.drawn, generator), inside(law)])
        return self.domain.draw(CubeDraws(self.cube, generator))

    def ascend(self, flow: CubeFlow, cube: Tensor, probe: Probe, generator: torch.Generator) -> None:
        """The steps of the inner maximum, at the points that the network was trained on since the last ones."""
        squares = probe.squares(self.domain.draw(CubeDraws(cube, generator)), generator)
        with torch.no_grad():
            log_flow = flow.log_density(cube)
            log_mixture = self._log_mixture(log_flow, self.drawn / len(cube))
            mean = (squares / log_mixture.exp()).mean()
        if not bool(mean > 0):
            return
        assert self.optimizer is not None
        gain = 0.0
        for _ in range(self.options.updates):
            self.optimizer.zero_grad(set_to_none=True)
            with torch.enable_grad():
                value = self.options.gain(flow, cube, squares / mean, log_mixture)
                (-value).backward()
            gradients = [p.grad for p in flow.module.parameters() if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            if bool(norm.isfinite()):
                torch.nn.utils.clip_grads_with_norm_(flow.module.parameters(), 1.0, norm)
                self.optimizer.step()
            gain = float(value.detach())
        ratio = (squares / mean) * (log_flow - log_mixture).exp()
        self.metrics = {"flow_gain": gain, "residual_ratio": float(ratio.mean())}

    def _log_mixture(self, log_flow: Tensor, share: float) -> Tensor:
        """log q (n,) with q = share · p + 1 − share."""
        return (share * log_flow.exp() + (1 - share)).log()

    def _flow(self, generator: torch.Generator) -> CubeFlow:
        if self.flow is None:
            options = self.options
            size = {"layers": options.layers, "width": options.width, "bins": options.bins}
            columns, dtype = self.domain.columns_drawn, self.law.dtype
            self.flow = CubeFlow(columns, generator=generator, dtype=dtype, **size)
            self.optimizer = torch.optim.Adam(self.flow.module.parameters(), lr=options.learning_rate)
        return self.flow

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        if self.flow is not None and self.optimizer is not None and self.cube is not None:
            state |= {"flow": self.flow.module.state_dict(), "optimizer": self.optimizer.state_dict()}
            state |= {"cube": self.cube, "drawn": self.drawn}
        return state

    def load_state_dict(self, state: dict[str, Any], points: Points | None) -> None:
        super().load_state_dict(state, points)
        self.flow = self.optimizer = self.cube = None
        if points is None or "flow" not in state:
            return
        device = points.tensor.device
        flow = self._flow(torch.Generator(device))
        flow.module.load_state_dict(state["flow"])
        assert self.optimizer is not None
        self.optimizer.load_state_dict(state["optimizer"])
        self.cube, self.drawn = state["cube"].to(device), state["drawn"]


@final
@dataclass(frozen=True)
class Aas(Generative):
    """AAS, adversarial adaptive sampling: a normalizing flow moves the points to where the residual is large, against
    the network, which lowers it there."""

    kind: ClassVar[str] = "aas"
    references: ClassVar[tuple[str, ...]] = (
        "K. Tang, J. Zhai, X. Wan, C. Yang. Adversarial adaptive sampling: unify PINN and optimal transport for the "
        "approximation of PDEs. ICLR 2024. arXiv 2305.18702",
    )
    smoothness: float = option(1e-3, "β: price of ∫|∇p|², for r² of mean one on the unit cube", at_least(0.0))
    updates: int = option(5, "steps of the flow each time that points are drawn", at_least(1))
    learning_rate: float = option(3e-3, "of Adam for the flow", positive)
    share: float = option(0.5, "share of points from the flow; the others follow the domain's law", between(0.01, 0.99))
    layers: int = option(6, "coupling layers of the flow", at_least(2))
    width: int = option(32, "neurons per hidden layer of their networks", at_least(1))
    bins: int = option(8, "pieces of each spline", at_least(2))

    def __post_init__(self) -> None:
        check_limits(self)

    def gain(self, flow: CubeFlow, cube: Tensor, squares: Tensor, log_mixture: Tensor) -> Tensor:
        if not self.smoothness:
            return (squares * (flow.log_density(cube) - log_mixture).exp()).mean()
        cube = cube.detach().requires_grad_()
        log_flow = flow.log_density(cube)
        (slope,) = torch.autograd.grad(log_flow.sum(), cube, create_graph=True)
        # |∇p|²/q = p²/q |∇ log p|²
        rough = (2 * log_flow - log_mixture).exp() * slope.square().sum(1)
        return (squares * (log_flow - log_mixture).exp()).mean() - self.smoothness * rough.mean()


@final
@dataclass(frozen=True)
class Das(Generative):
    """DAS, deep adaptive sampling: a normalizing flow is fitted to the density ∝ r² of the squared residual."""

    kind: ClassVar[str] = "das"
    references: ClassVar[tuple[str, ...]] = (
        "K. Tang, X. Wan, C. Yang. DAS-PINNs: a deep adaptive sampling method for solving high-dimensional partial "
        "differential equations. J. Comput. Phys. 476 (2023), 111868. arXiv 2112.14038",
    )
    updates: int = option(5, "steps of the flow each time that points are drawn", at_least(1))
    learning_rate: float = option(3e-3, "of Adam for the flow", positive)
    share: float = option(0.5, "share of points from the flow; the others follow the domain's law", between(0.01, 0.99))
    layers: int = option(6, "coupling layers of the flow", at_least(2))
    width: int = option(32, "neurons per hidden layer of their networks", at_least(1))
    bins: int = option(8, "pieces of each spline", at_least(2))

    def __post_init__(self) -> None:
        check_limits(self)

    def gain(self, flow: CubeFlow, cube: Tensor, squares: Tensor, log_mixture: Tensor) -> Tensor:
        return (squares * (-log_mixture).exp() * flow.log_density(cube)).mean()
