"""The elliptic Sine-Gordon equation in the unit ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from pinnx.equations.manufactured import ball, ball_factor, two_body_solution
from pinnx.equations.scale import scale_from_residual
from pinnx.expr import Expr, Symbol, Unknown, laplacian, sin
from pinnx.options import at_least, check_limits, option
from pinnx.problem import Condition, Equation, Problem
from pinnx.trial import Affine


@final
@dataclass(frozen=True)
class SineGordon(Equation):
    """Δu + sin u = g in the unit ball, u = 0 on the sphere, with the manufactured solution of `AllenCahn`.

    Where u itself is estimated (smoothing with Stein's weights), its sine has no unbiased estimate from finitely many
    samples: the loss can be corrected, not this term.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Z. Hu, K. Shukla, G. E. Karniadakis, K. Kawaguchi. Tackling the curse of dimensionality with physics-informed "
        "neural networks. Neural Networks 176 (2024), 106369. arXiv 2307.12306",
        "Z. Hu, Z. Yang, Y. Wang, G. E. Karniadakis, K. Kawaguchi. Bias-variance trade-off in physics-informed neural "
        "networks with randomized smoothing for high-dimensional PDEs. SIAM J. Sci. Comput. 47(4) (2025). "
        "arXiv 2311.15283",
    )

    dimension: int = option(100, "number of space coordinates, at least 2", at_least(2))
    frequency: float = option(
        0.0, "0: the published solution; ω > 0: its arguments are ω·√d·x, so that it keeps its variation", at_least(0)
    )
    seed: int = option(20917, "draws the coefficients c_i ~ N(0, 1) of the solution", at_least(0))

    def __post_init__(self) -> None:
        check_limits(self)

    def operator(self, u: Symbol) -> Expr:
        """Δu + sin u."""
        return laplacian(u) + sin(u)

    def residual(self, u: Symbol) -> Expr:
        """Δu + sin u - g, with the forcing g of the exact solution."""
        return self.operator(u) - self.operator(two_body_solution(self.dimension, self.frequency, self.seed))

    def conditions(self) -> tuple[Condition, ...]:
        """That u = 0 on the sphere; the trial solution meets it."""
        return (Condition("boundary", Unknown("u"), ball(self.dimension).boundary()),)

    def problem(self) -> Problem:
        domain, factor = ball(self.dimension), ball_factor()
        # A solution of frequency ω has a Laplacian 1 + ω² times that of the factor.
        scale = scale_from_residual(self.residual, domain, factor) / (1 + self.frequency**2)
        exact = two_body_solution(self.dimension, self.frequency, self.seed)
        return Problem(equation=self, domain=domain, trial=Affine(factor, 0.0, scale), exact=exact)
