"""The conformance kit catches mistakes: a wrong sign or coefficient planted anywhere makes it fail."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from pinnx.equations import (
    AllenCahn,
    Burgers,
    ClassicalBurgers,
    Darcy,
    DiffusionSorption,
    FokkerPlanck,
    HamiltonJacobiBellman,
    Heat,
    LogFokkerPlanck,
    NavierStokes,
    Poisson,
    RandomBurgers,
    SineGordon,
)
from pinnx.expr import Expr, Input, Known, Points, Symbol, Unknown, add
from pinnx.problem import Equation, Problem
from pinnx.testing.functions import terms
from pinnx.trial import Affine
from tests.equations.conformance import BuiltIn

SUBJECTS: list[Equation] = [
    AllenCahn(5),
    SineGordon(5, frequency=0.7),
    FokkerPlanck(5),
    FokkerPlanck(5, drift="anisotropic"),
    HamiltonJacobiBellman(5),
    HamiltonJacobiBellman(6, cost="rosenbrock"),
    Burgers(5),
    ClassicalBurgers(),
    Poisson(5),
    Poisson(6, solution="products"),
    Poisson(5, solution="quadratic"),
    Heat(5),
    LogFokkerPlanck(5),
]
FAMILIES: list[Equation] = [
    DiffusionSorption(diffusion=0.3),  # of such a size that a changed term shows
    NavierStokes(viscosity=0.3),
    RandomBurgers(viscosity=0.3),
    Darcy(),
]


def fails(equation: Equation, name: str) -> bool:
    """Whether the equation fails a conformance test."""
    try:
        getattr(BuiltIn(), name)(equation)
    except AssertionError:
        return True
    except unittest.SkipTest:
        return False
    return False


def stated(equation: Equation) -> str:
    """The method that states the mathematics: the operator where a forcing is made from it, else the residual."""
    return "operator" if hasattr(equation, "operator") else "residual"


def planted(statement: Callable[..., Expr], place: int, factor: float) -> Callable[..., Expr]:
    """The statement with one of its terms multiplied by a factor, for every function it is applied to."""

    def wrong(self: Equation, *symbols: Symbol) -> Expr:
        return add(*(factor * term if i == place else term for i, term in enumerate(terms(statement(self, *symbols)))))

    return wrong


def symbols_of(equation: Equation) -> list[Symbol]:
    return [*map(Unknown, equation.unknowns, range(9)), *map(Input, equation.inputs, range(9))]


MUTANTS = [
    pytest.param(equation, place, factor, id=f"{equation}: {factor} {term}")
    for equation in [*SUBJECTS, *FAMILIES]
    for place, term in enumerate(terms(getattr(equation, stated(equation))(*symbols_of(equation))))
    for factor in (-1.0, 1.01)
]


@pytest.mark.parametrize("equation", [*SUBJECTS, *FAMILIES], ids=str)
def test_nothing_planted_nothing_found(equation: Equation) -> None:
    assert not [name for name in dir(BuiltIn) if name.startswith("test_") and fails(equation, name)]


@pytest.mark.parametrize(("equation", "place", "factor"), MUTANTS)
def test_a_wrong_sign_or_coefficient_is_found(
    equation: Equation, place: int, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = stated(equation)
    monkeypatch.setattr(type(equation), name, planted(getattr(type(equation), name), place, factor))
    assert fails(equation, "test_residual_agrees_with_the_oracle")


@pytest.mark.parametrize("form", ["gradient", "laplacian", "dt"])
@pytest.mark.parametrize("equation", SUBJECTS, ids=str)
def test_a_wrong_closed_form_is_found(equation: Equation, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = equation.problem()
    exact = problem.exacts[0]
    closed = getattr(exact, form)
    points = problem.domain.sample(2, torch.Generator().manual_seed(BuiltIn.seed))
    if closed is None or not bool(closed(points).any()):
        pytest.skip(f"the solution has no {form} that is not zero")
    wrong = replace(exact, **{form: lambda points: 1.01 * closed(points)})
    monkeypatch.setattr(type(equation), "problem", lambda self: replace(problem, exact=wrong))
    assert fails(equation, "test_closed_forms_are_the_derivatives")


@pytest.mark.parametrize("equation", SUBJECTS, ids=str)
def test_a_wrong_exact_solution_is_found(equation: Equation, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = equation.problem()
    exact = problem.exacts[0]
    wrong = Known("wrong", lambda points: exact(points) + 0.01 * points.tensor.sin().sum(1))
    monkeypatch.setattr(type(equation), "problem", lambda self: replace(problem, exact=wrong))
    assert fails(equation, "test_exact_solution_solves_the_equation_by_automatic_differentiation")


@pytest.mark.parametrize("equation", [e for e in SUBJECTS if isinstance(e.problem().trial, Affine)], ids=str)
@pytest.mark.parametrize("part", ["factor", "offset"])
def test_a_wrong_trial_solution_is_found(equation: Equation, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = equation.problem()
    right = getattr(problem.trial, part)
    wrong = Known("wrong", lambda points: points.tensor.new_full((len(points),), 0.01) + _value(right, points))
    mutant: Problem = replace(problem, trial=replace(problem.trial, **{part: wrong}))
    monkeypatch.setattr(type(equation), "problem", lambda self: mutant)
    assert fails(equation, "test_trial_solution_meets_the_hard_conditions")


def _value(function: Known | float, points: Points) -> torch.Tensor | float:
    return function(points) if isinstance(function, Known) else function
