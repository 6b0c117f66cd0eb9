"""What can be said of an expression before it is evaluated: atoms, degree, order, linearity, slots."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pinnx.errors import InputError
from pinnx.expr.atoms import Atom, Directional, Input, Symbol, Unknown, Value
from pinnx.expr.nodes import Custom, Dot, Expr, Function, Number, Power, Product, Sum, add, dot, has_unknown, multiply


def map_leaves(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The expression with `change` applied to every node without children."""
    if not expr.children:
        return change(expr)
    return expr.rebuild(tuple(map_leaves(child, change) for child in expr.children))


def with_explicit_values(expr: Expr) -> Expr:
    """The expression with every bare symbol replaced by its `Value` atom."""
    return map_leaves(expr, lambda leaf: Value(leaf) if isinstance(leaf, Symbol) else leaf)


def substitute(expr: Expr, functions: Mapping[Any, Symbol]) -> Expr:
    """The expression with unknowns, or inputs, replaced by other functions: `substitute(residual, {u: exact})` is the
    residual of the exact solution."""

    def change(leaf: Expr) -> Expr:
        if isinstance(leaf, Directional):
            leaf = replace(leaf, vector=map_leaves(leaf.vector, change))
        if isinstance(leaf, Atom) and isinstance(leaf.of, (Unknown, Input)):
            return leaf.on(functions.get(leaf.of, leaf.of))
        return functions.get(leaf, leaf) if isinstance(leaf, (Unknown, Input)) else leaf

    return map_leaves(expr, change)


def atoms(*expressions: Expr) -> tuple[Atom, ...]:
    """The distinct atoms of unknowns, in order of appearance; bare unknowns count as their value."""
    found: dict[Atom, None] = {}
    for expr in expressions:
        for node in with_explicit_values(expr).walk():
            if isinstance(node, Atom) and node.unknown:
                found[node] = None
    return tuple(found)


def input_atoms(*expressions: Expr) -> tuple[Atom, ...]:
    """The distinct atoms of inputs, in order of appearance, those inside directions of derivatives included; bare
    inputs count as their value."""
    found: dict[Atom, None] = {}
    for expr in expressions:
        for node in with_explicit_values(expr).walk():
            if isinstance(node, Atom) and isinstance(node.of, Input):
                found[node] = None
            if isinstance(node, Directional):
                found |= dict.fromkeys(input_atoms(node.vector))
    return tuple(found)


def _of_unknown(atom: Atom) -> bool:
    return atom.unknown


def degree(expr: Expr, counted: Callable[[Atom], bool] = _of_unknown) -> float:
    """Polynomial degree in the unknowns and their derivatives; infinite where it is no polynomial.

    Args:
        expr: the expression.
        counted: which atoms are variables, the others being constants; by default all those of unknowns.
    """
    inner = [degree(child, counted) for child in expr.children]
    if isinstance(expr, (Product, Dot)):
        return sum(inner)
    if isinstance(expr, Power):
        natural = isinstance(expr.exponent, int) and expr.exponent > 0
        return inner[0] * expr.exponent if natural and inner[0] else 0 if not inner[0] else math.inf
    if isinstance(expr, (Function, Custom)):
        return math.inf if any(inner) else 0
    if isinstance(expr, Symbol):
        expr = Value(expr)
    if isinstance(expr, Atom):
        return 1 if expr.unknown and counted(expr) else 0
    return max(inner, default=0)


def order(expr: Expr) -> int:
    """Highest order of differentiation of an unknown."""
    return max((atom.order for atom in atoms(expr)), default=0)


def is_linear(expr: Expr) -> bool:
    """Whether the expression is affine in the unknowns."""
    return degree(expr) <= 1


def require_linear(expr: Expr, purpose: str) -> None:
    """Raise InputError naming the first nonlinear term, unless the expression is affine in the unknowns.

    Args:
        expr: the expression.
        purpose: who needs it linear, such as "the direct least-squares solve".

    Raises:
        InputError: the expression is not affine.
    """
    for term in expr.terms if isinstance(expr, Sum) else (expr,):
        if not is_linear(term):
            raise InputError(f"{purpose} needs an equation that is linear in its unknowns; {term} is nonlinear")


def linear_terms(expr: Expr) -> tuple[dict[Atom, Expr], Expr]:
    """The coefficient of every scalar atom, and the rest: expr = Σ coefficient·atom + rest.

    Raises:
        InputError: the expression is not affine in the unknowns, or uses a vector atom that is not contracted.
    """
    require_linear(expr, "linear_terms")
    return _linear_terms(with_explicit_values(expr))


def _linear_terms(expr: Expr) -> tuple[dict[Atom, Expr], Expr]:
    if not has_unknown(expr):
        return {}, expr
    if isinstance(expr, Atom) and expr.rank == 0:
        return {expr: Number(1.0)}, Number(0.0)
    if isinstance(expr, Sum):
        coefficients: dict[Atom, Expr] = {}
        rests: list[Expr] = []
        for term in expr.terms:
            inner, rest = _linear_terms(term)
            for atom, coefficient in inner.items():
                coefficients[atom] = add(coefficients.get(atom, 0.0), coefficient)
            rests.append(rest)
        return coefficients, add(*rests)
    if isinstance(expr, Product) and expr.rank == 0:
        (inside,) = (factor for factor in expr.factors if has_unknown(factor))
        outside = multiply(*(factor for factor in expr.factors if factor is not inside))
        inner, rest = _linear_terms(inside)
        return {atom: multiply(outside, c) for atom, c in inner.items()}, multiply(outside, rest)
    if isinstance(expr, Dot):
        return _linear_terms(_distribute(expr))
    raise InputError(f"{expr} has no scalar linear form: contract vectors with dot")


def _distribute(expr: Dot) -> Expr:
    """dot(b, Σ c·v) as Σ c·dot(b, v), so that gradients become directional derivatives."""
    known, unknown = (expr.left, expr.right) if has_unknown(expr.right) else (expr.right, expr.left)
    pieces: list[Expr] = []
    for term in unknown.terms if isinstance(unknown, Sum) else (unknown,):
        factors = term.factors if isinstance(term, Product) else (term,)
        vector = next(factor for factor in factors if factor.rank)
        if isinstance(vector, Sum):
            raise InputError(f"{expr} has no scalar linear form: multiply {vector} out")
        pieces.append(multiply(*(factor for factor in factors if factor is not vector), dot(known, vector)))
    return add(*pieces)


def with_slots(expr: Expr, first: int = 0, random: Callable[[Atom], bool] = _of_unknown) -> tuple[Expr, int]:
    """Give the atoms the sample sets that make a stochastic estimate of the expression unbiased.

    Terms of a sum share samples, since expectation is linear; the factors of a product get disjoint slots, so that
    they are independent; a power counts its factors. Inside a non-polynomial function no slots help: its atoms keep
    one, and the estimate stays biased (`degree` is infinite).

    Args:
        expr: the expression.
        first: the first slot to use.
        random: which atoms are estimated with noise, and so need slots; by default all those of unknowns.

    Returns:
        The expression with slots set on its atoms, and the number of slots used.
    """
    if isinstance(expr, Symbol):
        expr = Value(expr)
    if isinstance(expr, Atom):
        return (replace(expr, slot=first), 1) if expr.unknown and random(expr) else (expr, 0)
    if isinstance(expr, Power) and isinstance(expr.exponent, int) and expr.exponent > 1 and degree(expr, random):
        return with_slots(Product((expr.base,) * expr.exponent), first, random)
    used, children = 0, list[Expr]()
    for child in expr.children:
        disjoint = isinstance(expr, (Product, Dot))
        child, count = with_slots(child, first + used if disjoint else first, random)
        used = used + count if disjoint else max(used, count)
        children.append(child)
    if isinstance(expr, Dot):
        return Dot(*children), used
    if isinstance(expr, (Sum, Product)):  # keep the shape: rebuilding would flatten and reorder the factors
        return type(expr)(tuple(children)), used
    return (expr.rebuild(tuple(children)) if children else expr), used


def slots(expr: Expr) -> int:
    """Number of independent sample sets that an unbiased estimate of the expression needs."""
    return with_slots(expr)[1]
