"""The viscous Burgers equation in any dimension."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.domain import DriftingGaussian
from pinnx.equations.fields import elapsed, zero
from pinnx.equations.scale import scale_from_residual
from pinnx.expr import Expr, Known, Points, Symbol, Unknown, dot, dt, grad, laplacian
from pinnx.expr.nodes import ConstantVector
from pinnx.options import at_least, check_limits, option, positive
from pinnx.problem import Condition, Equation, Problem
from pinnx.trial import Affine


@final
@dataclass(frozen=True)
class Burgers(Equation):
    """∂_t u + u·Σ_i ∂_i u - νΔu = 0 for 0 < t <= 1: a front that moves along the diagonal.

    The solution is 1 / (1 + exp((Σx_i - d·t/2) / (2ν))). For the classical equation in one dimension, with its
    steepening sine, see `ClassicalBurgers`.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Z. Hu, Z. Yang, Y. Wang, G. E. Karniadakis, K. Kawaguchi. Bias-variance trade-off in physics-informed neural "
        "networks with randomized smoothing for high-dimensional PDEs. SIAM J. Sci. Comput. 47(4) (2025). "
        "arXiv 2311.15283",
    )

    dimension: int = option(10, "number of space coordinates", at_least(1))
    viscosity: float = option(0.5, "ν", positive)

    def __post_init__(self) -> None:
        check_limits(self)

    def residual(self, u: Symbol) -> Expr:
        """∂_t u + u·Σ_i ∂_i u - νΔu."""
        ones = ConstantVector(torch.ones(self.dimension, dtype=torch.float64), "1")
        return dt(u) + u * dot(ones, grad(u)) - self.viscosity * laplacian(u)

    def conditions(self) -> tuple[Condition, ...]:
        """That u = 1 / (1 + exp(Σx_i / (2ν))) at time 0; the trial solution meets it."""
        return (Condition("initial", Unknown("u") - _front(self, speed=0.0), self._domain().at(0.0)),)

    def problem(self) -> Problem:
        domain, factor, initial = self._domain(), elapsed(), _front(self, speed=0.0)
        scale = scale_from_residual(self.residual, domain, factor, initial)
        exact = _front(self, speed=self.dimension / 2)
        return Problem(equation=self, domain=domain, trial=Affine(factor, initial, scale), exact=exact)

    def _domain(self) -> DriftingGaussian:
        return DriftingGaussian(self.dimension, drift=1.0, variance=2.0, decay=1.0, horizon=1.0)


@lru_cache(maxsize=32)
def _front(equation: Burgers, speed: float) -> Known:
    """σ(-(Σx - speed·t) / (2ν)) with the logistic function σ; σ' = σ(1 - σ) and σ'' = σ(1 - σ)(1 - 2σ)."""
    d, width = equation.dimension, 2 * equation.viscosity

    def value(points: Points) -> Tensor:
        # Without a speed the front must not ask for the time.
        moved = points.x.sum(1) - speed * points.t if speed else points.x.sum(1)
        return torch.sigmoid(-moved / width)

    def slope(points: Points) -> Tensor:
        u = value(points)
        return u * (1 - u) / width

    return Known(
        "exact" if speed else "u0",
        value,
        gradient=lambda points: -slope(points)[:, None].expand_as(points.x),
        laplacian=lambda points: d * slope(points) * (1 - 2 * value(points)) / width,
        dt=(lambda points: speed * slope(points)) if speed else zero,
        symbol=r"u^{\ast}" if speed else "u_{0}",
    )
