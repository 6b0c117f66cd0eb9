"""The solution that the Allen-Cahn and Sine-Gordon benchmarks in the unit ball share.

u(x) = (1 - |x|²) S(a),  S = Σ_{i<d} c_i sin φ_i,  φ_i = a_i + cos a_{i+1} + a_{i+1} cos a_i,  a = κ x.
"""

from __future__ import annotations

import math
from functools import lru_cache

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
        return (1 - points.x.square().sum(1)) * waves.value(kappa * points.x)

    def gradient(points: Points) -> Tensor:
        x = points.x
        bump = 1 - x.square().sum(1, keepdim=True)
        return bump * kappa * waves.gradient(kappa * x) - 2 * x * waves.value(kappa * x)[:, None]

    def laplacian(points: Points) -> Tensor:
        # Δ(b S) = b ΔS + 2 ∇b·∇S + S Δb with b = 1 - |x|²; and x·∇S = a·∂S/∂a.
        x, a = points.x, kappa * points.x
        flow = (a * waves.gradient(a)).sum(1)
        bump = 1 - x.square().sum(1)
        return bump * kappa**2 * waves.laplacian(a) - 4 * flow - 2 * dimension * waves.value(a)

    return Known("exact", value, gradient=gradient, laplacian=laplacian, symbol=r"u^{\ast}")


class _Waves:
    """S(a) and its derivatives in a."""

    def __init__(self, coefficients: Tensor):
        self.coefficients = coefficients

    def value(self, a: Tensor) -> Tensor:
        return self._phases(a).sin() @ self.coefficients.to(a)

    def gradient(self, a: Tensor) -> Tensor:
        head, tail = a[:, :-1], a[:, 1:]
        outer = self._phases(a).cos() * self.coefficients.to(a)
        result = torch.zeros_like(a)
        result[:, :-1] += outer * (1 - tail * head.sin())
        result[:, 1:] += outer * (head.cos() - tail.sin())
        return result

    def laplacian(self, a: Tensor) -> Tensor:
        head, tail = a[:, :-1], a[:, 1:]
        phases = self._phases(a)
        slopes = (1 - tail * head.sin()).square() + (head.cos() - tail.sin()).square()
        bends = tail * head.cos() + tail.cos()
        return -(phases.sin() * slopes + phases.cos() * bends) @ self.coefficients.to(a)

    @staticmethod
    def _phases(a: Tensor) -> Tensor:
        head, tail = a[:, :-1], a[:, 1:]
        return head + tail.cos() + tail * head.cos()
