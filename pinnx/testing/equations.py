"""The conformance kit of equations: what an equation says of itself must be true, and right to round-off."""

from __future__ import annotations

import math
import pickle
import unittest
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pinnx.domain import Domain
from pinnx.expr import Input, Known, Points, Symbol, Unknown, dt, evaluate, grad, laplacian, substitute
from pinnx.problem import Condition, Equation, Problem
from pinnx.testing.functions import known_functions, magnitude, random_function, without_closed_forms
from pinnx.trial import Affine

Function = Callable[[Tensor], Tensor]
"""A function of the raw points, (n, D) -> (n,), differentiable by torch.autograd."""


class EquationConformance(ABC):
    """Tests that every equation must pass; subclass it in a test module and list your equations.

    A forcing that is made from the exact solution hides a wrong operator: the residual of the exact solution vanishes
    whatever the operator is. So give such an equation an `oracle` too: its residual, written a second time in plain
    torch, from the publication rather than from the class.

    Attributes:
        points: number of points that each test samples.
        seed: draws the points and the random functions.
        tolerance: of rounding errors, relative to the size of the terms.

    Example:
        >>> class TestMyEquation(EquationConformance):
        ...     def equations(self):
        ...         return [MyEquation(dimension=d) for d in (2, 5, 20)]
    """

    points: ClassVar[int] = 12
    seed: ClassVar[int] = 48271
    tolerance: ClassVar[float] = 1e-10

    @abstractmethod
    def equations(self) -> Sequence[Equation]:
        """The equations to test, in several dimensions where they have any: 2, 5 and 20 are the custom."""

    def oracle(self, equation: Equation, points: Points, *unknowns: Function) -> Tensor | tuple[Tensor, ...] | None:
        """The residual, or one per equation of a system, of arbitrary functions: (n,); None leaves the test out.

        The functions are the unknowns and, after them, the inputs."""
        return None

    def hard_conditions(self, equation: Equation) -> Sequence[Condition]:
        """The conditions that the trial solution meets: by default those of `equation.conditions()` not left soft."""
        listed: Sequence[Condition] = getattr(equation, "conditions", tuple)()
        soft = {condition.name for condition in equation.problem().conditions}
        return [condition for condition in listed if condition.name not in soft]

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Called by pytest: each test runs once for each equation."""
        if "equation" in metafunc.fixturenames:
            metafunc.parametrize("equation", self.equations(), ids=_short)

    # -- the equation and its exact solution

    def test_exact_solution_solves_the_equation(self, equation: Equation) -> None:
        """With the closed forms of its derivatives."""
        self._assert_solved(equation, self._exacts(equation))

    def test_exact_solution_solves_the_equation_by_automatic_differentiation(self, equation: Equation) -> None:
        """With derivatives that nobody wrote: this compares every closed form used in a forcing as well."""
        self._assert_solved(equation, tuple(map(without_closed_forms, self._exacts(equation))))

    def test_closed_forms_are_the_derivatives(self, equation: Equation) -> None:
        """Gradient, Laplacian and time derivative of every known function, against automatic differentiation."""
        problem = equation.problem()
        expressions = [*equation.residuals(), *(condition.residual for condition in problem.conditions)]
        parts = [part for trial in problem.trials if isinstance(trial, Affine) for part in (trial.factor, trial.offset)]
        knowns = [*known_functions(expressions), *(part for part in parts if isinstance(part, Known)), *problem.exacts]
        points = self._sample(problem.domain)
        for known in dict.fromkeys(knowns):
            self._assert_closed_forms(known, points)

    def test_conditions_vanish_on_the_exact_solution(self, equation: Equation) -> None:
        """Soft and hard ones."""
        mapping = dict(zip(_unknowns(equation), self._exacts(equation), strict=True))
        for condition in (*equation.problem().conditions, *self.hard_conditions(equation)):
            points = self._sample(condition.domain)
            left = evaluate(substitute(condition.residual, mapping), points)
            size = 1 + magnitude(substitute(condition.residual, mapping), points)
            _assert_small(left / size, self.tolerance, f"the condition {condition.name} of the exact solution")

    def test_residual_agrees_with_the_oracle(self, equation: Equation) -> None:
        """For random functions, which solve nothing."""
        problem = equation.problem()
        points = self._sample(problem.domain)
        columns = points.coordinates.total
        symbols = (*_unknowns(equation), *_inputs(equation))
        functions = [random_function(columns, self.seed + i) for i in range(len(symbols))]
        tensors = [lambda rows, f=f: f(Points(rows, points.coordinates)) for f in functions]
        expected = self.oracle(equation, points, *tensors)
        if expected is None:
            raise unittest.SkipTest("no oracle")
        expected = expected if isinstance(expected, tuple) else (expected,)
        mapping: dict[Symbol, Symbol] = dict(zip(symbols, functions, strict=True))
        for residual, truth in zip(equation.residuals(), expected, strict=True):
            filled = substitute(residual, mapping)
            error = (evaluate(filled, points) - truth) / (1 + magnitude(filled, points))
            _assert_small(error, self.tolerance, "the difference of residual and oracle")

    # -- the problem around it

    def test_trial_solution_meets_the_hard_conditions(self, equation: Equation) -> None:
        """Whatever the network is."""
        problem = equation.problem()
        for condition in self.hard_conditions(equation):
            points = self._sample(condition.domain)
            residual = condition.residual
            for index, (unknown, trial) in enumerate(zip(_unknowns(equation), problem.trials, strict=True)):
                network = random_function(points.coordinates.total, self.seed + index)
                residual = substitute(trial.apply(residual, unknown), {unknown: network})
            size = 1 + magnitude(residual, points) + max(abs(getattr(trial, "scale", 1.0)) for trial in problem.trials)
            _assert_small(evaluate(residual, points) / size, self.tolerance, f"the hard condition {condition.name}")

    def test_trial_solution_depends_on_the_network(self, equation: Equation) -> None:
        """At every point inside: a factor that vanishes there would leave the network nothing to learn."""
        problem = equation.problem()
        points = self._sample(problem.domain)
        for unknown, trial in zip(_unknowns(equation), problem.trials, strict=True):
            first, second = (
                evaluate(substitute(trial.value(unknown), {unknown: Known("c", _constantly(c))}), points)
                for c in (0.0, 1.0)
            )
            difference = second - first
            assert bool((difference.isfinite() & (difference != 0)).all()), "the trial solution ignores the network"

    def test_sampled_points_lie_in_their_domains(self, equation: Equation) -> None:
        """Those of the problem, and those of its conditions."""
        problem = equation.problem()
        for domain in (problem.domain, *(condition.domain for condition in problem.conditions)):
            assert bool(domain.contains(self._sample(domain)).all()), f"{domain} does not contain its own points"
            assert domain.coordinates == problem.domain.coordinates, f"{domain} has other coordinates"

    def test_equal_equations_are_equal(self, equation: Equation) -> None:
        """A copy through a file and one built from the same parameters give the same residuals and scales."""
        copies = [pickle.loads(pickle.dumps(equation))]
        if is_dataclass(equation):
            copies.append(type(equation)(**{f.name: getattr(equation, f.name) for f in fields(equation)}))
        points = self._sample(equation.problem().domain)
        expected = self._residual_values(equation, points)
        for copy in copies:
            torch.testing.assert_close(self._residual_values(copy, points), expected, rtol=0, atol=0)
            assert _scales(copy.problem()) == _scales(equation.problem())

    def test_single_precision_stays_single(self, equation: Equation) -> None:
        """Residuals at float32 points are finite float32."""
        points = self._sample(equation.problem().domain).to(torch.float32)
        for values in self._residual_values(equation, points):
            assert values.dtype == torch.float32
            assert bool(values.isfinite().all())

    def test_equation_can_be_read(self, equation: Equation) -> None:
        """As text and as LaTeX, with its references."""
        for residual in equation.residuals():
            for shown in (residual.text(), residual.latex()):
                assert shown.strip()
                assert " object at 0x" not in shown
        assert all(isinstance(reference, str) and reference for reference in equation.references)

    def test_scale_is_a_size(self, equation: Equation) -> None:
        """Positive and finite."""
        assert all(math.isfinite(scale) and scale > 0 for scale in _scales(equation.problem()))

    # -- tools

    def _sample(self, domain: Domain) -> Points:
        return domain.sample(self.points, torch.Generator().manual_seed(self.seed))

    def _exacts(self, equation: Equation) -> tuple[Known, ...]:
        exacts = equation.problem().exacts
        if not exacts:
            raise unittest.SkipTest("no exact solution")
        return exacts

    def _assert_solved(self, equation: Equation, solution: tuple[Known, ...]) -> None:
        points = self._sample(equation.problem().domain)
        mapping: dict[Unknown, Symbol] = dict(zip(_unknowns(equation), solution, strict=True))
        for residual in equation.residuals():
            filled = substitute(residual, mapping)
            relative = evaluate(filled, points) / (1 + magnitude(filled, points))
            _assert_small(relative, self.tolerance, "the residual of the exact solution")

    def _assert_closed_forms(self, known: Known, points: Points) -> None:
        bare = without_closed_forms(known)
        functionals = [grad, laplacian, *([dt] if "t" in points.coordinates.names else [])]
        for functional in functionals:
            closed, truth = (evaluate(functional(function), points) for function in (known, bare))
            size = 1 + truth.square().mean().sqrt()
            _assert_small((closed - truth) / size, self.tolerance, f"the error of {functional(known)}")

    def _residual_values(self, equation: Equation, points: Points) -> list[Tensor]:
        columns = points.coordinates.total
        symbols = (*_unknowns(equation), *_inputs(equation))
        mapping = {symbol: random_function(columns, self.seed + i) for i, symbol in enumerate(symbols)}
        return [evaluate(substitute(residual, mapping), points) for residual in equation.residuals()]


def _unknowns(equation: Equation) -> tuple[Unknown, ...]:
    return tuple(Unknown(name, index) for index, name in enumerate(equation.unknowns))


def _inputs(equation: Equation) -> tuple[Input, ...]:
    return tuple(Input(name, index) for index, name in enumerate(equation.inputs))


def _scales(problem: Problem) -> list[float]:
    return [getattr(trial, "scale", 1.0) for trial in problem.trials]


def _constantly(value: float) -> Callable[[Points], Tensor]:
    return lambda points: points.tensor.new_full((len(points),), value)


def _assert_small(relative: Tensor, tolerance: float, what: str) -> None:
    worst = float(relative.abs().max())
    assert worst <= tolerance, f"{what} is {worst:.3g} of the size of its terms; expected at most {tolerance:.0e}"


def _short(equation: Equation) -> str:
    return str(equation).replace(type(equation).__name__, "", 1).strip("()").replace(", ", ",")
