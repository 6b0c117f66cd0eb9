"""Two narrow peaks in a square: a problem whose residual uniform points hardly ever meet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.domain import Box
from pinnx.equations.fields import squared_norm
from pinnx.expr import Expr, Known, Points, Symbol, Unknown, dot, grad, laplacian
from pinnx.options import check_limits, one_of, option, positive
from pinnx.problem import Condition, Equation, Problem
from pinnx.trial import Affine, Plain


@final
@dataclass(frozen=True)
class TwoPeaks(Equation):
    """-∇·(u ∇v) + Δu = f in [-1, 1]², v = |x|², for u = Σ exp(-κ |x ∓ c|²) with c = (½, ½) and κ = 1000.

    The forcing f is the operator applied to the solution. Each peak is 0.03 wide: three uniform points in a thousand
    fall on one. On the boundary u is below exp(-κ/4), zero for every practical purpose, and that is what the hard
    condition says.
    """

    references: ClassVar[tuple[str, ...]] = (
        "K. Tang, X. Wan, C. Yang. DAS-PINNs: a deep adaptive sampling method for solving high-dimensional partial "
        "differential equations. J. Comput. Phys. 476 (2023), 111868. arXiv 2112.14038",
    )

    sharpness: float = option(
        1000.0, "κ; hard constraints need 200, so that the peaks vanish on the boundary", positive
    )
    constraints: str = option(
        "soft", "how the boundary condition holds: soft (published) or hard, in the trial solution",
        one_of("soft", "hard"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_limits(self)
        if self.constraints == "hard" and self.sharpness < 200:
            raise ValueError(f"sharpness must be at least 200 with hard constraints, got {self.sharpness!r}")

    def operator(self, u: Symbol) -> Expr:
        """-∇·(u ∇v) + Δu."""
        v = squared_norm()
        return laplacian(u) - dot(grad(v), grad(u)) - 4.0 * u

    def residual(self, u: Symbol) -> Expr:
        """The operator on u less the forcing."""
        return self.operator(u) - self.operator(_peaks(self.sharpness))

    def conditions(self) -> tuple[Condition, ...]:
        """The values of the solution on the edges."""
        edges = Box(-1.0, 1.0, dimension=2).boundary()
        return (Condition("boundary", Unknown("u") - _peaks(self.sharpness), edges),)

    def problem(self) -> Problem:
        square, exact = Box(-1.0, 1.0, dimension=2), _peaks(self.sharpness)
        if self.constraints == "hard":
            return Problem(self, square, trial=Affine(_edges(), 0.0), exact=exact)
        return Problem(self, square, trial=Plain(), conditions=self.conditions(), exact=exact)


@lru_cache(maxsize=8)
def _peaks(sharpness: float) -> Known:
    """The solution."""

    def each(points: Points) -> list[tuple[Tensor, Tensor]]:
        offsets = [points.x - center for center in (0.5, -0.5)]
        return [(offset, torch.exp(-sharpness * offset.square().sum(1))) for offset in offsets]

    def gradient(points: Points) -> Tensor:
        parts = [-2 * sharpness * offset * peak[:, None] for offset, peak in each(points)]
        return parts[0] + parts[1]

    def curvature(points: Points) -> Tensor:
        parts = [(4 * sharpness**2 * offset.square().sum(1) - 4 * sharpness) * peak for offset, peak in each(points)]
        return parts[0] + parts[1]

    def value(points: Points) -> Tensor:
        (_, first), (_, second) = each(points)
        return first + second

    return Known("exact", value, gradient=gradient, laplacian=curvature, symbol=r"u^{\ast}")


@lru_cache(maxsize=1)
def _edges() -> Known:
    """(1 - x₁²)(1 - x₂²), which vanishes on the boundary."""

    def value(points: Points) -> Tensor:
        return (1 - points.x.square()).prod(1)

    return Known(
        "(1 - x1**2) (1 - x2**2)",
        value,
        gradient=lambda points: -2 * points.x * (1 - points.x.square()).flip(1),
        laplacian=lambda points: -2 * (1 - points.x.square()).sum(1),
        symbol=r"(1 - x_{1}^{2}) (1 - x_{2}^{2})",
    )
