"""u = scale · a · f + c: conditions that hold exactly, by the product rule on atoms."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import final

import torch

from pinnx.errors import UnsupportedError
from pinnx.expr import (
    Atom,
    Biharmonic,
    Coefficient,
    Directional,
    Expr,
    Gradient,
    Known,
    Matrix,
    Number,
    Partial,
    Points,
    SecondOrder,
    Symbol,
    Value,
    add,
    dot,
    evaluate,
    multiply,
)
from pinnx.trial.base import TrialSolution


@final
@dataclass(frozen=True)
class Affine(TrialSolution):
    """u = scale · factor · f + offset.

    A condition u = g on part of the domain holds exactly if the factor vanishes there and the offset equals g.

    Attributes:
        factor: a known function of the point, or a number.
        offset: a known function of the point, or a number.
        scale: the typical size of (u - offset) / factor, taken from data known beforehand.
    """

    factor: Known | float
    offset: Known | float = 0.0
    scale: float = 1.0

    def rewrite(self, atom: Atom) -> Expr:
        return add(multiply(self.scale, self._product(atom)), _of(atom, self.offset))

    def _product(self, atom: Atom) -> Expr:
        """The atom of factor · f, by the product rule."""
        a = self.factor
        if not isinstance(a, Known):
            return multiply(a, atom)
        f = atom.of
        if isinstance(atom, Partial):
            return _leibniz(atom, a, f)
        if isinstance(atom, (Value, Gradient, Directional)):
            mixed = Number(0.0) if isinstance(atom, Value) else multiply(Value(f), atom.on(a))
            return add(multiply(a, atom), mixed)
        if isinstance(atom, SecondOrder):
            along = multiply(2.0, _flow(a, atom))
            cross = dot(along, Gradient(f, group=atom.group))
            return add(multiply(a, atom), cross, multiply(Value(f), atom.on(a)))
        if isinstance(atom, Biharmonic):
            raise UnsupportedError(
                f"the trial solution a·f + c has no product rule for {atom} where a varies; state the conditions as "
                "soft ones, or write the equation as a system for u and its Laplacian"
            )
        raise UnsupportedError(f"the trial solution a·f + c has no product rule for {atom}")


def _of(atom: Atom, function: Known | float) -> Expr:
    """An atom of a known function or of a constant."""
    if isinstance(function, Known):
        return atom.on(function)
    return Number(float(function)) if isinstance(atom, Value) else Number(0.0)


def _flow(a: Known, atom: SecondOrder) -> Expr:
    """A · grad(a), the direction of the mixed term of trace(A · Hessian)."""
    gradient = Gradient(a, group=atom.group)
    if atom.matrix is None:
        return gradient
    return Coefficient(
        f"{atom.matrix.name} grad({a.name})",
        lambda points: _times(atom.matrix, gradient, points),
        rank=1,
    )


def _times(matrix: Matrix | None, gradient: Gradient, points: Points) -> torch.Tensor:
    assert matrix is not None
    vector, value = evaluate(gradient, points), matrix.at(points)
    if matrix.diagonal:
        return vector * value
    symmetric = (value + value.mT) / 2
    return torch.einsum("...ij,...j->...i", symmetric, vector)


def _leibniz(atom: Partial, a: Known, f: Symbol) -> Expr:
    """A mixed partial of a·f: the sum over all ways to share the differentiations."""
    terms: list[Expr] = []
    positions = range(len(atom.columns))
    for count in range(len(atom.columns) + 1):
        for chosen in combinations(positions, count):
            mine = tuple(atom.columns[i] for i in chosen)
            others = tuple(atom.columns[i] for i in positions if i not in chosen)
            terms.append(multiply(_partial(a, others), _partial(f, mine)))
    return add(*terms)


def _partial(function: Symbol, columns: tuple[tuple[str, int], ...]) -> Expr:
    return Partial(function, columns=columns) if columns else Value(function)
