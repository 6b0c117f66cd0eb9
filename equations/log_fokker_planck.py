"""The Fokker-Planck equation of an Ornstein-Uhlenbeck process, for the logarithm of its density."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.domain import AtTime, Box, Interval, Product
from pinnx.equations.fields import elapsed, zero
from pinnx.equations.scale import scale_from_conditions, scale_from_residual
from pinnx.expr import Expr, Known, Points, Symbol, Unknown, dot, dt, grad, laplacian, norm2, x
from pinnx.options import at_least, check_limits, one_of, option
from pinnx.problem import Condition, Equation, Problem
from pinnx.trial import Affine, Plain


@final
@dataclass(frozen=True)
class LogFokkerPlanck(Equation):
    """∂_t q - d/2 - ½x·∇q - |∇q|² - Δq = 0 in [-5, 5]^d × [0, 1]: the density exp q of dX = -½X dt + √2 dW.

    It starts as N(0, I) and stays normal: its variance v solves v' = 2 - v, v(0) = 1, so that v = 2 - exp(-t) and
    q = -(d/2)·log(2πv) - |x|²/(2v).
    """

    unknowns: ClassVar[tuple[str, ...]] = ("q",)
    references: ClassVar[tuple[str, ...]] = (
        "F. Dangel, J. Müller, M. Zeinhofer. Kronecker-factored approximate curvature for physics-informed neural "
        "networks. NeurIPS 2024. arXiv 2405.15603",
        "A. Guzmán-Cordero, F. Dangel, G. Goldshlager, M. Zeinhofer. Improving energy natural gradient descent through "
        "Woodbury, momentum, and randomization. NeurIPS 2025. arXiv 2505.12149",
    )

    dimension: int = option(9, "number of space coordinates", at_least(1))
    initial: str = option(
        "soft",
        "how the initial condition holds: soft (published) or hard, in the trial solution",
        one_of("soft", "hard"),
    )

    def __post_init__(self) -> None:
        check_limits(self)

    def residual(self, q: Symbol) -> Expr:
        """∂_t q - d/2 - ½x·∇q - |∇q|² - Δq."""
        return dt(q) - self.dimension / 2 - 0.5 * dot(x, grad(q)) - norm2(grad(q)) - laplacian(q)

    def conditions(self) -> tuple[Condition, ...]:
        """The initial values, and the values on the faces of the box."""
        q, space = Unknown("q"), Box(-5.0, 5.0, dimension=self.dimension)
        return (
            Condition("initial", q - _log_normal(self.dimension, moving=False), AtTime(space, 0.0)),
            Condition(
                "boundary",
                q - _log_normal(self.dimension, moving=True),
                Product(space.boundary(), Interval(0.0, 1.0)),
            ),
        )

    def problem(self) -> Problem:
        domain = Product(Box(-5.0, 5.0, dimension=self.dimension), Interval(0.0, 1.0))
        conditions, exact = self.conditions(), _log_normal(self.dimension, moving=True)
        if self.initial == "soft":
            trial = Plain(scale_from_conditions(conditions, Unknown("q")))
            return Problem(equation=self, domain=domain, trial=trial, conditions=conditions, exact=exact)
        factor, start = elapsed(), _log_normal(self.dimension, moving=False)
        scale = scale_from_residual(self.residual, domain, factor, start)
        trial = Affine(factor, start, scale)
        return Problem(equation=self, domain=domain, trial=trial, conditions=conditions[1:], exact=exact)


@lru_cache(maxsize=16)
def _log_normal(dimension: int, *, moving: bool) -> Known:
    """The logarithm of N(x; 0, vI) with v = 2 - exp(-t), or v = 1 if it does not move."""

    def variance(points: Points) -> Tensor:
        return 2 - torch.exp(-points.t) if moving else points.t.new_ones(1)

    def value(points: Points) -> Tensor:
        v = variance(points)
        return -dimension / 2 * (2 * math.pi * v).log() - points.x.square().sum(1) / (2 * v)

    def rate(points: Points) -> Tensor:
        v = variance(points)
        return (2 - v) * (points.x.square().sum(1) / v - dimension) / (2 * v)

    return Known(
        "exact" if moving else "q0",
        value,
        gradient=lambda points: -points.x / variance(points)[:, None],
        laplacian=lambda points: -dimension / variance(points),
        dt=rate if moving else zero,
        symbol=r"q^{\ast}" if moving else "q_{0}",
    )
