"""A Fokker-Planck equation with constant drift."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.domain import DriftingGaussian
from pinnx.equations.draws import normal
from pinnx.equations.fields import elapsed, squared_norm
from pinnx.equations.scale import scale_from_residual
from pinnx.expr import Expr, Known, Points, Symbol, Unknown, dot, dt, grad, laplacian
from pinnx.expr.nodes import ConstantVector
from pinnx.options import at_least, check_limits, one_of, option, positive
from pinnx.problem import Condition, Equation, Problem
from pinnx.trial import Affine


@final
@dataclass(frozen=True)
class FokkerPlanck(Equation):
    """∂_t u = ½Δu - μ·∇u for 0 < t <= T, u(x, 0) = |x|²; the solution is |x - μt|² + d·t.

    The drift μ is the vector of ones ("isotropic") or drawn from N(1, I) ("anisotropic"). Points follow the law
    t ~ U(0, T), x ~ N(μt, (2 - t/T)·I) of the published benchmark, where T = 1.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Z. Hu, Z. Yang, Y. Wang, G. E. Karniadakis, K. Kawaguchi. Bias-variance trade-off in physics-informed neural "
        "networks with randomized smoothing for high-dimensional PDEs. SIAM J. Sci. Comput. 47(4) (2025). "
        "arXiv 2311.15283",
    )

    dimension: int = option(100, "number of space coordinates", at_least(1))
    drift: str = option(
        "isotropic", "isotropic: all ones; anisotropic: drawn from N(1, I)", one_of("isotropic", "anisotropic")
    )
    horizon: float = option(1.0, "last time T", positive)
    seed: int = option(33191, "draws the anisotropic drift", at_least(0))

    def __post_init__(self) -> None:
        check_limits(self)

    def residual(self, u: Symbol) -> Expr:
        """∂_t u - ½Δu + μ·∇u."""
        mu = ConstantVector(self.velocity(), "1" if self.drift == "isotropic" else "mu")
        return dt(u) - 0.5 * laplacian(u) + dot(mu, grad(u))

    def velocity(self) -> Tensor:
        """The drift μ, (d,), float64."""
        if self.drift == "isotropic":
            return torch.ones(self.dimension, dtype=torch.float64)
        return 1 + normal(self.dimension, self.seed)

    def conditions(self) -> tuple[Condition, ...]:
        """That u = |x|² at time 0; the trial solution meets it."""
        return (Condition("initial", Unknown("u") - squared_norm(), self._domain().at(0.0)),)

    def problem(self) -> Problem:
        domain, factor, initial = self._domain(), elapsed(), squared_norm()
        scale = scale_from_residual(self.residual, domain, factor, initial)
        return Problem(equation=self, domain=domain, trial=Affine(factor, initial, scale), exact=_solution(self))

    def _domain(self) -> DriftingGaussian:
        drift = 1.0 if self.drift == "isotropic" else self.velocity()
        return DriftingGaussian(self.dimension, drift, variance=2.0, decay=1 / self.horizon, horizon=self.horizon)


@lru_cache(maxsize=16)
def _solution(equation: FokkerPlanck) -> Known:
    dimension, velocity = equation.dimension, equation.velocity()

    def moved(points: Points) -> Tensor:
        return points.x - velocity.to(points.x) * points.t[:, None]

    return Known(
        "exact",
        lambda points: moved(points).square().sum(1) + dimension * points.t,
        gradient=lambda points: 2 * moved(points),
        laplacian=lambda points: points.x.new_full((1,), 2.0 * dimension),
        dt=lambda points: dimension - 2 * moved(points) @ velocity.to(points.x),
        symbol=r"u^{\ast}",
    )
