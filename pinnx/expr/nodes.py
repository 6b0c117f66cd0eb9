"""Expressions: pointwise algebra over atoms, coefficients and coordinates.

An expression is an immutable tree. Its leaves are numbers, functions of the point, and *atoms*: linear functionals of
an unknown (`pinnx.expr.atoms`), which an estimator delivers. The tree does the algebra; it knows no estimator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from pinnx.errors import InputError

if TYPE_CHECKING:
    from pinnx.expr.points import Points


class Expr:
    """Base of all expressions.

    Attributes:
        rank: 0 for one number per point, shape (n,); 1 for a vector per point, shape (n, d).
    """

    rank: int = 0

    @property
    def children(self) -> tuple[Expr, ...]:
        """The expressions that this one is computed from."""
        return ()

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        """The same operation on other operands, simplified again."""
        assert not children
        return self

    def walk(self) -> Iterator[Expr]:
        """All nodes of the tree, this one first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def text(self) -> str:
        """The expression in plain text."""
        from pinnx.expr.printing import to_text  # the printer needs every node class: importing it above is circular

        return to_text(self)

    def latex(self) -> str:
        """The expression in LaTeX, without dollar signs."""
        from pinnx.expr.printing import to_latex  # as in `text`

        return to_latex(self)

    def _repr_latex_(self) -> str:
        return f"${self.latex()}$"

    def __str__(self) -> str:
        return self.text()

    def __add__(self, other: Any) -> Expr:
        return add(self, other)

    def __radd__(self, other: Any) -> Expr:
        return add(other, self)

    def __sub__(self, other: Any) -> Expr:
        return add(self, -as_expr(other))

    def __rsub__(self, other: Any) -> Expr:
        return add(other, -self)

    def __mul__(self, other: Any) -> Expr:
        return multiply(self, other)

    def __rmul__(self, other: Any) -> Expr:
        return multiply(other, self)

    def __truediv__(self, other: Any) -> Expr:
        return multiply(self, power(as_expr(other), -1))

    def __rtruediv__(self, other: Any) -> Expr:
        return multiply(other, power(self, -1))

    def __neg__(self) -> Expr:
        return multiply(-1.0, self)

    def __pow__(self, exponent: float) -> Expr:
        return power(self, exponent)


@final
@dataclass(frozen=True)
class Number(Expr):
    """A real constant."""

    value: float


@final
@dataclass(frozen=True, eq=False)
class ConstantVector(Expr):
    """A vector (d,) that is the same at every point. Compared by identity."""

    value: Tensor
    name: str = "b"
    rank = 1


@final
@dataclass(frozen=True, eq=False)
class Coefficient(Expr):
    """A known function of the point, without derivatives. Compared by identity.

    Attributes:
        name: for text and LaTeX.
        function: maps `Points` to (n,) for rank 0, (n, d) for rank 1.
        rank: 0 or 1.
        symbol: LaTeX, if not the name.
    """

    name: str
    function: Callable[[Points], Tensor]
    rank: int = 0
    symbol: str | None = None


@final
@dataclass(frozen=True)
class Coordinate(Expr):
    """A coordinate group of the point: `x` (a vector, rank 1) or `t` (a scalar, rank 0)."""

    name: str
    rank: int = 1

    def __getitem__(self, index: int) -> Component:
        if self.rank == 0:
            raise InputError(f"coordinate {self.name!r} is a scalar and has no components")
        return Component(self.name, index)


@final
@dataclass(frozen=True)
class Component(Expr):
    """One component of a coordinate group, counted from 0."""

    name: str
    index: int


@final
@dataclass(frozen=True)
class Sum(Expr):
    """A sum of at least two terms of one rank."""

    terms: tuple[Expr, ...]

    @property
    def rank(self) -> int:  # type: ignore[override]
        return self.terms[0].rank

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.terms

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return add(*children)


@final
@dataclass(frozen=True)
class Product(Expr):
    """A product of factors, at most one of them a vector."""

    factors: tuple[Expr, ...]

    @property
    def rank(self) -> int:  # type: ignore[override]
        return max(factor.rank for factor in self.factors)

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.factors

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return multiply(*children)


@final
@dataclass(frozen=True)
class Power(Expr):
    """A scalar raised to a constant exponent."""

    base: Expr
    exponent: float

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.base,)

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return power(children[0], self.exponent)


@final
@dataclass(frozen=True)
class Dot(Expr):
    """The inner product of two vectors."""

    left: Expr
    right: Expr

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.left, self.right)

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return dot(*children)


@final
@dataclass(frozen=True)
class Total(Expr):
    """The sum of the components of a vector."""

    vector: Expr

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.vector,)

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return total(children[0])


@final
@dataclass(frozen=True)
class Function(Expr):
    """A named elementwise function of a scalar expression: sin, cos, exp, log, tanh, sqrt."""

    name: str
    argument: Expr

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.argument,)

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return Function(self.name, children[0])


@final
@dataclass(frozen=True)
class Custom(Expr):
    """A residual that the tree cannot say: any function of the values of some expressions.

    It is opaque: it counts as non-polynomial, so a stochastic estimator's bias inside it cannot be corrected.

    Attributes:
        function: maps the operands' values, each (n,) or (n, d), to (n,).
        operands: what it needs.
        name: for text and LaTeX.
    """

    function: Callable[..., Tensor]
    operands: tuple[Expr, ...]
    name: str = "custom"

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.operands

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return Custom(self.function, children, self.name)


class Contractible(Expr, ABC):
    """A vector expression that knows a cheaper form of its inner product with a vector free of unknowns."""

    rank = 1

    @abstractmethod
    def contract(self, vector: Expr) -> Expr:
        """The expression equal to `dot(vector, self)`."""


def as_expr(value: Any) -> Expr:
    """Numbers and 1-d tensors as expressions; raises InputError for anything else."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Number(float(value))
    if isinstance(value, Tensor) and value.ndim == 0:
        return Number(float(value))
    if isinstance(value, Tensor) and value.ndim == 1:
        return ConstantVector(value)
    found = f"tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    raise InputError(f"cannot use a {found} in an equation; expected a number, a 1-d tensor or an expression")


def add(*operands: Any) -> Expr:
    """The sum, flattened, with its numbers folded into one."""
    terms: list[Expr] = []
    constant = 0.0
    for operand in map(as_expr, operands):
        for term in operand.terms if isinstance(operand, Sum) else (operand,):
            if isinstance(term, Number):
                constant += term.value
            else:
                terms.append(term)
    if not terms:
        return Number(constant)
    _same_rank(terms, constant)
    if constant:
        terms.append(Number(constant))
    return terms[0] if len(terms) == 1 else Sum(tuple(terms))


def multiply(*operands: Any) -> Expr:
    """The product, flattened, with its numbers folded into one leading factor."""
    factors: list[Expr] = []
    constant = 1.0
    for operand in map(as_expr, operands):
        for factor in operand.factors if isinstance(operand, Product) else (operand,):
            if isinstance(factor, Number):
                constant *= factor.value
            else:
                factors.append(factor)
    if constant == 0.0 or not factors:
        return Number(constant)
    if sum(factor.rank for factor in factors) > 1:
        raise InputError("the product of two vectors is not defined: use dot(a, b) for their inner product")
    if constant != 1.0:
        factors.insert(0, Number(constant))
    return factors[0] if len(factors) == 1 else Product(tuple(factors))


def power(base: Any, exponent: float) -> Expr:
    """`base ** exponent` for a constant exponent."""
    base = as_expr(base)
    if isinstance(exponent, (Expr, bool)) or not isinstance(exponent, (int, float)):
        raise InputError(f"an exponent must be a number, got {exponent}")
    if base.rank:
        raise InputError("a vector cannot be raised to a power: use norm2(v) for its squared length")
    if exponent == 1:
        return base
    if exponent == 0:
        return Number(1.0)
    if isinstance(base, Number):
        return Number(base.value**exponent)
    return Power(base, int(exponent) if float(exponent).is_integer() else float(exponent))


def dot(left: Any, right: Any) -> Expr:
    """The inner product of two vectors, written as one atom where it is a derivative along a known direction."""
    left, right = as_expr(left), as_expr(right)
    if left.rank != 1 or right.rank != 1:
        if any(isinstance(side, Number) and side.value == 0.0 for side in (left, right)):
            return Number(0.0)
        raise InputError(f"dot needs two vectors, got {left} and {right}")
    for vector, other in ((left, right), (right, left)):
        if isinstance(other, Contractible) and not has_unknown(vector):
            return other.contract(vector)
    return Dot(left, right)


def total(vector: Any) -> Expr:
    """The sum of the components of a vector."""
    vector = as_expr(vector)
    if vector.rank != 1:
        raise InputError(f"total needs a vector, got {vector}")
    return Total(vector)


def has_unknown(expr: Expr) -> bool:
    """Whether an unknown occurs in the expression."""
    return any(getattr(node, "unknown", False) for node in expr.walk())


def _same_rank(terms: list[Expr], constant: float) -> None:
    ranks = {term.rank for term in terms} | ({0} if constant else set())
    if len(ranks) > 1:
        shown = " + ".join(str(term) for term in terms)
        raise InputError(f"a scalar and a vector cannot be added: {shown}{f' + {constant}' if constant else ''}")
