"""One Gaussian peak in the middle of a cube of many dimensions, which nearly no uniform point meets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.domain import Box, Gaussian
from pinnx.expr import Expr, Known, Points, Symbol, Unknown, laplacian
from pinnx.options import at_least, check_limits, option, positive
from pinnx.problem import Condition, Equation, Problem
from pinnx.trial import Plain


@final
@dataclass(frozen=True)
class GaussianPeak(Equation):
    """-Δu = f in [-1, 1]^d with Dirichlet values, for u = exp(-κ |x|²), published with d = 10 and κ = 10.

    The square of the solution has its mass within √(d/4κ) of the center: in ten dimensions uniform points do not see
    it, and neither would uniform test points. Errors are therefore measured at points from the density ∝ u² of that
    mass, normal with variance 1/4κ.
    """

    references: ClassVar[tuple[str, ...]] = (
        "K. Tang, X. Wan, C. Yang. DAS-PINNs: a deep adaptive sampling method for solving high-dimensional partial "
        "differential equations. J. Comput. Phys. 476 (2023), 111868. arXiv 2112.14038",
    )

    dimension: int = option(10, "number of coordinates", at_least(1))
    sharpness: float = option(10.0, "κ", positive)

    def __post_init__(self) -> None:
        check_limits(self)

    def operator(self, u: Symbol) -> Expr:
        """-Δu."""
        return -laplacian(u)

    def residual(self, u: Symbol) -> Expr:
        """-Δu - f, with f = (2dκ - 4κ²|x|²) exp(-κ|x|²)."""
        return self.operator(u) - self.operator(_peak(self.sharpness))

    def problem(self) -> Problem:
        cube, exact = Box(-1.0, 1.0, dimension=self.dimension), _peak(self.sharpness)
        boundary = Condition("boundary", Unknown("u") - exact, cube.boundary())
        mass = Gaussian(self.dimension, 0.0, 1 / (4 * self.sharpness))
        return Problem(self, cube, trial=Plain(), conditions=(boundary,), exact=exact, test_domain=mass)


@lru_cache(maxsize=8)
def _peak(sharpness: float) -> Known:
    """The solution."""

    def value(points: Points) -> Tensor:
        return torch.exp(-sharpness * points.x.square().sum(1))

    def curvature(points: Points) -> Tensor:
        square, dimension = points.x.square().sum(1), points.x.shape[1]
        return (4 * sharpness**2 * square - 2 * sharpness * dimension) * torch.exp(-sharpness * square)

    return Known(
        "exact",
        value,
        gradient=lambda points: -2 * sharpness * points.x * value(points)[:, None],
        laplacian=curvature,
        symbol=r"u^{\ast}",
    )
