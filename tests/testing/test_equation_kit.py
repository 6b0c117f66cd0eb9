"""The conformance kit on equations that are not built in: systems, and equations of which little is known."""

from __future__ import annotations

import unittest
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from pinnx.domain import AtTime, Box, Interval, Product
from pinnx.expr import Expr, Known, Points, Symbol, Unknown, dt, evaluate, laplacian, x
from pinnx.problem import Condition, Equation, Problem
from pinnx.testing import EquationConformance
from pinnx.testing.functions import magnitude, random_function, terms

SPACE = Box(-1.0, 1.0, dimension=2)


def _wave(sign: float) -> Known:
    """exp(-t) (sin x1 ± cos x2), with ΔU = -U."""

    def function(points: Points) -> Tensor:
        return torch.exp(-points.t) * (points.x[:, 0].sin() + sign * points.x[:, 1].cos())

    return Known("wave", function, laplacian=lambda points: -function(points), dt=lambda points: -function(points))


@dataclass(frozen=True)
class TwoHeats(Equation):
    """u_t = Δu + rate·(w - exact w) and w_t = Δw: coupled, with a coupling that vanishes on the solution."""

    rate: float = 2.0
    unknowns = ("u", "w")

    def residual(self, u: Symbol, w: Symbol) -> tuple[Expr, Expr]:
        return dt(u) - laplacian(u) - self.rate * (w - _wave(-1.0)), dt(w) - laplacian(w)

    def problem(self) -> Problem:
        initial = Condition("initial", Unknown("w", 1) - _wave(-1.0), AtTime(SPACE, 0.0))
        return Problem(
            equation=self,
            domain=Product(SPACE, Interval(0.0, 1.0)),
            conditions=(initial,),
            exact=(_wave(1.0), _wave(-1.0)),
        )


class TestTwoHeats(EquationConformance):
    def equations(self) -> Sequence[Equation]:
        return [TwoHeats(), TwoHeats(rate=0.5)]

    def oracle(self, equation: Equation, points: Points, *unknowns) -> tuple[Tensor, Tensor]:
        assert isinstance(equation, TwoHeats)
        left = []
        for function in unknowns:
            rows = points.tensor.clone().requires_grad_()
            first = torch.autograd.grad(function(rows).sum(), rows, create_graph=True)[0]
            second = sum(torch.autograd.grad(first[:, i].sum(), rows, retain_graph=True)[0][:, i] for i in range(2))
            left.append(first[:, 2].detach() - second)
        u_left, w_left = left
        return u_left - equation.rate * (unknowns[1](points.tensor) - _wave(-1.0)(points)), w_left


@dataclass(frozen=True)
class Unsolved(Equation):
    """An equation whose solution nobody knows."""

    def residual(self, u: Symbol) -> Expr:
        return laplacian(u) - x[0] * u**2

    def problem(self) -> Problem:
        return Problem(equation=self, domain=SPACE)


class TestUnsolved(EquationConformance):
    def equations(self) -> Sequence[Equation]:
        return [Unsolved()]


@pytest.mark.parametrize("name", ["test_residual_agrees_with_the_oracle", "test_exact_solution_solves_the_equation"])
def test_what_is_not_known_is_skipped_and_not_passed(name: str) -> None:
    with pytest.raises(unittest.SkipTest):
        getattr(TestUnsolved(), name)(Unsolved())


def test_terms_multiply_numbers_into_brackets() -> None:
    u = Unknown("u")
    assert [str(term) for term in terms(laplacian(u) - 2.0 * (u + x[0] * u))] == ["laplacian(u)", "(-2)*u", "(-2)*x1*u"]


def test_magnitude_does_not_cancel() -> None:
    points = SPACE.sample(5, torch.Generator().manual_seed(3769))
    v = random_function(2, 90173)
    zero = v - v
    assert float(evaluate(zero, points).abs().max()) == 0
    torch.testing.assert_close(magnitude(zero, points), 2 * v(points).abs())
