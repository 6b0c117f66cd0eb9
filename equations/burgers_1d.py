"""The classical viscous Burgers equation: a sine that steepens to a front."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.domain import AtTime, Box, Interval, Product
from pinnx.equations.fields import zero
from pinnx.equations.scale import scale_from_conditions, scale_from_residual
from pinnx.expr import Expr, Known, Points, Symbol, Unknown, dt, partial, x
from pinnx.options import check_limits, one_of, option, positive
from pinnx.problem import Condition, Equation, Problem
from pinnx.trial import Affine, Plain


@final
@dataclass(frozen=True)
class ClassicalBurgers(Equation):
    """∂_t u + u ∂_x u - ν ∂_xx u = 0 on [-1, 1], u(x, 0) = -sin πx, u(±1, t) = 0.

    With the usual ν = 0.01/π the slope at the origin reaches 152 at t = 0.51. The exact solution is the Cole-Hopf
    integral, computed to about 1e-12.
    """

    references: ClassVar[tuple[str, ...]] = (
        "C. Basdevant, M. Deville, P. Haldenwang, J. M. Lacroix, J. Ouazzani, R. Peyret, P. Orlandi, A. T. Patera. "
        "Spectral and finite difference solutions of the Burgers equation. Computers & Fluids 14 (1986), 23-41",
        "M. Raissi, P. Perdikaris, G. E. Karniadakis. Physics-informed neural networks. J. Comput. Phys. 378 (2019), "
        "686-707. arXiv 1711.10561",
    )

    viscosity: float = option(0.01 / math.pi, "ν", positive)
    horizon: float = option(1.0, "last time", positive)
    constraints: str = option(
        "hard", "how the initial and boundary conditions hold: hard or soft", one_of("hard", "soft")
    )

    def __post_init__(self) -> None:
        check_limits(self)

    def residual(self, u: Symbol) -> Expr:
        """∂_t u + u ∂_x u - ν ∂_xx u."""
        return dt(u) + u * partial(u, x[0]) - self.viscosity * partial(u, x[0], x[0])

    def conditions(self) -> tuple[Condition, ...]:
        """That u = -sin πx at time 0, and 0 at both ends; the trial solution meets them where they are hard."""
        u, space = Unknown("u"), Box(-1.0, 1.0, dimension=1)
        return (
            Condition("initial", u - _sine(), AtTime(space, 0.0)),
            Condition("boundary", u, Product(space.boundary(), Interval(0.0, self.horizon))),
        )

    def problem(self) -> Problem:
        domain = Product(Box(-1.0, 1.0, dimension=1), Interval(0.0, self.horizon))
        exact = _cole_hopf(self.viscosity, self.horizon)
        if self.constraints == "soft":
            conditions = self.conditions()
            trial = Plain(scale_from_conditions(conditions[:1], Unknown("u")))
            return Problem(equation=self, domain=domain, trial=trial, conditions=conditions, exact=exact)
        factor, initial = _factor(), _sine()
        scale = scale_from_residual(self.residual, domain, factor, initial)
        return Problem(equation=self, domain=domain, trial=Affine(factor, initial, scale), exact=exact)


@lru_cache(maxsize=1)
def _sine() -> Known:
    """-sin πx, which vanishes at both ends."""
    return Known(
        "u0",
        lambda points: -(math.pi * points.x[:, 0]).sin(),
        gradient=lambda points: -math.pi * (math.pi * points.x).cos(),
        laplacian=lambda points: math.pi**2 * (math.pi * points.x[:, 0]).sin(),
        dt=zero,
        symbol="u_{0}",
    )


@lru_cache(maxsize=1)
def _factor() -> Known:
    """The factor t (1 - x²), which vanishes where there are conditions."""
    return Known(
        "t (1 - x**2)",
        lambda points: points.t * (1 - points.x[:, 0].square()),
        gradient=lambda points: -2 * points.t[:, None] * points.x,
        laplacian=lambda points: -2 * points.t,
        dt=lambda points: 1 - points.x[:, 0].square(),
        symbol="t (1 - x^{2})",
    )


@lru_cache(maxsize=8)
def _cole_hopf(viscosity: float, horizon: float) -> Known:
    """The Cole-Hopf solution: u = -2ν ∂_x φ / φ with φ(x, t) = E f(x - 2√(νt) z).

    Here z has a density ∝ exp(-z²), and f(y) = exp(-cos(πy) / (2πν)).

    With g = (log f)' = sin(πy) / (2ν) and expectations weighted by f, u = -2ν E[g] and every derivative of u is a
    polynomial in the moments ∂ᵏφ/φ. They satisfy the equation whatever the quadrature; the quadrature is the
    trapezoidal rule, which converges exponentially for an analytic integrand that dies off like a Gaussian
    (Trefethen and Weideman, SIAM Review 56 (2014), 385-458).
    """
    nu = viscosity
    # The rule's error is the integrand's growth along z + iy, at most exp(y² + A (cosh cy - 1)) with A = 1/(2πν) and
    # c = 2π√(νt), times exp(-2πy/step): this step makes it exp(-45).
    along = 2 * math.pi * math.sqrt(nu * horizon)
    y = min(1.0, 2.5 / along)
    step = 2 * math.pi * y / (45 + y**2 + (math.cosh(along * y) - 1) / (2 * math.pi * nu))
    # log f varies by 1/(πν): beyond this |z| the factor exp(-z²) wins by exp(-40).
    reach = math.sqrt(1 / (math.pi * nu) + 40)
    count = math.ceil(reach / step)
    nodes = step * torch.arange(-count, count + 1, dtype=torch.float64)

    def weighted(points: Points) -> tuple[Tensor, Tensor]:
        """π y and the weights, (n, nodes)."""
        z = nodes.to(points.tensor)
        angle = math.pi * (points.x - 2 * (nu * points.t).sqrt()[:, None] * z)
        return angle, torch.softmax(-z.square() - angle.cos() / (2 * math.pi * nu), dim=1)

    def moments(points: Points) -> tuple[Tensor, Tensor, Tensor]:
        """∂_xφ/φ, ∂_xxφ/φ and ∂_xxxφ/φ."""
        angle, weights = weighted(points)
        g, slope = angle.sin() / (2 * nu), math.pi * angle.cos() / (2 * nu)
        second, third = g.square() + slope, g * (g.square() + 3 * slope - math.pi**2)
        return (weights * g).sum(1), (weights * second).sum(1), (weights * third).sum(1)

    def value(points: Points) -> Tensor:
        angle, weights = weighted(points)
        return -(weights * angle.sin()).sum(1)

    def gradient(points: Points) -> Tensor:
        first, second, _ = moments(points)
        return -2 * nu * (second - first.square())[:, None]

    def curvature(points: Points) -> Tensor:
        first, second, third = moments(points)
        return -2 * nu * (third - 3 * first * second + 2 * first**3)

    def rate(points: Points) -> Tensor:
        first, second, third = moments(points)
        return -2 * nu**2 * (third - first * second)

    return Known("exact", value, gradient=gradient, laplacian=curvature, dt=rate, symbol=r"u^{\ast}")
