"""Smooth random functions, and the size of an expression: what conformance tests measure with."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from pinnx.expr import Atom, Directional, Expr, Known, Number, Points, evaluate, multiply
from pinnx.expr.nodes import Product, Sum


def random_function(columns: int, seed: int, name: str = "v") -> Known:
    """A sum of eight random waves of size one: smooth, and with no derivative that vanishes by accident.

    Args:
        columns: number of columns of the points.
        seed: draws the waves.
        name: of the function.
    """
    generator = torch.Generator().manual_seed(seed)
    frequencies = torch.randn(columns, 8, generator=generator, dtype=torch.float64) / math.sqrt(columns)
    phases, weights = torch.randn(2, 8, generator=generator, dtype=torch.float64)

    def waves(points: Points) -> Tensor:
        rows = points.tensor
        return (rows @ frequencies.to(rows) + phases.to(rows)).sin() @ weights.to(rows)

    return Known(name, waves)


def without_closed_forms(known: Known) -> Known:
    """The same function, all of whose derivatives are computed by automatic differentiation."""
    return Known(known.name, known.function, symbol=known.symbol)


def terms(expr: Expr) -> tuple[Expr, ...]:
    """The terms of a sum, with the numbers in front of brackets multiplied out."""
    if isinstance(expr, Sum):
        return tuple(inner for term in expr.terms for inner in terms(term))
    if isinstance(expr, Product):
        sums = [factor for factor in expr.factors if isinstance(factor, Sum)]
        numbers = [factor for factor in expr.factors if isinstance(factor, Number)]
        if len(sums) == 1 and len(numbers) == len(expr.factors) - 1:
            return tuple(multiply(*numbers, term) for term in terms(sums[0]))
    return (expr,)


def magnitude(expr: Expr, points: Points) -> Tensor:
    """The sum of the absolute values of the terms, (n,): what rounding errors of the sum are proportional to."""
    return torch.stack([evaluate(term, points).abs() for term in terms(expr)]).sum(dim=0)


def known_functions(expressions: Iterable[Expr]) -> tuple[Known, ...]:
    """The known functions that occur in some expressions, each once."""
    found: dict[Known, None] = {}
    for expr in expressions:
        for node in expr.walk():
            of = node.of if isinstance(node, Atom) else node
            if isinstance(of, Known):
                found[of] = None
            if isinstance(node, Directional):
                found.update(dict.fromkeys(known_functions([node.vector])))
    return tuple(found)
