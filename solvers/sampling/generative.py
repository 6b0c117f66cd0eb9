"""Collocation points from a normalizing flow that is trained beside the network: AAS and DAS.

Both learn a density p on the cube behind the domain's law (see `pinnx.solvers.sampling.flow`). With R = |r|^k scaled to
mean one under the law (k = 2 as published), AAS moves p up the inner maximum of

    min_θ max_p  ∫ R p − β ∫ |∇p|²,

whose second part keeps p from collapsing onto single points; DAS fits p to the density R by cross entropy, the maximum
of ∫ R log p. Both need integrals against R only: a pool of points from the mixture q of p and the law is scored, and
points z that follow R are chosen out of it with weights R/q. Then ∫ R p is the mean of p(z), and ∫ R log p that of
log p(z).

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
from pinnx.solvers.sampling.importance import stratified


@dataclass(frozen=True)
class Generative(Resampling):
    """What AAS and DAS share."""

    every: ClassVar[int] = 20
    power: float = option(2.0, "k: points follow |r|^k; in many dimensions 1 finds what 2 never meets", positive)
    pool: int = option(10, "points that are scored for each point that is chosen", at_least(1))
    updates: int = option(3, "steps of the flow each time that points are drawn", at_least(1))
    learning_rate: float = option(2e-3, "of Adam for the flow", positive)
    share: float = option(0.5, "share of points from the flow; the others follow the domain's law", between(0.01, 0.99))
    layers: int = option(4, "coupling layers of the flow", at_least(2))
    width: int = option(32, "neurons per hidden layer of their networks", at_least(1))
    bins: int = option(8, "pieces of each spline", at_least(2))

    def __post_init__(self) -> None:
        check_limits(self)

    @abstractmethod
    def gain(self, flow: CubeFlow, chosen: Tensor, cube: Tensor) -> Tensor:
        """What the flow maximizes.

        Args:
            flow: p.
            chosen: points (n, d) that follow R.
            cube: fresh points (m, d) from the mixture q of `share` · p and the law.
        """

    def build(self, law: Law) -> Sampler:
        if not isinstance(law.domain, MappedDomain):
            raise UnsupportedError(
                f"the points {self.kind!r} need a domain whose law is an image of a cube, and "
                f"{type(law.domain).__name__} draws by itself: use rad, r3 or importance"
            )
        return FlowSampler(law, self)


def mixed(density: Tensor, share: float) -> Tensor:
    """The mixture share · p + 1 − share of a flow and the law."""
    return share * density + (1 - share)


@final
class FlowSampler(Sampler):
    """A flow and its optimizer."""

    def __init__(self, law: Law, options: Generative):
        super().__init__(law)
        assert isinstance(law.domain, MappedDomain)
        self.options, self.domain = options, law.domain
        self.flow: CubeFlow | None = None
        self.optimizer: torch.optim.Adam | None = None

    def draw(self, count: int, probe: Probe, generator: torch.Generator) -> Points:
        if self.flow is None or self.optimizer is None:  # it begins as the law itself
            flow, _ = self._begin(generator)
        else:
            flow = self.flow
            self._ascend(flow, self.optimizer, count, probe, generator)
        return self._place(self._cube(flow, count, generator), generator)

    def _ascend(
        self, flow: CubeFlow, optimizer: torch.optim.Adam, count: int, probe: Probe, generator: torch.Generator
    ) -> None:
        """Some steps of the inner maximum."""
        options = self.options
        pool = self._cube(flow, options.pool * count, generator)
        squares = probe.squares(self._place(pool, generator), generator)
        with torch.no_grad():
            flow_density = flow.log_density(pool).exp()
        mixture = mixed(flow_density, options.share)
        scores = squares.double().pow(options.power / 2) / mixture
        if not bool(scores.sum() > 0):
            return
        chosen = pool[stratified(scores / scores.sum(), count, generator)]
        parameters = list(flow.module.parameters())
        gain = 0.0
        for _ in range(options.updates):
            optimizer.zero_grad(set_to_none=True)
            # fresh points: at those of an older flow, this one would only learn to leave them
            cube = self._cube(flow, count, generator)
            with torch.enable_grad():
                value = options.gain(flow, chosen, cube)
                (-value).backward()
            norm = torch.nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
            if bool(norm.isfinite()):
                torch.nn.utils.clip_grads_with_norm_(parameters, 1.0, norm)
                optimizer.step()
            gain = float(value.detach())
        weighted = squares / mixture
        ratio = float((weighted * flow_density).mean() / weighted.mean())
        self.metrics = {"flow_gain": gain, "residual_ratio": ratio}

    def _cube(self, flow: CubeFlow, count: int, generator: torch.Generator) -> Tensor:
        """Points (count, d) from share · p + 1 − share, as many from each part as that says."""
        drawn = round(self.options.share * count)
        size = (count - drawn, flow.columns)
        law = torch.rand(size, generator=generator, dtype=flow.dtype, device=generator.device)
        return torch.cat([flow.sample(drawn, generator), inside(law)])

    def _place(self, cube: Tensor, generator: torch.Generator) -> Points:
        return self.domain.draw(CubeDraws(cube, generator))

    def _begin(self, generator: torch.Generator) -> tuple[CubeFlow, torch.optim.Adam]:
        options = self.options
        size = {"layers": options.layers, "width": options.width, "bins": options.bins}
        self.flow = CubeFlow(self.domain.columns_drawn, generator=generator, dtype=self.law.dtype, **size)
        self.optimizer = torch.optim.Adam(self.flow.module.parameters(), lr=options.learning_rate)
        return self.flow, self.optimizer

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        if self.flow is not None and self.optimizer is not None:
            state |= {"flow": self.flow.module.state_dict(), "optimizer": self.optimizer.state_dict()}
        return state

    def load_state_dict(self, state: dict[str, Any], points: Points | None) -> None:
        super().load_state_dict(state, points)
        self.flow = self.optimizer = None
        if points is not None:
            flow, optimizer = self._begin(torch.Generator(points.tensor.device))
            flow.module.load_state_dict(state["flow"])
            optimizer.load_state_dict(state["optimizer"])


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
    smoothness: float = option(1e-2, "β: price of ∫|∇p|², for |r|^k of mean one on the unit cube", at_least(0.0))

    def gain(self, flow: CubeFlow, chosen: Tensor, cube: Tensor) -> Tensor:
        value = flow.log_density(chosen).exp().mean()
        return value - self.smoothness * roughness(flow, cube, self.share) if self.smoothness else value


def roughness(flow: CubeFlow, cube: Tensor, share: float) -> Tensor:
    """∫ |∇p|² = E_q p²/q |∇ log p|², from points (m, d) that follow the mixture q of `share` · p and the law."""
    cube = cube.detach().requires_grad_()
    log_flow = flow.log_density(cube)
    (slope,) = torch.autograd.grad(log_flow.sum(), cube, create_graph=True)
    mixture = mixed(log_flow.detach().exp(), share)
    return ((2 * log_flow).exp() / mixture * slope.square().sum(1)).mean()


@final
@dataclass(frozen=True)
class Das(Generative):
    """DAS, deep adaptive sampling: a normalizing flow is fitted to the density ∝ |r|^k of the residual."""

    kind: ClassVar[str] = "das"
    references: ClassVar[tuple[str, ...]] = (
        "K. Tang, X. Wan, C. Yang. DAS-PINNs: a deep adaptive sampling method for solving high-dimensional partial "
        "differential equations. J. Comput. Phys. 476 (2023), 111868. arXiv 2112.14038",
    )
    learning_rate: float = option(3e-3, "of Adam for the flow", positive)

    def gain(self, flow: CubeFlow, chosen: Tensor, cube: Tensor) -> Tensor:
        return flow.log_density(chosen).mean()
