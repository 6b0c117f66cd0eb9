"""The heat equation in the unit cube."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.domain import AtTime, Box, Interval, Product
from pinnx.equations.fields import elapsed, zero
from pinnx.equations.scale import scale_from_conditions, scale_from_residual
from pinnx.expr import Expr, Known, Points, Symbol, Unknown, dt, laplacian
from pinnx.options import at_least, check_limits, one_of, option
from pinnx.problem import Condition, Equation, Problem
from pinnx.trial import Affine, Plain


@final
@dataclass(frozen=True)
class Heat(Equation):
    """∂_t u = ¼Δu in [0, 1]^d × [0, 1] with initial and Dirichlet values of exp(-t)·Σ sin 2x_i."""

    references: ClassVar[tuple[str, ...]] = (
        "F. Dangel, J. Müller, M. Zeinhofer. Kronecker-factored approximate curvature for physics-informed neural "
        "networks. NeurIPS 2024. arXiv 2405.15603",
        "A. Guzmán-Cordero, F. Dangel, G. Goldshlager, M. Zeinhofer. Improving energy natural gradient descent through "
        "Woodbury, momentum, and randomization. NeurIPS 2025. arXiv 2505.12149",
    )

    dimension: int = option(4, "number of space coordinates", at_least(1))
    initial: str = option(
        "soft",
        "how the initial condition holds: soft (published) or hard, in the trial solution",
        one_of("soft", "hard"),
    )

    def __post_init__(self) -> None:
        check_limits(self)

    def residual(self, u: Symbol) -> Expr:
        """∂_t u - ¼Δu."""
        return dt(u) - 0.25 * laplacian(u)

    def conditions(self) -> tuple[Condition, ...]:
        """The initial values, and the Dirichlet values on the faces."""
        u, space = Unknown("u"), Box(0.0, 1.0, dimension=self.dimension)
        return (
            Condition("initial", u - _sines(decay=False), AtTime(space, 0.0)),
            Condition("boundary", u - _sines(decay=True), Product(space.boundary(), Interval(0.0, 1.0))),
        )

    def problem(self) -> Problem:
        domain = Product(Box(0.0, 1.0, dimension=self.dimension), Interval(0.0, 1.0))
        conditions, exact = self.conditions(), _sines(decay=True)
        if self.initial == "soft":
            trial = Plain(scale_from_conditions(conditions, Unknown("u")))
            return Problem(equation=self, domain=domain, trial=trial, conditions=conditions, exact=exact)
        factor, start = elapsed(), _sines(decay=False)
        scale = scale_from_residual(self.residual, domain, factor, start)
        trial = Affine(factor, start, scale)
        return Problem(equation=self, domain=domain, trial=trial, conditions=conditions[1:], exact=exact)


@lru_cache(maxsize=2)
def _sines(*, decay: bool) -> Known:
    """Σ sin 2x_i, with the factor exp(-t) if it decays."""

    def factor(points: Points) -> Tensor:
        return torch.exp(-points.t) if decay else points.t.new_ones(1)

    def value(points: Points) -> Tensor:
        return factor(points) * (2 * points.x).sin().sum(1)

    return Known(
        "exact" if decay else "u0",
        value,
        gradient=lambda points: 2 * factor(points)[:, None] * (2 * points.x).cos(),
        laplacian=lambda points: -4 * value(points),
        dt=(lambda points: -value(points)) if decay else zero,
        symbol=r"u^{\ast}" if decay else "u_{0}",
    )
