"""The viscous Burgers equation in one dimension from random initial values: a family of instances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from pinnx.domain import Box, Interval, Product
from pinnx.equations.pseudo_spectral import integrate
from pinnx.equations.smooth_fields import combined, per_wave, periodic_waves
from pinnx.expr import Expr, Input, Symbol, Unknown, dt, partial, x
from pinnx.family import End, Family, Grid, GridCondition, Instances, space_axis, time_axis
from pinnx.options import at_least, check_limits, one_of, option, positive
from pinnx.problem import Equation, Problem

WAVES = 16
"""Waves, or half waves, of an initial value."""
REFERENCE_NODES = 1024
"""Nodes of the reference along one period, at least."""


@final
@dataclass(frozen=True)
class RandomBurgers(Equation):
    """∂_t u + u ∂_x u - ν ∂_xx u = 0 on [0, 1], u(x, 0) = u0(x), a Gaussian random field.

    Periodic, u0 has the covariance 625 (-Δ + 25)^-2, as in the published operator benchmarks; with Dirichlet ends,
    u = 0 there, it is the sine series of the same law.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Z. Li, N. Kovachki, K. Azizzadenesheli, B. Liu, K. Bhattacharya, A. Stuart, A. Anandkumar. Fourier neural "
        "operator for parametric partial differential equations. ICLR 2021. arXiv 2010.08895",
        "G. Négiar, M. W. Mahoney, A. Krishnapriyan. Learning differentiable solvers for systems with hard "
        "constraints. ICLR 2023. arXiv 2207.08675",
    )

    viscosity: float = option(0.01, "ν", positive)
    ends: str = option("periodic", "periodic or dirichlet", one_of("periodic", "dirichlet"))
    nodes: int = option(128, "nodes in space", at_least(5))
    times: int = option(101, "nodes in time, the beginning included", at_least(3))
    horizon: float = option(1.0, "last time", positive)

    def __post_init__(self) -> None:
        check_limits(self)

    def residual(self, u: Symbol) -> Expr:
        """∂_t u + u ∂_x u - ν ∂_xx u."""
        return dt(u) + u * partial(u, x[0]) - self.viscosity * partial(u, x[0], x[0])

    def problem(self) -> Problem:
        domain = Product(Box(0.0, 1.0, dimension=1), Interval(0.0, self.horizon))
        return Problem(equation=self, domain=domain, instances=RandomBurgersFamily(self))


@final
@dataclass(frozen=True)
class RandomBurgersFamily(Family):
    """Initial values, and the reference: a pseudo-spectral method, at Dirichlet ends for the odd extension.

    Attributes:
        equation: with the sizes.
    """

    equation: RandomBurgers

    @cached_property
    def grid(self) -> Grid:  # type: ignore[override]
        """The interval, and time."""
        of = self.equation
        ends: tuple[End, End] = ("periodic", "periodic") if self._periodic else ("dirichlet", "dirichlet")
        return Grid((space_axis(0, 0.0, 1.0, of.nodes, ends), time_axis(of.horizon, of.times)))

    @property
    def unknowns(self) -> tuple[str, ...]:
        return self.equation.unknowns

    def offset(self, instances: Instances) -> Tensor:
        """The initial value at all times."""
        assert instances.initial is not None
        return instances.initial[..., None].expand(*instances.initial.shape, self.equation.times).clone()

    def data_conditions(self) -> tuple[GridCondition, ...]:
        """The initial value, and zeros at Dirichlet ends."""
        u, start = Unknown("u"), self.grid.end(("t", 0))
        initial = GridCondition("initial", u - Input("u0"), start)
        if self._periodic:
            return (initial,)
        ends = (self.grid.end(("x", 0)) | self.grid.end(("x", 0), upper=True)) & ~start
        return initial, GridCondition("boundary", 1.0 * u, ends)

    def parameters(self, generator: torch.Generator) -> Tensor:
        return torch.randn(2 * WAVES + 1 if self._periodic else WAVES, generator=generator, dtype=torch.float64)

    def realize(self, parameters: Tensor) -> Instances:
        return Instances(parameters, self._initial(parameters, self.grid.axes[0].positions())[:, None])

    def solve(self, instance: Instances) -> Tensor:
        cells = self.equation.nodes if self._periodic else self.equation.nodes - 1
        period, count = (1.0, cells) if self._periodic else (2.0, 2 * cells)
        refinement = math.ceil(REFERENCE_NODES / count)
        positions = period * torch.arange(count * refinement, dtype=torch.float64) / (count * refinement)
        start = self._initial(instance.parameters, positions)[0].numpy()
        times = self.grid.axes[1].positions().tolist()
        found = burgers_flow(start, period, times, self.equation.viscosity)[:, ::refinement]
        return torch.from_numpy(found[:, : self.equation.nodes].T.copy())[None, None]

    @property
    def _periodic(self) -> bool:
        return self.equation.ends == "periodic"

    def _initial(self, parameters: Tensor, positions: Tensor) -> Tensor:
        """u0 at positions (n,), those beyond 1 in its periodic or odd extension: (B, n)."""
        if self._periodic:
            k = 2 * math.pi * torch.arange(WAVES + 1, dtype=torch.float64)
            return combined(parameters * per_wave(25 / (k**2 + 25)), periodic_waves(WAVES, positions))
        k = math.pi * torch.arange(1, WAVES + 1, dtype=torch.float64)
        return combined(parameters * 25 / (k**2 + 25), math.sqrt(2) * (k[:, None] * positions).sin())


def burgers_flow(
    start: np.ndarray, period: float, times: list[float], viscosity: float, longest_step: float = 1e-3
) -> np.ndarray:
    """The periodic solution from initial values: pseudo-spectral, dealiased by the 2/3 rule.

    Args:
        start: values at n equidistant nodes of one period, (n,).
        period: its length.
        times: ascending, from 0.
        viscosity: ν.
        longest_step: in time.

    Returns:
        Values at the times, (len(times), n).
    """
    n = start.shape[-1]
    k = 2 * np.pi / period * np.fft.rfftfreq(n, 1 / n)
    resolved = np.arange(len(k)) < n / 3

    def rate(u: np.ndarray) -> np.ndarray:
        return -0.5j * k * resolved * np.fft.rfft(np.fft.irfft(u * resolved, n=n) ** 2)

    found = integrate(np.fft.rfft(start), times, viscosity * k**2, rate, longest_step)
    return np.fft.irfft(found, n=n)
