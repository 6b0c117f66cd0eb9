"""Two-dimensional incompressible flow on a torus, in vorticity and stream function: a family of initial vorticities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np
import scipy.special
import torch
from torch import Tensor

from pinnx.domain import Box, Interval, Product
from pinnx.equations.pseudo_spectral import integrate
from pinnx.equations.smooth_fields import per_wave, periodic_waves, product_series
from pinnx.expr import Expr, Symbol, dt, laplacian, partial, x
from pinnx.family import End, Family, Grid, Instances, space_axis, time_axis
from pinnx.options import at_least, check_limits, option, positive
from pinnx.problem import Equation, Problem

LENGTH = 0.8
"""Of the kernel of the initial vorticity."""
WAVES = 6
"""Highest wave number of the initial vorticity: that of the next one has the size 3e-5."""
REFERENCE_NODES = 64
"""Nodes of the reference along each axis, at least."""
PERIODIC: tuple[End, End] = ("periodic", "periodic")


@final
@dataclass(frozen=True)
class NavierStokes(Equation):
    """∂_t w + v·∇w - νΔw = 0 on the periodic unit square, v = (∂_y ψ, -∂_x ψ), -Δψ = w.

    The stream function ψ follows from the vorticity w by the inverse Laplacian, which the family computes exactly
    (`complete`), so that only the transport equation is stated: with w = Σ ω_j w_j the velocity is linear in ω too. The
    initial vorticity is a periodic Gaussian process with the kernel exp(-½ Σ_i sin²(πΔ_i)/0.8²), its mean removed.
    """

    unknowns: ClassVar[tuple[str, ...]] = ("w", "psi")
    references: ClassVar[tuple[str, ...]] = (
        "N. Chalapathi, Y. Du, A. Krishnapriyan. Scaling physics-informed hard constraints with mixture-of-experts. "
        "ICLR 2024. arXiv 2402.13412",
        "C. Canuto, M. Y. Hussaini, A. Quarteroni, T. A. Zang. Spectral methods: evolution to complex geometries and "
        "applications to fluid dynamics. Springer 2007",
    )

    viscosity: float = option(1e-4, "ν", positive)
    nodes: int = option(64, "nodes along each axis of space", at_least(4))
    times: int = option(64, "nodes in time, the beginning included", at_least(3))
    horizon: float = option(5.0, "last time", positive)

    def __post_init__(self) -> None:
        check_limits(self)

    def residual(self, w: Symbol, psi: Symbol) -> Expr:
        """∂_t w + ∂_y ψ ∂_x w - ∂_x ψ ∂_y w - νΔw."""
        transport = partial(psi, x[1]) * partial(w, x[0]) - partial(psi, x[0]) * partial(w, x[1])
        return dt(w) + transport - self.viscosity * laplacian(w)

    def problem(self) -> Problem:
        domain = Product(Box(0.0, 1.0, dimension=2), Interval(0.0, self.horizon))
        return Problem(equation=self, domain=domain, instances=NavierStokesFamily(self))


@final
@dataclass(frozen=True)
class NavierStokesFamily(Family):
    """Initial vorticities, and the reference: a pseudo-spectral method.

    Attributes:
        equation: with the sizes.
    """

    equation: NavierStokes

    @cached_property
    def grid(self) -> Grid:  # type: ignore[override]
        """The square, and time."""
        of = self.equation
        space = [space_axis(i, 0.0, 1.0, of.nodes, PERIODIC) for i in range(2)]
        return Grid((*space, time_axis(of.horizon, of.times)))

    @property
    def unknowns(self) -> tuple[str, ...]:
        return self.equation.unknowns

    @property
    def outputs(self) -> int:
        """The vorticity; the stream function follows."""
        return 1

    def complete(self, fields: Tensor) -> Tensor:
        """Vorticity and stream function, (…, 2, n, n, times), of a vorticity (…, 1, n, n, times)."""
        return torch.cat([fields, stream_function(fields, (-3, -2))], dim=-4)

    @cached_property
    def factor(self) -> Tensor:  # type: ignore[override]
        """The time, relative to the last one: an untrained network changes little at first, as the flow does."""
        return self.grid.unflat(self.grid.points().t) / self.equation.horizon

    @cached_property
    def weight(self) -> Tensor:  # type: ignore[override]
        """A residual carries on: as far as the flow only moves it, it makes an error at all later times,
        |e(t)| ≤ ∫₀ᵗ |r|, and ∫ |e| dt ≤ ∫ (T - s) |r(s)| ds. So a row counts with the time that is left, T - s and its
        own step; the mean square over the rows is 1."""
        left = torch.arange(self.equation.times, 0, -1, dtype=torch.float64)
        return super().factor * left / left[1:].square().mean().sqrt()

    def offset(self, instances: Instances) -> Tensor:
        """The initial vorticity at all times."""
        assert instances.initial is not None
        return instances.initial[..., None].expand(*instances.initial.shape, self.equation.times).clone()

    def parameters(self, generator: torch.Generator) -> Tensor:
        return torch.randn((2 * WAVES + 1) ** 2 - 1, generator=generator, dtype=torch.float64)

    def realize(self, parameters: Tensor) -> Instances:
        return Instances(parameters, _initial(parameters, self.equation.nodes)[:, None])

    def solve(self, instance: Instances) -> Tensor:
        n = self.equation.nodes
        refinement = math.ceil(REFERENCE_NODES / n)
        start = _initial(instance.parameters, n * refinement)[0].numpy()
        times = self.grid.axes[-1].positions().tolist()
        w = vorticity(start, times, self.equation.viscosity)[:, ::refinement, ::refinement]
        return self.complete(torch.from_numpy(np.moveaxis(w, 0, -1).copy())[None, None])


def stream_function(w: Tensor, axes: tuple[int, int]) -> Tensor:
    """The ψ of mean zero with -Δψ = w - mean(w) on the periodic unit square; differentiable.

    Args:
        w: vorticity, with square axes of space.
        axes: those of space.
    """
    n = w.shape[axes[0]]
    first, last = torch.fft.fftfreq(n, 1 / n, device=w.device), torch.fft.rfftfreq(n, 1 / n, device=w.device)
    squares = (2 * math.pi) ** 2 * (first[:, None] ** 2 + last**2).to(w.dtype)
    inverse = torch.where(squares > 0, 1 / squares.clamp_min(1.0), torch.zeros_like(squares))
    shape = [1] * w.ndim
    shape[axes[0]], shape[axes[1]] = inverse.shape
    return torch.fft.irfft2(torch.fft.rfft2(w, dim=axes) * inverse.reshape(shape), s=(n, n), dim=axes)


def vorticity(start: np.ndarray, times: list[float], viscosity: float, longest_step: float = 5e-3) -> np.ndarray:
    """The flow from an initial vorticity: pseudo-spectral, dealiased by the 2/3 rule.

    Args:
        start: w at equidistant nodes of the periodic unit square, (n, n), mean zero.
        times: ascending, from 0.
        viscosity: ν.
        longest_step: in time.

    Returns:
        w at the times, (len(times), n, n).
    """
    n = len(start)
    first, last = np.fft.fftfreq(n, 1 / n)[:, None], np.fft.rfftfreq(n, 1 / n)[None]
    squares = (2 * np.pi) ** 2 * (first**2 + last**2)
    inverse = np.divide(1.0, squares, out=np.zeros_like(squares), where=squares > 0)
    resolved = (np.abs(first) < n / 3) & (last < n / 3)
    along, across = 2j * np.pi * first, 2j * np.pi * last

    def rate(w: np.ndarray) -> np.ndarray:
        w = w * resolved
        psi = w * inverse
        slopes = np.fft.irfft2(np.stack([along * w, across * w, across * psi, -along * psi]), s=(n, n))
        transport = slopes[2] * slopes[0] + slopes[3] * slopes[1]
        return resolved * np.fft.rfft2(-transport)

    found = integrate(np.fft.rfft2(start), times, viscosity * squares, rate, longest_step)
    return np.fft.irfft2(found, s=(n, n))


def _initial(parameters: Tensor, nodes: int) -> Tensor:
    """The vorticity at the nodes, (B, n, n).

    The kernel along one axis is exp(-z (1 - cos 2πΔ)) with z = 1/(4·0.8²); its Fourier coefficients are e^-z I_k(z).
    """
    along = periodic_waves(WAVES, torch.arange(nodes, dtype=torch.float64) / nodes)
    strengths = scipy.special.ive(np.arange(WAVES + 1), 1 / (4 * LENGTH**2))
    along = per_wave(torch.from_numpy(np.sqrt(strengths)))[:, None] * along
    without_mean = torch.nn.functional.pad(parameters, (1, 0)).unflatten(1, (2 * WAVES + 1, -1))
    return product_series(without_mean, along, along)
