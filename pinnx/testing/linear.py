"""The conformance kit of search directions: what a direction says of itself must be true, and solves with it safe."""

from __future__ import annotations

import unittest
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.solvers.linear import (
    Direction,
    GridOperator,
    LinearOperator,
    PreparedDirection,
    grid_operator,
    random_obstacle_problem,
    random_right_hand_sides,
    solve,
)
from pinnx.solvers.linear.state import select_prepared


class LinearSolverConformance(ABC):
    """Tests that every search direction must pass; subclass it in a test module and list your directions.

    An operator that a direction refuses with `UnsupportedError` is skipped, with that sentence as the reason.

    Attributes:
        seed: draws vectors and random operators.
        tolerance: of the relative residual in solves.
        rounding: of the direction's own arithmetic, relative: 1e-5 suits one that works in float32.

    Example:
        >>> class TestMyDirection(LinearSolverConformance):
        ...     def directions(self):
        ...         return [MyDirection(), MyDirection(levels=3)]
    """

    seed: ClassVar[int] = 60271
    tolerance: ClassVar[float] = 1e-8
    rounding: ClassVar[float] = 1e-10
    _made: ClassVar[dict[str, LinearOperator]]
    _counted: ClassVar[dict[str, Tensor]]

    @abstractmethod
    def directions(self) -> Sequence[Direction]:
        """The directions to test."""

    def operators(self) -> Mapping[str, LinearOperator]:
        """The operators to test on, by name."""
        generator = torch.Generator().manual_seed(self.seed)
        return {
            "line": grid_operator((33,)),
            "square": grid_operator((24, 24), nodes="vertices"),
            "mixed": grid_operator((20, 12), sides=[("dirichlet", "neumann"), "neumann"], reaction=0.1),
            "cube": grid_operator((8, 8, 8)),
            "obstacles": random_obstacle_problem((14, 12), 1, generator=generator),
            "batch": random_obstacle_problem((12, 14), 3, generator=generator),
        }

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Called by pytest: each test runs once for each direction and operator."""
        if "direction" in metafunc.fixturenames:
            metafunc.parametrize("direction", self.directions(), ids=_short)
        if "name" in metafunc.fixturenames:
            metafunc.parametrize("name", list(self.operators()))

    def test_solves(self, direction: Direction, name: str) -> None:
        """Every column reaches the tolerance, by the true residual."""
        operator, _, b = self._set_up(direction, name)
        result = solve(operator, b, direction=direction, rtol=self.tolerance)
        assert result.ok, [status.message for status in result.status]
        residuals = torch.linalg.vector_norm(operator.residual(b, result.x), dim=1)
        assert bool((residuals <= self.tolerance * torch.linalg.vector_norm(b, dim=1)).all())

    def test_needs_no_more_iterations_than_conjugate_gradients(self, direction: Direction, name: str) -> None:
        """Up to a tenth, and one for small numbers."""
        operator, _, b = self._set_up(direction, name)
        found = solve(operator, b, direction=direction, rtol=self.tolerance).iterations
        plain = self._plain(name, operator, b)
        assert bool((found <= 1.1 * plain + 1).all()), f"{found.tolist()} against {plain.tolist()}"

    def test_is_linear_if_it_says_so(self, direction: Direction, name: str) -> None:
        """f(a x + b y) = a f(x) + b f(y), up to rounding."""
        operator, prepared, b = self._set_up(direction, name)
        if not direction.linear:
            raise unittest.SkipTest("it does not say so")
        other = b.roll(1, dims=1) * operator.diagonal().sign()
        together, apart = prepared(2.0 * b - 3.0 * other), 2.0 * prepared(b) - 3.0 * prepared(other)
        self._assert_close(together, apart, "f(2r - 3s) and 2f(r) - 3f(s)")

    def test_is_symmetric_if_it_says_so(self, direction: Direction, name: str) -> None:
        """And positive definite: u·f(v) = v·f(u), and r·f(r) > 0."""
        _, prepared, b = self._set_up(direction, name)
        if not direction.symmetric:
            raise unittest.SkipTest("it does not say so")
        other = self._vectors(b)
        image, other_image = prepared(b), prepared(other)
        left, right = (other * image).sum(1), (b * other_image).sum(1)
        size = torch.linalg.vector_norm(other, dim=1) * torch.linalg.vector_norm(image, dim=1)
        assert bool(((left - right).abs() <= 10 * self.rounding * size).all()), "u·f(v) and v·f(u) differ"
        assert bool(((b * image).sum(1) > 0).all()), "r·f(r) is not positive"

    def test_columns_are_independent(self, direction: Direction, name: str) -> None:
        """A batch gives what its columns give, and `select` picks systems."""
        operator, prepared, b = self._set_up(direction, name)
        b = b if operator.systems > 1 else torch.cat([b, self._vectors(b)])
        together = prepared(b)
        for column in range(len(b)):
            index = torch.tensor([column])
            one = direction.prepare(operator.select(index))(b[index])
            self._assert_close(together[index], one, f"column {column} in a batch and alone")
            if operator.systems > 1 and hasattr(prepared, "select"):
                self._assert_close(
                    select_prepared(prepared, index, len(b))(b[index]), one, "a selected system and the same one alone"
                )

    def test_leaves_its_argument_alone(self, direction: Direction, name: str) -> None:
        """Neither the residual nor an earlier result is changed."""
        _, prepared, b = self._set_up(direction, name)
        before = b.clone()
        first = prepared(b)
        kept = first.clone()
        prepared(2.0 * b)
        assert torch.equal(before, b), "the residual was changed in place"
        assert torch.equal(first, kept), "an earlier result was overwritten"

    def _set_up(self, direction: Direction, name: str) -> tuple[LinearOperator, PreparedDirection, Tensor]:
        operator = self._operator(name)
        try:
            prepared = direction.prepare(operator)
        except UnsupportedError as error:
            raise unittest.SkipTest(str(error)) from None
        generator = torch.Generator().manual_seed(self.seed)
        if isinstance(operator, GridOperator):
            return operator, prepared, random_right_hand_sides(operator, operator.systems, generator=generator)
        return (
            operator,
            prepared,
            torch.randn(operator.systems, operator.shape[0], generator=generator, dtype=operator.dtype),
        )

    def _operator(self, name: str) -> LinearOperator:
        """The operators are made once for each class."""
        if "_made" not in vars(type(self)):
            type(self)._made = dict(self.operators())
        return type(self)._made[name]

    def _plain(self, name: str, operator: LinearOperator, b: Tensor) -> Tensor:
        """Iterations of conjugate gradients, counted once for each class."""
        if "_counted" not in vars(type(self)):
            type(self)._counted = {}
        if name not in type(self)._counted:
            type(self)._counted[name] = solve(operator, b, rtol=self.tolerance).iterations
        return type(self)._counted[name]

    def _vectors(self, like: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed + 1)
        return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like) * (like != 0)

    def _assert_close(self, found: Tensor, expected: Tensor, what: str) -> None:
        size = torch.linalg.vector_norm(expected)
        difference = torch.linalg.vector_norm(found - expected)
        assert bool(difference <= self.rounding * size), f"{what} differ by {float(difference / size):.1e}"


def _short(direction: Direction) -> str:
    """Its class and the options that are not the default."""
    listed = fields(direction) if is_dataclass(direction) else ()
    values = [(field, getattr(direction, field.name)) for field in listed]
    return "-".join([type(direction).__name__, *(str(value) for field, value in values if value != field.default)])
