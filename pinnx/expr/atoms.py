"""Atoms: the linear functionals of a function that an estimator delivers.

Atoms are grouped, never enumerated: a Laplacian in 100 000 dimensions is one atom, a gradient one vector-valued atom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast, final

from torch import Tensor

from pinnx.errors import InputError
from pinnx.expr.nodes import Component, Contractible, Coordinate, Expr, as_expr, multiply
from pinnx.expr.points import Points


class Symbol(Expr):
    """A function that may be differentiated; standing alone in algebra it means its value."""

    name: str
    symbol: str | None


@final
@dataclass(frozen=True)
class Unknown(Symbol):
    """An unknown function: output `index` of the network."""

    name: str = "u"
    index: int = 0
    symbol: str | None = None
    unknown = True


@final
@dataclass(frozen=True)
class Input(Symbol):
    """A known field that an instance of a family brings: an initial value, a permeability, a forcing.

    It may be differentiated. Its atoms get their values from whoever evaluates, like those of an unknown; to linearity,
    degree and slots they are coefficients.

    Attributes:
        name: for text, and under which an instance holds the field.
        index: its place among the inputs of the equation.
        symbol: LaTeX, if not the name.
    """

    name: str
    index: int = 0
    symbol: str | None = None


@final
@dataclass(frozen=True, eq=False)
class Known(Symbol):
    """A known function of the point whose derivatives are available to the language. Compared by identity.

    Closed forms are optional: what is missing is computed by automatic differentiation of `function`, exactly, at a
    cost proportional to the dimension for second-order operators.

    Attributes:
        name: for text.
        function: maps `Points` to values (n,); built of torch operations, row by row independent.
        gradient: gradient with respect to the group `x`, (n, d).
        laplacian: Laplacian over the group `x`, (n,).
        dt: derivative in `t`, (n,).
        symbol: LaTeX, if not the name.

    Example:
        >>> square = Known("q", lambda p: p.x.square().sum(-1), gradient=lambda p: 2 * p.x)
    """

    name: str
    function: Callable[[Points], Tensor]
    gradient: Callable[[Points], Tensor] | None = field(default=None, kw_only=True)
    laplacian: Callable[[Points], Tensor] | None = field(default=None, kw_only=True)
    dt: Callable[[Points], Tensor] | None = field(default=None, kw_only=True)
    symbol: str | None = field(default=None, kw_only=True)

    def __call__(self, points: Points) -> Tensor:
        """Values (n,)."""
        return self.function(points)


@dataclass(frozen=True)
class Atom(Expr):
    """A linear functional of `of`.

    Attributes:
        of: the function it is applied to.
        slot: which independent set of samples a stochastic estimator draws it from (see `analysis.with_slots`).
    """

    of: Symbol
    slot: int = field(default=0, kw_only=True)

    @property
    def unknown(self) -> bool:
        """Whether the function is an unknown."""
        return isinstance(self.of, Unknown)

    @property
    def order(self) -> int:
        """Highest order of differentiation."""
        return 1

    def on(self, other: Symbol) -> Atom:
        """The same functional of another function."""
        return replace(self, of=other)


@final
@dataclass(frozen=True)
class Value(Atom):
    """The value of the function."""

    @property
    def order(self) -> int:
        return 0


@final
@dataclass(frozen=True)
class Gradient(Atom, Contractible):
    """The gradient over a coordinate group, (n, d)."""

    group: str = "x"
    rank = 1

    def contract(self, vector: Expr) -> Expr:
        return Directional(self.of, self.group, vector, slot=self.slot)


@final
@dataclass(frozen=True)
class Directional(Atom):
    """The derivative along a vector field that is free of unknowns: dot(vector, grad(u))."""

    group: str
    vector: Expr


@final
@dataclass(frozen=True, eq=False)
class Matrix:
    """A symmetric matrix, constant or a function of the point. Compared by identity.

    Attributes:
        value: (d, d), or (d,) for a diagonal; or a function of `Points` that gives (n, d, d), or (n, d) for a diagonal.
        diagonal: whether `value` holds the diagonal only.
        name: for text and LaTeX.
    """

    value: Tensor | Callable[[Points], Tensor]
    diagonal: bool = False
    name: str = "A"

    @property
    def varies(self) -> bool:
        """Whether it depends on the point."""
        return not isinstance(self.value, Tensor)

    def at(self, points: Points) -> Tensor:
        """The matrix in the points' dtype and on their device."""
        value = self.value if isinstance(self.value, Tensor) else self.value(points)
        return value.to(points.tensor)


@final
@dataclass(frozen=True)
class SecondOrder(Atom):
    """trace(A · Hessian) over a coordinate group; A is the identity (the Laplacian) where `matrix` is None."""

    group: str = "x"
    matrix: Matrix | None = None

    @property
    def order(self) -> int:
        return 2


@final
@dataclass(frozen=True)
class Biharmonic(Atom):
    """The Laplacian of the Laplacian over a coordinate group."""

    group: str = "x"

    @property
    def order(self) -> int:
        return 4


@final
@dataclass(frozen=True)
class Partial(Atom):
    """A mixed partial derivative of any order: `columns` lists (group, index) once per differentiation, sorted."""

    columns: tuple[tuple[str, int], ...] = ()

    @property
    def order(self) -> int:
        return len(self.columns)


@final
@dataclass(frozen=True)
class Hessian:
    """The matrix of second derivatives: only ever used inside `trace(A, hessian(u))`."""

    of: Symbol
    group: str


def value(u: Symbol) -> Value:
    """The value of a function, as an atom."""
    return Value(_symbol(u))


def grad(u: Symbol, group: str | Coordinate = "x") -> Expr:
    """The gradient over a coordinate group."""
    return Gradient(_symbol(u), group=_vector_group(group))


def laplacian(u: Symbol | Expr, group: str | Coordinate = "x") -> Expr:
    """The Laplacian over a coordinate group; that of a Laplacian is the biharmonic operator."""
    group = _vector_group(group)
    if isinstance(u, SecondOrder) and u.matrix is None and u.group == group:
        return Biharmonic(u.of, group=group)
    return SecondOrder(_symbol(u), group=group)


def biharmonic(u: Symbol, group: str | Coordinate = "x") -> Expr:
    """The biharmonic operator over a coordinate group: the Laplacian of the Laplacian, one atom in any dimension."""
    return Biharmonic(_symbol(u), group=_vector_group(group))


def hessian(u: Symbol, group: str | Coordinate = "x") -> Hessian:
    """The Hessian over a coordinate group, for use in `trace`."""
    return Hessian(_symbol(u), _vector_group(group))


def trace(matrix: Any, second: Hessian) -> Expr:
    """The second-order operator with matrix A: the trace of A times the Hessian.

    Args:
        matrix: a number (multiple of the identity), a tensor (d,) (diagonal) or (d, d), a `Matrix`, or a function of
            `Points` that gives (n, d, d). Only the symmetric part of A matters.
        second: `hessian(u)`.

    Raises:
        InputError: the arguments are of other types or shapes.
    """
    if not isinstance(second, Hessian):
        raise InputError(f"trace needs hessian(u) as its second argument, got {second}")
    if isinstance(matrix, (int, float)):
        return multiply(float(matrix), SecondOrder(second.of, group=second.group))
    if isinstance(matrix, Tensor):
        if matrix.ndim not in (1, 2) or matrix.shape[0] != matrix.shape[-1]:
            raise InputError(f"the matrix of trace(A, hessian(u)) must be (d,) or (d, d), got {tuple(matrix.shape)}")
        matrix = Matrix(matrix, diagonal=matrix.ndim == 1)
    elif callable(matrix):
        matrix = Matrix(cast("Callable[[Points], Tensor]", matrix))
    if not isinstance(matrix, Matrix):
        raise InputError(
            f"the matrix of trace(A, hessian(u)) must be a number, tensor, function or Matrix, got {matrix}"
        )
    return SecondOrder(second.of, group=second.group, matrix=matrix)


def partial(u: Symbol, *coordinates: Coordinate | Component) -> Expr:
    """The partial derivative of any order; with x[0], x[0], t it is the third one, twice in x1 and once in t."""
    columns: list[tuple[str, int]] = []
    for coordinate in coordinates:
        if isinstance(coordinate, Component):
            columns.append((coordinate.name, coordinate.index))
        elif isinstance(coordinate, Coordinate) and coordinate.rank == 0:
            columns.append((coordinate.name, 0))
        else:
            raise InputError(f"partial needs scalar coordinates such as x[0] or t, got {coordinate}")
    return Partial(_symbol(u), columns=tuple(sorted(columns))) if columns else value(u)


def dt(u: Symbol) -> Expr:
    """The derivative in time."""
    return partial(u, Coordinate("t", 0))


def directional(u: Symbol, vector: Any, group: str = "x") -> Expr:
    """The derivative along a vector that is free of unknowns: dot(vector, grad(u)) as one atom."""
    return Directional(_symbol(u), group, as_expr(vector))


def _symbol(u: Any) -> Symbol:
    if not isinstance(u, Symbol):
        raise InputError(
            f"only an unknown or a Known can be differentiated, got {u}; apply the product rule by hand, or make the "
            "expression a Known function of the point"
        )
    return u


def _vector_group(group: str | Coordinate) -> str:
    if isinstance(group, Coordinate):
        if group.rank == 0:
            raise InputError(f"{group.name} is a scalar: use partial(u, {group.name}) for its derivatives")
        return group.name
    return group
