"""Evaluation of an expression at points, given the values of its atoms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pinnx.errors import InputError, ShapeError
from pinnx.expr.atoms import Atom, Directional, Gradient, Input, Known, Partial, SecondOrder, Unknown, Value
from pinnx.expr.calculus import differentiate
from pinnx.expr.nodes import (
    Coefficient,
    Component,
    ConstantVector,
    Coordinate,
    Custom,
    Dot,
    Expr,
    Function,
    Number,
    Power,
    Product,
    Sum,
    Total,
)
from pinnx.expr.points import Points

Values = Mapping[Any, Tensor]
NO_VALUES: Values = {}


def evaluate(expr: Expr, points: Points, values: Values = NO_VALUES) -> Tensor:
    """The value of an expression at every point, in the points' dtype.

    Args:
        expr: the expression.
        points: n points.
        values: the value of every atom of an unknown or input in it, (n,) or (n, d); `Value(u)` serves a bare `u`.
            Further axes in front, such as several estimates of the same atom, are kept.

    Returns:
        (n,) for rank 0, (n, d) for rank 1.

    Raises:
        InputError: an atom of an unknown or of an input has no value.
        ShapeError: a coefficient returns another shape than its rank promises.
    """
    result = Evaluator(points, values)(expr)
    return result.expand(len(points), *result.shape[1:]) if result.ndim else result.expand(len(points))


class Evaluator:
    """Evaluates several expressions at the same points, each shared part once."""

    def __init__(self, points: Points, values: Values = NO_VALUES):
        self.points, self.values = points, values
        self._done: dict[Expr, Tensor] = {}

    def __call__(self, expr: Expr) -> Tensor:
        """The value, of shape (n,) or (n, d), or one that broadcasts to it."""
        if expr not in self._done:
            self._done[expr] = self._compute(expr)
        return self._done[expr]

    def _compute(self, expr: Expr) -> Tensor:
        if isinstance(expr, Sum):
            terms = [self(term) for term in expr.terms]
            return torch.stack(torch.broadcast_tensors(*terms)).sum(0) if len(terms) > 8 else sum(terms[1:], terms[0])
        if isinstance(expr, Product):
            return self._product(expr)
        if isinstance(expr, Power):
            return self(expr.base) ** expr.exponent
        if isinstance(expr, Dot):
            return (self(expr.left) * self(expr.right)).sum(-1)
        if isinstance(expr, Total):
            return self(expr.vector).sum(-1)
        if isinstance(expr, Function):
            return getattr(torch, expr.name)(self(expr.argument))
        if isinstance(expr, Custom):
            return self._shaped(expr.function(*(self(operand) for operand in expr.operands)), expr, expr.name)
        return self._leaf(expr)

    def _product(self, expr: Product) -> Tensor:
        result: Tensor | None = None
        for factor in expr.factors:
            value = self(factor)
            value = value[..., None] if expr.rank == 1 and factor.rank == 0 and value.ndim else value
            result = value if result is None else result * value
        assert result is not None
        return result

    def _leaf(self, expr: Expr) -> Tensor:
        if isinstance(expr, Number):
            return self.points.tensor.new_tensor(expr.value)
        if isinstance(expr, ConstantVector):
            return expr.value.to(self.points.tensor)[None]
        if isinstance(expr, Coordinate):
            return self._shaped(self.points[expr.name], expr, expr.name)
        if isinstance(expr, Component):
            group = self.points[expr.name]
            if expr.index >= group.shape[-1]:
                raise InputError(f"{expr} does not exist: the group {expr.name!r} has {group.shape[-1]} components")
            return group[:, expr.index]
        if isinstance(expr, Coefficient):
            return self._shaped(expr.function(self.points), expr, expr.name)
        if isinstance(expr, (Unknown, Input)):
            return self._given(Value(expr))
        if isinstance(expr, Known):
            return self._known(Value(expr))
        if isinstance(expr, Atom):
            return self._known(expr) if isinstance(expr.of, Known) else self._given(expr)
        raise InputError(f"cannot evaluate {expr}")

    def _given(self, atom: Atom) -> Tensor:
        if atom not in self.values:
            if isinstance(atom.of, Input):
                raise InputError(f"{atom} has no value: {atom.of} is an input, which an instance of the problem brings")
            raise InputError(f"{atom} has no value: the expression still contains the unknown {atom.of}")
        return self.values[atom]

    def _known(self, atom: Atom) -> Tensor:
        known = atom.of
        assert isinstance(known, Known)
        closed = self._closed_form(known, atom)
        if closed is not None:
            return self._shaped(closed(self.points), atom, known.name)
        if isinstance(atom, Directional):
            return (self(Gradient(known, group=atom.group)) * self(atom.vector)).sum(-1)
        coordinates = self.points.coordinates
        return differentiate(
            lambda row: known.function(Points(row[None], coordinates))[0].to(row.dtype), atom, self.points
        )

    def _closed_form(self, known: Known, atom: Atom) -> Callable[[Points], Tensor] | None:
        """The closed form that gives an atom of a known function, if it has one."""
        if isinstance(atom, Value):
            return known.function
        if isinstance(atom, Gradient) and atom.group == "x":
            return known.gradient
        if isinstance(atom, SecondOrder) and atom.group == "x" and atom.matrix is None:
            return known.laplacian
        if not isinstance(atom, Partial):
            return None
        if atom.columns == (("t", 0),):
            return known.dt
        gradient = known.gradient
        if gradient is not None and len(atom.columns) == 1 and atom.columns[0][0] == "x":
            return lambda points: gradient(points)[:, atom.columns[0][1]]
        one_dimensional = "x" in self.points.coordinates.names and self.points.coordinates.size("x") == 1
        return known.laplacian if one_dimensional and atom.columns == (("x", 0), ("x", 0)) else None

    def _shaped(self, value: Tensor, expr: Expr, name: str) -> Tensor:
        n = len(self.points)
        if not isinstance(value, Tensor) or value.ndim != 1 + expr.rank or value.shape[0] not in (n, 1):
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            expected = f"({n}, d)" if expr.rank else f"({n},)"
            raise ShapeError(f"{name} must give a tensor of shape {expected} at {n} points, got {found}")
        return value.to(self.points.tensor.dtype)
