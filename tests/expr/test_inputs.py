"""Inputs: known to linearity, degree and slots, differentiable, and given their values by whoever evaluates."""

from __future__ import annotations

import pytest
import torch

from pinnx.errors import InputError
from pinnx.expr import (
    Coordinates,
    Evaluator,
    Input,
    Known,
    Points,
    Unknown,
    Value,
    atoms,
    degree,
    dot,
    evaluate,
    grad,
    input_atoms,
    is_linear,
    laplacian,
    linear_terms,
    partial,
    slots,
    substitute,
    x,
)

u, a = Unknown("u"), Input("a")
EXPR = -a * laplacian(u) - dot(grad(a), grad(u)) - a**2


def test_an_input_is_a_coefficient() -> None:
    assert is_linear(EXPR)
    assert degree(EXPR) == 1
    assert slots(EXPR) == 1
    assert atoms(EXPR)[0] == laplacian(u)
    coefficients, rest = linear_terms(EXPR)
    assert rest == -(Value(a) ** 2)
    assert coefficients[laplacian(u)] == -Value(a)
    assert EXPR.text() == "-a*laplacian(u) - dot(grad(a), grad(u)) - a**2"
    assert Input("kappa").latex() == r"\kappa"


def test_atoms_of_inputs_are_found_inside_directions() -> None:
    assert input_atoms(EXPR) == (Value(a), grad(a))
    assert input_atoms(u**2) == ()
    assert input_atoms(dot(a * grad(a), grad(u))) == (Value(a), grad(a))


def test_values_are_given() -> None:
    points = Points(torch.rand(5, 2, dtype=torch.float64), Coordinates.of(x=2))
    slope = torch.rand(3, 5, dtype=torch.float64)  # of three instances
    found = Evaluator(points, {Value(a): slope, partial(a, x[1]): slope})(a + 2 * partial(a, x[1]))
    torch.testing.assert_close(found, 3 * slope)
    with pytest.raises(InputError, match="a is an input, which an instance of the problem brings"):
        evaluate(a + 1.0, points)


def test_inputs_can_be_substituted() -> None:
    points = Points(torch.rand(5, 2, dtype=torch.float64), Coordinates.of(x=2))
    p = Known("p", lambda at: at.x[:, 0] * at.x[:, 1])
    q = Known("q", lambda at: at.x[:, 0] ** 2 + at.x[:, 1])
    found = evaluate(substitute(EXPR, {u: p, a: q}), points)
    first, second = points.x.T
    value = first**2 + second
    torch.testing.assert_close(found, -(2 * first * second + first) - value**2)
