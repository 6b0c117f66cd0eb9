"""Diffusion through a porous medium that retards it by sorption, with Freundlich's isotherm: a family of instances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from pinnx.domain import Box, Interval, Product
from pinnx.equations.smooth_fields import cosine_series
from pinnx.errors import PinnxError
from pinnx.expr import Expr, Input, Symbol, Unknown, dt, partial, x
from pinnx.family import Family, Grid, GridCondition, Instances, space_axis, time_axis
from pinnx.options import at_least, check_limits, option, positive
from pinnx.problem import Equation, Problem

HIGHEST = 0.2
"""Initial concentrations lie in [0, HIGHEST]."""
MODES = 8
"""Cosines of a random initial concentration."""
FLOOR = 1e-3
"""Below it the isotherm u^n is replaced by a smooth function: its slope is infinite at u = 0."""
REFERENCE_CELLS = 1024
"""Cells of the reference, at least."""


@final
@dataclass(frozen=True)
class DiffusionSorption(Equation):
    """R(u) ∂_t u - D ∂_xx u = 0 on [0, 1], u(0, t) = 1, u(1, t) = -D ∂_x u(1, t), u(x, 0) = u0(x).

    The retardation is R = 1 + (1 - φ)/φ ρ k n u^(n-1) with φ = 0.29, ρ = 2880, k = 3.5e-4, n = 0.874. The published
    text writes the outflow as u = D ∂_x u; its code, and whoever wants a well-posed problem, takes ∂_x against the
    outward normal. R is evaluated with (u² + 1e-6)^((n-1)/2) in the place of u^(n-1), which is defined for every u.

    The law of u0 is "published" (a constant, uniform on [0, 0.2]: a family of one parameter) or "rich" (a smooth random
    function with values in [0, 0.2]). Both clash with the boundary values, so the solution is singular at the corners.
    """

    references: ClassVar[tuple[str, ...]] = (
        "M. Takamoto, T. Praditia, R. Leiteritz, D. MacKinlay, F. Alesiani, D. Pflüger, M. Niepert. PDEBench: an "
        "extensive benchmark for scientific machine learning. NeurIPS 2022. arXiv 2210.07182",
        "N. Chalapathi, Y. Du, A. Krishnapriyan. Scaling physics-informed hard constraints with mixture-of-experts. "
        "ICLR 2024. arXiv 2402.13412",
    )

    law: Literal["published", "rich"] = option("published", "law of the initial concentration")
    nodes: int = option(129, "nodes in space, the ends included", at_least(5))
    times: int = option(101, "nodes in time, the beginning included", at_least(3))
    horizon: float = option(500.0, "last time", positive)
    grading: float = option(1.0, "the times are horizon · sᵍ with s uniform", at_least(1.0))
    offset: Literal["data", "layers"] = option(
        "data", "trial solution of the network 0: the data alone, or with linear diffusion layers at both ends"
    )
    corner: float = option(
        40.0, "time over which the weight of the equation rises around the two singular corners", at_least(0.0)
    )
    diffusion: float = option(5e-4, "D", positive)

    def __post_init__(self) -> None:
        check_limits(self)

    def residual(self, u: Symbol) -> Expr:
        """R(u) ∂_t u - D ∂_xx u."""
        return retardation(u) * dt(u) - self.diffusion * partial(u, x[0], x[0])

    def problem(self) -> Problem:
        domain = Product(Box(0.0, 1.0, dimension=1), Interval(0.0, self.horizon))
        return Problem(equation=self, domain=domain, instances=DiffusionSorptionFamily(self))


def retardation(u: Any) -> Any:
    """R(u), of an expression or of numbers."""
    porosity, density, constant, exponent = 0.29, 2880.0, 3.5e-4, 0.874
    strength = (1 - porosity) / porosity * density * constant * exponent
    return 1.0 + strength * (u**2 + FLOOR**2) ** ((exponent - 1) / 2)


@final
@dataclass(frozen=True)
class DiffusionSorptionFamily(Family):
    """Initial concentrations, and the reference: the method of lines with banded implicit steps (LSODA).

    Attributes:
        equation: with the law and the sizes.
    """

    indifferent: ClassVar[tuple[str, ...]] = ("offset", "corner")
    equation: DiffusionSorption

    @cached_property
    def grid(self) -> Grid:  # type: ignore[override]
        """Space with its ends, and time."""
        of = self.equation
        space = space_axis(0, 0.0, 1.0, of.nodes, ("dirichlet", "free"))
        return Grid((space, time_axis(of.horizon, of.times, of.grading)))

    @property
    def unknowns(self) -> tuple[str, ...]:
        return self.equation.unknowns

    def offset(self, instances: Instances) -> Tensor:
        assert instances.initial is not None
        start = instances.initial[..., None].expand(*instances.initial.shape, self.equation.times)
        result = start.clone()
        if self.equation.offset == "layers":
            result += self._layers(start)
        result[..., 0, :] = 1.0
        result[..., :, 0] = instances.initial  # of the two values at the corner, that of the beginning
        return result

    def conditions(self) -> tuple[GridCondition, ...]:
        """The outflow u + D ∂_x u = 0 at x = 1, after the beginning."""
        u = Unknown("u")
        outflow = self.grid.end(("x", 0), upper=True) & ~self.grid.end(("t", 0))
        return (GridCondition("outflow", u + self.equation.diffusion * partial(u, x[0]), outflow),)

    def data_conditions(self) -> tuple[GridCondition, ...]:
        """The initial concentration, and u = 1 at x = 0 after the beginning."""
        u, start = Unknown("u"), self.grid.end(("t", 0))
        inflow = self.grid.end(("x", 0)) & ~start
        return GridCondition("initial", u - Input("u0"), start), GridCondition("inflow", u - 1.0, inflow)

    @cached_property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The horizon, which makes R ∂_t u of size one, less around the corners; 0 at known values and at the outflow.

        Differences cannot resolve the corners where the data clash: without less weight there, more than nine tenths of
        the squared residual of the true solution come from the first row after the beginning, and least squares fit
        that. With the time d = t + x²/(4D/R(½)) from a corner the weight is d²/(d² + corner²).
        """
        points = self.grid.points()
        weight = self.equation.horizon * self.factor * ~self.grid.end(("x", 0), upper=True)
        for end in (0.0, 1.0) if self.equation.corner else ():
            away = self.grid.unflat(points.t + (points.x[:, 0] - end) ** 2 / (4 * self._rate))
            weight = weight / (1 + (self.equation.corner / away.clamp_min(1e-12)) ** 2)
        return weight

    def parameters(self, generator: torch.Generator) -> Tensor:
        if self.equation.law == "published":
            return HIGHEST * torch.rand(1, generator=generator, dtype=torch.float64)
        return torch.randn(MODES, generator=generator, dtype=torch.float64)

    def realize(self, parameters: Tensor) -> Instances:
        return Instances(parameters, self._initial(parameters, self.grid.axes[0].positions())[:, None])

    def features(self, instances: Instances) -> Tensor:
        return super().features(instances) / HIGHEST

    def solve(self, instance: Instances) -> Tensor:
        cells = self.equation.nodes - 1
        refinement = math.ceil(REFERENCE_CELLS / cells)
        fine = torch.linspace(0.0, 1.0, cells * refinement + 1, dtype=torch.float64)
        times = self.grid.axes[1].positions().numpy()
        start = self._initial(instance.parameters, fine)[0].numpy()
        found = method_of_lines(start, times, self.equation.diffusion)[::refinement]
        result = torch.from_numpy(found.copy())[None, None]
        assert instance.initial is not None
        result[..., 0] = instance.initial  # of the two values at the corner, that of the beginning
        return result

    def _initial(self, parameters: Tensor, positions: Tensor) -> Tensor:
        """u0 at positions (n,): (B, n)."""
        if self.equation.law == "published":
            return parameters.expand(-1, len(positions)).clone()
        return HIGHEST * (2 * cosine_series(parameters, positions, length=0.2)).sigmoid()

    @property
    def _rate(self) -> float:
        """The diffusion at the concentration ½."""
        return self.equation.diffusion / retardation(0.5)

    def _layers(self, start: Tensor) -> Tensor:
        """What linear diffusion adds to a constant, at the concentration ½ and from each end of half a line."""
        along, times = self.grid.axes[0].positions(), self.grid.axes[1].positions()
        reach = 2 * (self._rate * times).sqrt()
        left, right = ((way[:, None] / reach).nan_to_num(nan=0.0).erfc() for way in (along, 1 - along))
        return (1 - start[..., :1, :]) * left - start[..., -1:, :] * right


def method_of_lines(start: np.ndarray, times: np.ndarray, diffusion: float, tolerance: float = 1e-8) -> np.ndarray:
    """Three-point differences in space, LSODA with a banded Jacobian in time.

    Args:
        start: values at equidistant points of [0, 1], the ends included, (n,); the first one is replaced by 1.
        times: ascending, from 0, (k,).
        diffusion: D.
        tolerance: of LSODA, relative and absolute.

    Returns:
        (n, k). The point beyond x = 1 is eliminated by the outflow condition, to second order.

    Raises:
        PinnxError: LSODA gives up.
    """
    step = 1.0 / (len(start) - 1)

    def rate(_: float, inner: np.ndarray) -> np.ndarray:
        beyond = inner[-2] - 2 * step / diffusion * inner[-1]
        full = np.concatenate([[1.0], inner, [beyond]])
        return diffusion / step**2 * (full[2:] - 2 * inner + full[:-2]) / retardation(inner)

    solved = solve_ivp(
        rate,
        (0.0, times[-1]),
        start[1:],
        method="LSODA",
        t_eval=times,
        rtol=tolerance,
        atol=tolerance,
        lband=1,
        uband=1,
        first_step=1e-6,
    )
    if not solved.success:
        raise PinnxError(f"the reference of diffusion-sorption failed: {solved.message}")
    return np.concatenate([np.ones((1, len(times))), solved.y])
