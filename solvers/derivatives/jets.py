"""Jets: a value with its directional derivatives and sums of second ones, pushed through a network.

Collapsed Taylor mode (forward Laplacian): for z -> φ(z) with directional derivatives J_k and a collapsed second-order
sum L = Σ s_k (second derivative along k),

    J_k <- φ′ J_k,      L <- φ′ L + φ″ Σ_k s_k J_k².

Sources: arXiv 2307.08214 (forward Laplacian), arXiv 2505.13644 (collapsing Taylor mode).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError

_FUNCTIONS: dict[Any, Callable[..., Any]] = {}


@final
@dataclass(frozen=True)
class SecondOrderSum:
    """Which directions a second-order sum collapses.

    Attributes:
        start: its first direction.
        stop: one past its last direction.
        weights: s_k, (k,) or (n, k) where they vary with the point; None where all are one.
    """

    start: int
    stop: int
    weights: Tensor | None = None

    def squares(self, left: Tensor, right: Tensor) -> Tensor:
        """Σ s_k left_k right_k over directions (k, n, h): (n, h)."""
        if self.stop - self.start < left.shape[0]:  # the backward of a slice fills a whole tensor: avoid it
            left, right = left[self.start : self.stop], right[self.start : self.stop]
        if self.weights is None:
            return (left * right).sum(0)
        weights = self.weights[:, None, None] if self.weights.ndim == 1 else self.weights.T[:, :, None]
        return (weights * left * right).sum(0)


@final
class Jet:
    """A tensor (n, h) with derivatives; torch's linear and elementwise functions accept it.

    Args:
        value: (n, h).
        first: directional derivatives (k, n, h), or (k, 1, h) where they do not vary; or a function that computes them
            (the last layers' are often not needed).
        second: collapsed second-order sums (s, n, h), or None where they vanish.
        sums: what each of them collapses.

    Attributes:
        beside: jets of higher order of the same layer, which travel through the network beside this one.
    """

    beside: tuple[Any, ...] = ()

    def __init__(
        self,
        value: Tensor,
        first: Tensor | Callable[[], Tensor],
        second: Tensor | None,
        sums: Sequence[SecondOrderSum],
    ):
        self.value, self._first, self._second, self.sums = value, first, second, sums

    @property
    def first(self) -> Tensor:
        """Directional derivatives (k, n, h)."""
        if not isinstance(self._first, Tensor):
            self._first = self._first()
        return self._first

    @property
    def second(self) -> Tensor:
        """Collapsed second-order sums (s, n, h)."""
        if self._second is None:
            return self.value.new_zeros(len(self.sums), *self.value.shape)
        return self._second

    def squares(self, other: Jet) -> Tensor:
        """Σ s_k J_k J′_k for every sum, (s, n, h)."""
        size = self.sums[0].stop - self.sums[0].start
        if all(s.weights is None and (s.start, s.stop) == (i * size, (i + 1) * size) for i, s in enumerate(self.sums)):
            left, right = (part[: len(self.sums) * size] for part in (self.first, other.first))
            return (left * right).reshape(len(self.sums), size, *left.shape[1:]).sum(1)
        return torch.stack([each.squares(self.first, other.first) for each in self.sums])

    def map(self, linear: Callable[[Tensor], Tensor]) -> Jet:
        """A map that is linear in the last axis (no constant part)."""
        second = None if self._second is None else linear(self._second)
        return Jet(linear(self.value), lambda: linear(self.first), second, self.sums)

    def elementwise(self, value: Tensor, slope: Tensor, curvature: Tensor) -> Jet:
        """An elementwise function with its first and second derivative at `value`'s argument."""
        second = None
        if self.sums:
            second = curvature * self.squares(self)
            if self._second is not None:
                second = second + slope * self._second
        return Jet(value, lambda: slope * self.first, second, self.sums)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function not in _FUNCTIONS:
            name = getattr(function, "__name__", str(function))
            raise UnsupportedError(f"Taylor mode has no rule for torch's {name}")
        return _FUNCTIONS[function](*args, **(kwargs or {}))

    def __add__(self, other: Any) -> Jet:
        return _add(self, other)

    __radd__ = __add__

    def __neg__(self) -> Jet:
        return self.map(lambda part: -part)

    def __sub__(self, other: Any) -> Jet:
        return _add(self, -other)

    def __rsub__(self, other: Any) -> Jet:
        return _add(-self, other)

    def __mul__(self, other: Any) -> Jet:
        return _multiply(self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Jet:
        if isinstance(other, Jet):
            raise UnsupportedError("Taylor mode has no rule for the quotient of two layers")
        return self.map(lambda part: part / other)

    def __getitem__(self, index: Any) -> Jet:
        if not (isinstance(index, tuple) and len(index) == 2):
            raise UnsupportedError("Taylor mode slices the last axis only: z[:, a:b] or z[..., a:b]")
        return self.map(lambda part: part[..., index[1]])

    def chunk(self, chunks: int, dim: int = -1) -> tuple[Jet, ...]:
        """Equal parts of the last axis."""
        width = -(-self.value.shape[-1] // chunks)
        return self.split(width, dim)

    def split(self, width: int, dim: int = -1) -> tuple[Jet, ...]:
        """Parts of a given width of the last axis."""
        _require_last(dim, self.value)
        return tuple(self[..., start : start + width] for start in range(0, self.value.shape[-1], width))


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Tensors along the last axis, the others broadcast."""
    shape = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return torch.cat([part.expand(*shape, part.shape[-1]) for part in parts], -1)


def _require_last(dim: int, like: Tensor) -> None:
    if dim not in (-1, like.ndim - 1):
        raise UnsupportedError(f"Taylor mode joins and splits the last axis only, got dim={dim}")


def _rule(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(implementation: Callable[..., Any]) -> Callable[..., Any]:
        _FUNCTIONS.update(dict.fromkeys(functions, implementation))
        return implementation

    return register


@_rule(torch.nn.functional.linear)
def _linear(jet: Jet, weight: Tensor, bias: Tensor | None = None) -> Jet:
    linear = torch.nn.functional.linear
    second = None if jet._second is None else linear(jet._second, weight)
    return Jet(linear(jet.value, weight, bias), lambda: linear(jet.first, weight), second, jet.sums)


@_rule(torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__)
def _add(left: Any, right: Any) -> Jet:
    if not isinstance(left, Jet):
        left, right = right, left
    if not isinstance(right, Jet):
        return Jet(left.value + right, lambda: left.first, left._second, left.sums)
    seconds = [part for part in (left._second, right._second) if part is not None]
    second = sum(seconds[1:], seconds[0]) if seconds else None
    return Jet(left.value + right.value, lambda: left.first + right.first, second, left.sums)


@_rule(torch.sub, torch.Tensor.sub, torch.Tensor.__sub__)
def _subtract(left: Any, right: Any) -> Jet:
    return _add(left, -right)


@_rule(torch.rsub, torch.Tensor.__rsub__)
def _subtract_reversed(left: Any, right: Any) -> Jet:
    return _add(-left, right)


@_rule(torch.mul, torch.Tensor.mul, torch.Tensor.__mul__, torch.Tensor.__rmul__)
def _multiply(left: Any, right: Any) -> Jet:
    if not isinstance(left, Jet):
        left, right = right, left
    if not isinstance(right, Jet):
        return left.map(lambda part: part * right)
    second = None
    if left.sums:
        second = 2 * left.squares(right) + left.value * right.second + right.value * left.second
    return Jet(
        left.value * right.value,
        lambda: left.value * right.first + right.value * left.first,
        second,
        left.sums,
    )


@_rule(torch.neg, torch.Tensor.__neg__, torch.Tensor.neg)
def _negate(jet: Jet) -> Jet:
    return -jet


@_rule(torch.cat, torch.concat, torch.concatenate)
def _concatenate(jets: Sequence[Jet], dim: int = -1) -> Jet:
    if not all(isinstance(jet, Jet) for jet in jets):
        raise UnsupportedError("Taylor mode joins layers with layers only")
    _require_last(dim, jets[0].value)
    return Jet(
        torch.cat([jet.value for jet in jets], -1),
        lambda: joined([jet.first for jet in jets]),
        None if all(jet._second is None for jet in jets) else joined([jet.second for jet in jets]),
        jets[0].sums,
    )


@_rule(torch.chunk)
def _chunk(jet: Jet, chunks: int, dim: int = 0) -> tuple[Jet, ...]:
    return jet.chunk(chunks, dim)


@_rule(torch.split)
def _split(jet: Jet, split_size_or_sections: int, dim: int = 0) -> tuple[Jet, ...]:
    return jet.split(split_size_or_sections, dim)


@_rule(torch.tanh, torch.nn.functional.tanh)
def _tanh(jet: Jet) -> Jet:
    value = torch.tanh(jet.value)
    slope = 1 - value * value
    return jet.elementwise(value, slope, -2 * value * slope)


@_rule(torch.sin)
def _sin(jet: Jet) -> Jet:
    value = torch.sin(jet.value)
    return jet.elementwise(value, torch.cos(jet.value), -value)


@_rule(torch.cos)
def _cos(jet: Jet) -> Jet:
    value = torch.cos(jet.value)
    return jet.elementwise(value, -torch.sin(jet.value), -value)


@_rule(torch.exp)
def _exp(jet: Jet) -> Jet:
    value = torch.exp(jet.value)
    return jet.elementwise(value, value, value)


@_rule(torch.sigmoid, torch.nn.functional.sigmoid)
def _sigmoid(jet: Jet) -> Jet:
    value = torch.sigmoid(jet.value)
    slope = value * (1 - value)
    return jet.elementwise(value, slope, slope * (1 - 2 * value))


@_rule(torch.nn.functional.silu)
def _silu(jet: Jet, inplace: bool = False) -> Jet:
    z, gate = jet.value, torch.sigmoid(jet.value)
    gate_slope = gate * (1 - gate)
    return jet.elementwise(z * gate, gate + z * gate_slope, gate_slope * (2 + z * (1 - 2 * gate)))


@_rule(torch.nn.functional.softplus)
def _softplus(jet: Jet, beta: float = 1.0, threshold: float = 20.0) -> Jet:
    gate = torch.sigmoid(beta * jet.value)
    value = torch.nn.functional.softplus(jet.value, beta, threshold)
    return jet.elementwise(value, gate, beta * gate * (1 - gate))


@_rule(torch.nn.functional.gelu)
def _gelu(jet: Jet, approximate: str = "none") -> Jet:
    if approximate != "none":
        raise UnsupportedError('Taylor mode knows the exact gelu only, not approximate="tanh"')
    z = jet.value
    cumulative = torch.special.ndtr(z)
    density = torch.exp(-0.5 * z * z) * 0.3989422804014327
    return jet.elementwise(z * cumulative, cumulative + z * density, density * (2 - z * z))
