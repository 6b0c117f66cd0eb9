"""The Poisson equation in the unit cube."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

from torch import Tensor

from pinnx.domain import Box
from pinnx.equations.fields import squared_norm, zero
from pinnx.equations.scale import scale_from_conditions
from pinnx.expr import Expr, Known, Points, Symbol, Unknown, laplacian
from pinnx.options import at_least, check_limits, one_of, option
from pinnx.problem import Condition, Equation, Problem
from pinnx.trial import Plain


@final
@dataclass(frozen=True)
class Poisson(Equation):
    """-Δu = f in [0, 1]^d with Dirichlet values, for one of three published solutions.

    "cosines" is u = Σ cos πx_i (published in 5 dimensions), "products" u = Σ x_{2k-1} x_{2k} (10 dimensions, harmonic),
    "quadratic" u = |x|² (100 dimensions).
    """

    references: ClassVar[tuple[str, ...]] = (
        "W. E, B. Yu. The deep Ritz method. Commun. Math. Stat. 6 (2018), 1-12. arXiv 1710.00211",
        "F. Dangel, J. Müller, M. Zeinhofer. Kronecker-factored approximate curvature for physics-informed neural "
        "networks. NeurIPS 2024. arXiv 2405.15603",
        "A. Guzmán-Cordero, F. Dangel, G. Goldshlager, M. Zeinhofer. Improving energy natural gradient descent through "
        "Woodbury, momentum, and randomization. NeurIPS 2025. arXiv 2505.12149",
    )

    dimension: int = option(5, "number of space coordinates; even for the products", at_least(1))
    solution: str = option(
        "cosines", "exact solution: cosines, products or quadratic", one_of("cosines", "products", "quadratic")
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.solution == "products" and self.dimension % 2:
            raise ValueError(f"dimension must be even for the solution 'products', got {self.dimension}")

    def operator(self, u: Symbol) -> Expr:
        """-Δu."""
        return -laplacian(u)

    def residual(self, u: Symbol) -> Expr:
        """-Δu - f, with the forcing f of the exact solution."""
        return self.operator(u) - self.operator(_SOLUTIONS[self.solution]())

    def conditions(self) -> tuple[Condition, ...]:
        """The Dirichlet values of the exact solution."""
        boundary = Box(0.0, 1.0, dimension=self.dimension).boundary()
        return (Condition("boundary", Unknown("u") - _SOLUTIONS[self.solution](), boundary),)

    def problem(self) -> Problem:
        conditions = self.conditions()
        return Problem(
            equation=self,
            domain=Box(0.0, 1.0, dimension=self.dimension),
            trial=Plain(scale_from_conditions(conditions, Unknown("u"))),
            conditions=conditions,
            exact=_SOLUTIONS[self.solution](),
        )


@lru_cache(maxsize=1)
def _cosines() -> Known:
    return Known(
        "exact",
        lambda points: (math.pi * points.x).cos().sum(1),
        gradient=lambda points: -math.pi * (math.pi * points.x).sin(),
        laplacian=lambda points: -(math.pi**2) * (math.pi * points.x).cos().sum(1),
        symbol=r"u^{\ast}",
    )


@lru_cache(maxsize=1)
def _products() -> Known:
    def swapped(points: Points) -> Tensor:
        return points.x.unflatten(1, (-1, 2)).flip(2).flatten(1)

    return Known(
        "exact",
        lambda points: (points.x[:, 0::2] * points.x[:, 1::2]).sum(1),
        gradient=swapped,
        laplacian=zero,
        symbol=r"u^{\ast}",
    )


_SOLUTIONS = {"cosines": _cosines, "products": _products, "quadratic": lru_cache(maxsize=1)(squared_norm)}
