"""The Hamilton-Jacobi-Bellman equation of linear-quadratic-Gaussian control."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.domain import DriftingGaussian
from pinnx.equations.draws import uniform
from pinnx.equations.fields import remaining, squared_norm, zero
from pinnx.equations.scale import scale_from_residual
from pinnx.expr import Expr, Known, Points, Symbol, Unknown, dt, grad, laplacian, norm2
from pinnx.options import at_least, check_limits, one_of, option, positive
from pinnx.problem import Condition, Equation, Problem
from pinnx.trial import Affine


@final
@dataclass(frozen=True)
class HamiltonJacobiBellman(Equation):
    """∂_t u + Δu - |∇u|² = 0 for 0 <= t < T, u(x, T) = g(x).

    The substitution exp(-u) makes it a heat equation, so that u(x, t) = -log E exp(-g(x - √(2(T - t)) y)), y ~ N(0, I).
    The cost g is |x|² ("quadratic") or a form in pairs of coordinates,
    g = Σ_i c1_i (x_{2i-1} - x_{2i})² + c2_i x_{2i}² with c ~ U(0, 1) ("rosenbrock"). For both the expectation is a
    Gaussian integral, hence a closed form; the published code estimates the second one by Monte Carlo.
    """

    references: ClassVar[tuple[str, ...]] = (
        "J. Han, A. Jentzen, W. E. Solving high-dimensional partial differential equations using deep learning. "
        "PNAS 115(34) (2018), 8505-8510. arXiv 1707.02568",
        "D. He, S. Li, W. Shi, X. Gao, J. Zhang, J. Bian, L. Wang, T.-Y. Liu. Learning physics-informed neural "
        "networks without stacked back-propagation. AISTATS 2023. arXiv 2202.09340",
        "Z. Hu, Z. Yang, Y. Wang, G. E. Karniadakis, K. Kawaguchi. Bias-variance trade-off in physics-informed neural "
        "networks with randomized smoothing for high-dimensional PDEs. SIAM J. Sci. Comput. 47(4) (2025). "
        "arXiv 2311.15283",
    )

    dimension: int = option(20, "number of space coordinates; even for the Rosenbrock cost", at_least(1))
    cost: str = option("quadratic", "terminal cost g: quadratic or rosenbrock", one_of("quadratic", "rosenbrock"))
    horizon: float = option(1.0, "terminal time T", positive)
    seed: int = option(71209, "draws the coefficients c ~ U(0, 1) of the Rosenbrock cost", at_least(0))

    def __post_init__(self) -> None:
        check_limits(self)
        if self.cost == "rosenbrock" and self.dimension % 2:
            raise ValueError(f"dimension must be even for the Rosenbrock cost, got {self.dimension}")

    def residual(self, u: Symbol) -> Expr:
        """∂_t u + Δu - |∇u|²."""
        return dt(u) + laplacian(u) - norm2(grad(u))

    def terminal(self) -> Known:
        """The terminal cost g."""
        return squared_norm() if self.cost == "quadratic" else _pairs(self).terminal()

    def conditions(self) -> tuple[Condition, ...]:
        """That u = g at time T; the trial solution meets it."""
        return (Condition("terminal", Unknown("u") - self.terminal(), self._domain().at(self.horizon)),)

    def problem(self) -> Problem:
        domain, factor, terminal = self._domain(), remaining(self.horizon), self.terminal()
        scale = scale_from_residual(self.residual, domain, factor, terminal)
        exact = _quadratic_solution(self) if self.cost == "quadratic" else _pairs(self).solution()
        return Problem(equation=self, domain=domain, trial=Affine(factor, terminal, scale), exact=exact)

    def _domain(self) -> DriftingGaussian:
        return DriftingGaussian(self.dimension, drift=0.0, variance=1.0, decay=0.0, horizon=self.horizon)


@lru_cache(maxsize=16)
def _quadratic_solution(equation: HamiltonJacobiBellman) -> Known:
    d, horizon = equation.dimension, equation.horizon

    def spread(points: Points) -> Tensor:
        return 1 + 4 * (horizon - points.t)

    return Known(
        "exact",
        lambda points: points.x.square().sum(1) / spread(points) + d / 2 * spread(points).log(),
        gradient=lambda points: 2 * points.x / spread(points)[:, None],
        laplacian=lambda points: 2 * d / spread(points),
        dt=lambda points: 4 * points.x.square().sum(1) / spread(points).square() - 2 * d / spread(points),
        symbol=r"u^{\ast}",
    )


@lru_cache(maxsize=16)
def _pairs(equation: HamiltonJacobiBellman) -> _Pairs:
    return _Pairs(equation.dimension, equation.horizon, equation.seed)


class _Pairs:
    """The Rosenbrock cost and its solution, a sum over pairs of coordinates (a, b).

    For a pair, g = zᵀMz with M = [[c1, -c1], [-c1, c1 + c2]], and z ~ N(x, 2τI) gives
    -log E exp(-zᵀMz) = ½ log det(I + sM) + xᵀM(I + sM)⁻¹x with s = 4τ, τ = T - t. Written out for a 2 × 2 matrix with
    trace p = 2c1 + c2 and determinant m = c1·c2: det(I + sM) = 1 + ps + ms² =: D and M(I + sM)⁻¹ = (M + smI) / D.
    """

    def __init__(self, dimension: int, horizon: float, seed: int):
        c1, c2 = uniform(dimension, seed).reshape(2, dimension // 2)
        self.c1, self.c2 = c1, c2
        self.p, self.m = 2 * c1 + c2, c1 * c2
        self.horizon = horizon

    def terminal(self) -> Known:
        """g, constant in time."""
        return Known(
            "g",
            lambda points: self._form(points.x).sum(1),
            gradient=lambda points: self._slope(points.x),
            laplacian=lambda points: 2 * self.p.to(points.x).sum()[None],
            dt=zero,
        )

    def solution(self) -> Known:
        """u, with s and D as above."""
        return Known(
            "exact", self._value, gradient=self._gradient, laplacian=self._laplacian, dt=self._dt, symbol=r"u^{\ast}"
        )

    def _form(self, x: Tensor) -> Tensor:
        a, b = x[:, 0::2], x[:, 1::2]
        return self.c1.to(x) * (a - b).square() + self.c2.to(x) * b.square()

    def _slope(self, x: Tensor) -> Tensor:
        a, b = x[:, 0::2], x[:, 1::2]
        pull = 2 * self.c1.to(x) * (a - b)
        return torch.stack([pull, 2 * self.c2.to(x) * b - pull], dim=2).flatten(1)

    def _spread(self, points: Points) -> tuple[Tensor, Tensor]:
        """The numbers s (n, 1) and D (n, d/2)."""
        s = 4 * (self.horizon - points.t)[:, None]
        return s, 1 + s * self.p.to(s) + s.square() * self.m.to(s)

    def _value(self, points: Points) -> Tensor:
        x, (s, det) = points.x, self._spread(points)
        squares = x[:, 0::2].square() + x[:, 1::2].square()
        return (0.5 * det.log() + (self._form(x) + s * self.m.to(x) * squares) / det).sum(1)

    def _gradient(self, points: Points) -> Tensor:
        x, (s, det) = points.x, self._spread(points)
        own = (2 * s * self.m.to(x)).repeat_interleave(2, dim=1) * x
        return (self._slope(x) + own) / det.repeat_interleave(2, dim=1)

    def _laplacian(self, points: Points) -> Tensor:
        s, det = self._spread(points)
        return (2 * (self.p.to(s) + 2 * s * self.m.to(s)) / det).sum(1)

    def _dt(self, points: Points) -> Tensor:
        x, (s, det) = points.x, self._spread(points)
        m = self.m.to(x)
        squares = x[:, 0::2].square() + x[:, 1::2].square()
        det_slope = self.p.to(x) + 2 * s * m
        in_s = 0.5 * det_slope / det + m * squares / det - (self._form(x) + s * m * squares) * det_slope / det.square()
        return -4 * in_s.sum(1)
