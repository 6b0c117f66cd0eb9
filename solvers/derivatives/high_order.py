"""Jets of third and fourth order: mixed partial derivatives by the algebra of truncated Taylor polynomials.

A layer z(x + s) is a polynomial in the offsets s, cut to the monomials that divide the ones asked for: ∂₁²∂₂² needs
1, s₁, s₁², s₂, s₁s₂, … of degree at most two in each, ∂₁⁴ the powers of s₁ up to four. Affine layers act on every
coefficient, an elementwise φ by its Taylor series in the part ε without constant,

    φ(z + ε) = Σ_j φ⁽ʲ⁾(z)/j! · εʲ,    εʲ a product of truncated polynomials.

One pass gives every partial derivative of the equation, exactly. The other way, univariate series along several
directions and polarization (Griewank, Utke and Walther, Math. Comp. 69, 2000), subtracts numbers of equal size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, Self, final

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.solvers.derivatives.derivative_series import derivatives_of
from pinnx.solvers.derivatives.jets import joined

#: Highest order of differentiation that the jets of this package carry.
HIGHEST_ORDER = 4

#: A product of offsets, one coordinate (group, index) per factor, sorted.
Monomial = tuple[tuple[str, int], ...]


class HigherJet(ABC):
    """A tensor (n, h) with derivatives of several orders; torch's linear and elementwise functions accept it.

    Attributes:
        value: (n, h).
        order: highest order of differentiation.
    """

    value: Tensor
    order: int

    @abstractmethod
    def map(self, linear: Callable[[Tensor], Tensor]) -> Self:
        """A map that is linear in the last axis (no constant part)."""

    @abstractmethod
    def shift(self, constant: Any) -> Self:
        """The sum with what does not vary."""

    @abstractmethod
    def plus(self, other: Any) -> Self:
        """The sum with a jet of the same kind."""

    @abstractmethod
    def times(self, other: Any) -> Self:
        """The product with a jet of the same kind, element by element."""

    @abstractmethod
    def join(self, others: Sequence[Any]) -> Self:
        """This and others along the last axis."""

    @abstractmethod
    def compose(self, derivatives: Sequence[Tensor]) -> Self:
        """An elementwise function, given φ, φ′, … up to `order` at `value`."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in _RULES:
            return _RULES[function](*args, **kwargs)
        jet, *rest = args
        return jet.compose(derivatives_of(function, jet.value, jet.order, *rest, **kwargs))

    def __add__(self, other: Any) -> Self:
        return self.plus(other) if isinstance(other, HigherJet) else self.shift(other)

    __radd__ = __add__

    def __neg__(self) -> Self:
        return self.map(torch.neg)

    def __sub__(self, other: Any) -> Self:
        return self + (-other)

    def __rsub__(self, other: Any) -> Self:
        return -self + other

    def __mul__(self, other: Any) -> Self:
        return self.times(other) if isinstance(other, HigherJet) else self.map(lambda part: part * other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Self:
        if isinstance(other, HigherJet):
            raise UnsupportedError("Taylor mode has no rule for the quotient of two layers")
        return self.map(lambda part: part / other)

    def __getitem__(self, index: Any) -> Self:
        if not (isinstance(index, tuple) and len(index) == 2):
            raise UnsupportedError("Taylor mode slices the last axis only: z[:, a:b] or z[..., a:b]")
        return self.map(lambda part: part[..., index[1]])

    def chunk(self, chunks: int, dim: int = -1) -> tuple[Self, ...]:
        """Equal parts of the last axis."""
        return self.split(-(-self.value.shape[-1] // chunks), dim)

    def split(self, width: int, dim: int = -1) -> tuple[Self, ...]:
        """Parts of a given width of the last axis."""
        _require_last(dim, self.value)
        return tuple(self[..., start : start + width] for start in range(0, self.value.shape[-1], width))


def _require_last(dim: int, like: Tensor) -> None:
    if dim not in (-1, like.ndim - 1):
        raise UnsupportedError(f"Taylor mode joins and splits the last axis only, got dim={dim}")


def _linear(jet: HigherJet, weight: Tensor, bias: Tensor | None = None) -> HigherJet:
    product = jet.map(lambda part: torch.nn.functional.linear(part, weight))
    return product if bias is None else product.shift(bias)


def _join(jets: Sequence[Any], dim: int = -1) -> HigherJet:
    if not all(isinstance(jet, HigherJet) for jet in jets):
        raise UnsupportedError("Taylor mode joins layers with layers only")
    _require_last(dim, jets[0].value)
    return jets[0].join(jets[1:])


_RULES: dict[Any, Callable[..., Any]] = {torch.nn.functional.linear: _linear}
for _functions, _rule in (
    ((torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__), lambda a, b: a + b if _is(a) else b + a),
    ((torch.sub, Tensor.sub, Tensor.__sub__), lambda a, b: a - b if _is(a) else (-b) + a),
    ((torch.rsub, Tensor.__rsub__), lambda a, b: b - a if _is(b) else (-a) + b),
    ((torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__), lambda a, b: a * b if _is(a) else b * a),
    ((torch.neg, Tensor.neg, Tensor.__neg__), lambda a: -a),
    ((torch.cat, torch.concat, torch.concatenate), _join),
    ((torch.chunk,), lambda jet, chunks, dim=0: jet.chunk(chunks, dim)),
    ((torch.split,), lambda jet, width, dim=0: jet.split(width, dim)),
):
    _RULES.update(dict.fromkeys(_functions, _rule))


def _is(operand: Any) -> bool:
    return isinstance(operand, HigherJet)


@final
class PolynomialJet(HigherJet):
    """A truncated Taylor polynomial in offsets of the coordinates.

    Args:
        value: (n, h).
        parts: the coefficient of each monomial, (n, h), or (k, n, h) for one polynomial per direction; axes of size 1
            where they do not vary. A missing one is zero.
        monomials: those that are kept: with each of them all its divisors but 1.
    """

    def __init__(self, value: Tensor, parts: Mapping[Monomial, Tensor], monomials: tuple[Monomial, ...]):
        self.value, self.parts, self.monomials = value, dict(parts), monomials
        self.order = max(map(len, monomials))

    def derivative(self, columns: Monomial) -> Tensor:
        """The partial derivative: the coefficient times the factorials of its exponents."""
        factor = math.prod(math.factorial(count) for count in Counter(columns).values())
        return factor * self.parts[columns] if columns in self.parts else torch.zeros_like(self.value)

    def map(self, linear: Callable[[Tensor], Tensor]) -> PolynomialJet:
        if len({part.shape for part in self.parts.values()}) == 1:  # one call for all: a large product beats small ones
            mapped = linear(torch.stack(list(self.parts.values()))).unbind()
            parts = dict(zip(self.parts, mapped, strict=True))
        else:
            parts = {monomial: linear(part) for monomial, part in self.parts.items()}
        return PolynomialJet(linear(self.value), parts, self.monomials)

    def shift(self, constant: Any) -> PolynomialJet:
        return PolynomialJet(self.value + constant, self.parts, self.monomials)

    def plus(self, other: Any) -> PolynomialJet:
        parts = {m: _sum(p[m] for p in (self.parts, other.parts) if m in p) for m in {**self.parts, **other.parts}}
        return PolynomialJet(self.value + other.value, parts, self.monomials)

    def times(self, other: Any) -> PolynomialJet:
        parts = _product(self.parts, other.parts, self.monomials)
        for mine, factor in ((self.parts, other.value), (other.parts, self.value)):
            for monomial, part in mine.items():
                parts[monomial] = parts[monomial] + part * factor if monomial in parts else part * factor
        return PolynomialJet(self.value * other.value, parts, self.monomials)

    def join(self, others: Sequence[Any]) -> PolynomialJet:
        jets = [self, *others]
        parts = {
            monomial: joined([jet.parts.get(monomial, torch.zeros_like(jet.value)) for jet in jets])
            for monomial in dict.fromkeys(m for jet in jets for m in jet.parts)
        }
        return PolynomialJet(torch.cat([jet.value for jet in jets], -1), parts, self.monomials)

    def compose(self, derivatives: Sequence[Tensor]) -> PolynomialJet:
        power, parts = self.parts, {m: derivatives[1] * part for m, part in self.parts.items()}
        for exponent in range(2, self.order + 1):
            power = _product(power, self.parts, self.monomials)
            factor = derivatives[exponent] / math.factorial(exponent)
            for monomial, part in power.items():
                parts[monomial] = parts[monomial] + factor * part if monomial in parts else factor * part
        return PolynomialJet(derivatives[0], parts, self.monomials)


def divisors(monomials: Iterable[Monomial]) -> tuple[Monomial, ...]:
    """The monomials with all their divisors but 1, sorted by degree."""
    found = {
        subset for monomial in monomials for size in range(len(monomial)) for subset in combinations(monomial, size + 1)
    }
    return tuple(sorted(found, key=lambda monomial: (len(monomial), monomial)))


def partials_jet(hidden: Tensor, column: Callable[[str, int], Tensor], wanted: Iterable[Monomial]) -> PolynomialJet:
    """The jet behind the first affine layer W x + b that carries partial derivatives.

    Args:
        hidden: W x + b, (n, h).
        column: gives the column (h,) of W that belongs to a coordinate (group, index).
        wanted: the derivatives.
    """
    monomials = divisors(wanted)
    parts = {m: column(*m[0])[None] for m in monomials if len(m) == 1}
    return PolynomialJet(hidden, parts, monomials)


def directional_jet(hidden: Tensor, directions: Tensor, order: int) -> PolynomialJet:
    """The jet that carries the derivatives up to an order along directions (k, 1 or n, h); see `along`."""
    return PolynomialJet(hidden, {along(1): directions}, tuple(along(power + 1) for power in range(order)))


def along(order: int) -> Monomial:
    """The monomial of a `directional_jet`'s derivative of an order."""
    return (("direction", 0),) * order


@lru_cache(maxsize=256)
def _splits(monomials: tuple[Monomial, ...]) -> dict[Monomial, tuple[tuple[Monomial, Monomial], ...]]:
    """The ways to write each monomial as a product of two others."""
    pairs: dict[Monomial, list[tuple[Monomial, Monomial]]] = {monomial: [] for monomial in monomials}
    for left in monomials:
        for right in monomials:
            product = tuple(sorted(left + right))
            if product in pairs:
                pairs[product].append((left, right))
    return {monomial: tuple(found) for monomial, found in pairs.items()}


def _product(
    left: Mapping[Monomial, Tensor], right: Mapping[Monomial, Tensor], monomials: tuple[Monomial, ...]
) -> dict[Monomial, Tensor]:
    """The product of polynomials without constant parts."""
    result: dict[Monomial, Tensor] = {}
    for monomial, pairs in _splits(monomials).items():
        present = [(a, b) for a, b in pairs if a in left and b in right]
        if not present:
            continue
        if left is right:  # each mixed product comes twice
            present = [(a, b) for a, b in present if a <= b]
            result[monomial] = _sum((left[a] * right[b]) * (1 if a == b else 2) for a, b in present)
        else:
            result[monomial] = _sum(left[a] * right[b] for a, b in present)
    return result


def _sum(terms: Iterable[Tensor]) -> Tensor:
    first, *rest = terms
    for term in rest:
        first = first + term
    return first
