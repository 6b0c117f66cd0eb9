"""The solution that the Allen-Cahn and Sine-Gordon benchmarks in the unit ball share.

u(x) = (1 - |x|²) S(a),  S = Σ_{i<d} c_i sin φ_i,  φ_i = a_i + cos a_{i+1} + a_{i+1} cos a_i,  a = κ x.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from pinnx.domain import Ball
from pinnx.equations.draws import normal
from pinnx.expr import Known, Points


def ball(dimension: int) -> Ball:
    """The unit ball, with the benchmarks' law of the radius, U(0, 1)."""
    return Ball(dimension, 1.0, radius_law="uniform-radius")


def ball_factor() -> Known:
    """1 - |x|², which vanishes on the unit sphere."""
    return Known(
        "(1 - |x|**2)",
        lambda points: 1 - points.x.square().sum(1),
        gradient=lambda points: -2 * points.x,
        laplacian=lambda points: points.x.new_full((1,), -2.0 * points.x.shape[1]),
        symbol=r"(1 - |\mathbf{x}|^{2})",
    )


@lru_cache(maxsize=16)
def two_body_solution(dimension: int, frequency: float, seed: int) -> Known:
    """The manufactured solution with c ~ N(0, 1) and κ = 1 (frequency 0) or κ = frequency·√d.

    In the unit ball coordinates shrink like 1/√d, so that with κ = 1 the solution tends to (1 - |x|²)·(an affine
    function) as d grows. With κ ∝ √d the arguments a_i keep their size, and the solution its variation.

    All derivatives are closed forms of cost and memory O(n d).
    """
    kappa = frequency * math.sqrt(dimension) if frequency else 1.0
    waves = _Waves(normal(dimension - 1, seed))

    def value(points: Points) -> Tensor:
        return (1 - points.x.square().sum(1)) * waves.at(kappa * points.x).value()

    def gradient(points: Points) -> Tensor:
        x = points.x
        bump = 1 - x.square().sum(1, keepdim=True)
        here = waves.at(kappa * x)
        return bump * kappa * here.gradient() - 2 * x * here.value()[:, None]

    def laplacian(points: Points) -> Tensor:
        # Δ(b S) = b ΔS + 2 ∇b·∇S + S Δb with b = 1 - |x|²; and x·∇S = a·∂S/∂a.
        bump, here = 1 - points.x.square().sum(1), waves.at(kappa * points.x)
        return bump * kappa**2 * here.laplacian() - 4 * here.flow() - 2 * dimension * here.value()

    return Known("exact", value, gradient=gradient, laplacian=laplacian, symbol=r"u^{\ast}")


class _Waves:
    """S, by its coefficients c."""

    def __init__(self, coefficients: Tensor):
        self.coefficients = coefficients

    def at(self, a: Tensor) -> _WavesAt:
        """S at points a (n, d)."""
        return _WavesAt(self.coefficients.to(a), a)


class _WavesAt:
    """S and its derivatives in a at some points; sines and cosines are the cost, and each is taken once."""

    def __init__(self, coefficients: Tensor, a: Tensor):
        self.coefficients, self.a = coefficients, a
        self.head, self.tail = a[:, :-1], a[:, 1:]
        self.cosines = a.cos()
        self.phases = self.head + self.cosines[:, 1:] + self.tail * self.cosines[:, :-1]

    @cached_property
    def _sines(self) -> Tensor:
        return self.a.sin()

    @cached_property
    def _sine(self) -> Tensor:
        return self.phases.sin()

    @cached_property
    def _cosine(self) -> Tensor:
        return self.phases.cos()

    @cached_property
    def _slopes(self) -> tuple[Tensor, Tensor]:
        """∂φ_i/∂a_i and ∂φ_i/∂a_{i+1}."""
        sines = self._sines
        return 1 - self.tail * sines[:, :-1], self.cosines[:, :-1] - sines[:, 1:]

    def value(self) -> Tensor:
        return self._sine @ self.coefficients

    def gradient(self) -> Tensor:
        outer = self._cosine * self.coefficients
        result = torch.zeros_like(self.a)
        for part, slope in zip((result[:, :-1], result[:, 1:]), self._slopes, strict=True):
            part += outer * slope
        return result

    def flow(self) -> Tensor:
        """a·∇S."""
        own, next_one = self._slopes
        return (self._cosine * (self.head * own + self.tail * next_one)) @ self.coefficients

    def laplacian(self) -> Tensor:
        own, next_one = self._slopes
        bends = self.tail * self.cosines[:, :-1] + self.cosines[:, 1:]
        return -(self._sine * (own.square() + next_one.square()) + self._cosine * bends) @ self.coefficients
