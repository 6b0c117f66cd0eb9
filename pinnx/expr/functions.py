"""Elementwise functions, the squared length, and the usual coordinates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pinnx.errors import InputError
from pinnx.expr.nodes import Coordinate, Expr, Function, as_expr, dot


def norm2(vector: Any) -> Expr:
    """The squared Euclidean length of a vector."""
    return dot(vector, vector)


def _function(name: str) -> Callable[[Any], Expr]:
    def apply(argument: Any) -> Expr:
        argument = as_expr(argument)
        if argument.rank:
            raise InputError(f"{name} needs a scalar, got the vector {argument}")
        return Function(name, argument)

    apply.__name__ = name
    apply.__doc__ = f"The elementwise {name} of a scalar expression."
    return apply


sin, cos, exp, log, tanh, sqrt = map(_function, ("sin", "cos", "exp", "log", "tanh", "sqrt"))
x = Coordinate("x", 1)
t = Coordinate("t", 0)
