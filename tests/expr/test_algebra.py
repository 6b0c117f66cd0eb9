"""The algebra of expressions keeps the values, the degree and the meaning of what it simplifies."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnx.errors import InputError
from pinnx.expr import (
    Coordinates,
    Expr,
    Known,
    Number,
    Points,
    Unknown,
    Value,
    add,
    cos,
    degree,
    dot,
    dt,
    evaluate,
    exp,
    grad,
    has_unknown,
    hessian,
    is_linear,
    laplacian,
    linear_terms,
    norm2,
    order,
    partial,
    require_linear,
    sin,
    slots,
    substitute,
    t,
    total,
    trace,
    with_slots,
    x,
)
from pinnx.expr.nodes import ConstantVector

U, V = Unknown("u"), Unknown("v", 1)
COORDINATES = Coordinates.of(x=2, t=0)
POINTS = Points(torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(481_516)), COORDINATES)
VALUES = {Value(U): POINTS.x[:, 0] + 1.3, Value(V): POINTS.x[:, 1] * POINTS.t - 0.4}

numbers = st.floats(-3, 3, allow_nan=False).map(lambda value: round(value, 3))
leaves = st.one_of(numbers.map(Number), st.sampled_from([U, V, Value(U), x[0], x[1], t]))


def _grow(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] + pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] - pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] * pair[1]),
        st.tuples(inner, st.integers(0, 3)).map(lambda pair: pair[0] ** pair[1]),
        inner.map(lambda expr: -expr),
        inner.map(sin),
    )


expressions = st.recursive(leaves, _grow, max_leaves=8)
quick = settings(max_examples=120, deadline=None)


def value(expr: Expr) -> torch.Tensor:
    return evaluate(expr, POINTS, VALUES)


def same(left: torch.Tensor, right: torch.Tensor) -> None:
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)


@quick
@given(expressions, expressions)
def test_values_follow_the_operations(a: Expr, b: Expr) -> None:
    same(value(a + b), value(a) + value(b))
    same(value(a - b), value(a) - value(b))
    same(value(a * b), value(a) * value(b))
    same(value(-a), -value(a))
    same(value(a**2), value(a) ** 2)
    same(value(cos(a)), torch.cos(value(a)))


@quick
@given(expressions, expressions, expressions)
def test_ring_laws(a: Expr, b: Expr, c: Expr) -> None:
    same(value(a + b), value(b + a))
    same(value((a + b) + c), value(a + (b + c)))
    same(value(a * (b + c)), value(a * b + a * c))
    assert a - a == Number(0.0) or value(a - a).abs().max() < 1e-9
    assert a * 1 == a * 1.0
    assert a * 0 == Number(0.0)


@quick
@given(expressions, expressions)
def test_degree_adds_in_products_and_is_the_largest_in_sums(a: Expr, b: Expr) -> None:
    if not (isinstance(a * b, Number) or isinstance(a, Number) or isinstance(b, Number)):
        assert degree(a * b) == degree(a) + degree(b)
        assert degree(a + b) <= max(degree(a), degree(b))


@quick
@given(expressions)
def test_slots_cover_the_degree_of_a_polynomial(a: Expr) -> None:
    slotted, count = with_slots(a)
    if degree(a) < float("inf"):
        assert count <= max(degree(a), 0)
        assert (count > 0) == has_unknown(a)
    by_slot = {node: VALUES[Value(node.of)] for node in slotted.walk() if isinstance(node, Value)}
    same(evaluate(slotted, POINTS, by_slot), value(a))


@quick
@given(expressions)
def test_substitution_gives_the_value_of_the_substitute(a: Expr) -> None:
    first = Known("f", lambda p: p.x[:, 0] + 1.3)
    second = Known("g", lambda p: p.x[:, 1] * p.t - 0.4)
    same(evaluate(substitute(a, {U: first, V: second}), POINTS), value(a))


@quick
@given(expressions)
def test_text_and_latex_say_something_balanced(a: Expr) -> None:
    for shown in (a.text(), a.latex()):
        assert shown
        assert shown.count("(") == shown.count(")")
        assert shown.count("{") == shown.count("}")


@quick
@given(expressions)
def test_text_of_a_polynomial_reads_back(a: Expr) -> None:
    names = {"u": VALUES[Value(U)], "v": VALUES[Value(V)], "x1": POINTS.x[:, 0], "x2": POINTS.x[:, 1]}
    text = a.text()
    if "sin" not in text:
        reread = eval(text, {**names, "t": POINTS.t})  # the text is a Python expression by design
        torch.testing.assert_close(torch.as_tensor(reread).double().expand(4), value(a), rtol=1e-4, atol=1e-4)


def test_slots_of_the_published_equations() -> None:
    burgers = dt(U) + U * total(grad(U)) - 0.5 * laplacian(U)
    allen_cahn = laplacian(U) + U - U**3
    assert (slots(burgers), slots(allen_cahn), slots(dt(U) + norm2(grad(U)))) == (2, 3, 2)
    assert slots(laplacian(U) + U) == 1
    assert degree(laplacian(U) + sin(U)) == float("inf")


def test_degree_order_and_linearity() -> None:
    heat = dt(U) - 0.25 * laplacian(U)
    assert (degree(heat), order(heat), is_linear(heat)) == (1, 2, True)
    assert order(partial(U, x[0], x[0], x[1], t)) == 4
    assert degree(exp(t) * U) == 1
    assert degree(1 / U) == float("inf")
    assert degree(1 / t) == 0
    with pytest.raises(InputError, match=r"the direct solve needs .* linear .*u\*\*3 is nonlinear"):
        require_linear(heat - U**3, "the direct solve")


def test_linear_terms_rebuild_the_expression() -> None:
    b = ConstantVector(torch.tensor([0.3, -1.0]))
    expr = 2 * (t * U - 3 * laplacian(U)) + dot(b, x[0] * grad(U)) - x[1] * dt(U) + sin(t)
    coefficients, rest = linear_terms(expr)
    u = Known("f", lambda p: torch.sin(p.x[:, 0] * p.t) * p.x[:, 1])
    rebuilt = add(rest, *(c * substitute(atom, {U: u}) for atom, c in coefficients.items()))
    same(evaluate(rebuilt, POINTS), evaluate(substitute(expr, {U: u}), POINTS))
    assert len(coefficients) == 4


def test_dot_with_a_known_vector_becomes_one_atom() -> None:
    assert dot(x, grad(U)) == dot(grad(U), x)
    assert type(dot(x, grad(U))).__name__ == "Directional"
    assert type(dot(grad(V), grad(U))).__name__ == "Dot"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grad(U) * grad(U), "use dot"),
        (lambda: grad(U) + U, "a scalar and a vector cannot be added"),
        (lambda: grad(U) ** 2, "use norm2"),
        (lambda: U**V, "exponent must be a number"),
        (lambda: dot(U, grad(U)), "dot needs two vectors"),
        (lambda: total(U), "total needs a vector"),
        (lambda: sin(grad(U)), "sin needs a scalar"),
        (lambda: laplacian(U * V), "only an unknown or a Known can be differentiated"),
        (lambda: U + "1", "cannot use a str"),
        (lambda: U * torch.ones(2, 2), r"tensor of shape \(2, 2\)"),
        (lambda: partial(U, x), "partial needs scalar coordinates"),
        (lambda: grad(U, t), "t is a scalar"),
        (lambda: t[0], "has no components"),
        (lambda: trace(torch.ones(2, 3), hessian(U)), r"must be \(d,\) or \(d, d\)"),
        (lambda: trace(1.0, U), "needs hessian"),
        (lambda: evaluate(x[7] + t, POINTS), "has 2 components"),
        (lambda: evaluate(laplacian(U), POINTS), "has no value"),
        (lambda: evaluate(Known("bad", lambda p: p.x) + 0.0 * t + t, POINTS), r"bad must give .* \(4,\)"),
    ],
)
def test_mistakes_are_refused_with_the_reason(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
