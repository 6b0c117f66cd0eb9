"""The derivatives of activations up to fourth order, as closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError


def derivatives_of(function: Any, z: Tensor, order: int, *arguments: Any, **options: Any) -> list[Tensor]:
    """φ, φ′, …, φ⁽ᵒʳᵈᵉʳ⁾ at z for one of torch's elementwise functions.

    Args:
        function: such as `torch.tanh`.
        z: any shape.
        order: at most 4.
        arguments: the function's own, behind z.
        options: as well.

    Raises:
        UnsupportedError: the function has no rule here.
    """
    if function not in _SERIES:
        name = getattr(function, "__name__", str(function))
        raise UnsupportedError(f"Taylor mode has no rule for torch's {name}")
    return list(_SERIES[function](z, *arguments, **options))[: order + 1]


def _tanh(z: Tensor) -> Sequence[Tensor]:
    y = torch.tanh(z)
    s = 1 - y * y
    return y, s, -2 * y * s, s * (4 - 6 * s), 8 * y * s * (3 * s - 1)


def _sin(z: Tensor) -> Sequence[Tensor]:
    sine, cosine = torch.sin(z), torch.cos(z)
    return sine, cosine, -sine, -cosine, sine


def _cos(z: Tensor) -> Sequence[Tensor]:
    sine, cosine = torch.sin(z), torch.cos(z)
    return cosine, -sine, -cosine, sine, cosine


def _exp(z: Tensor) -> Sequence[Tensor]:
    return (torch.exp(z),) * 5


def _sigmoid(z: Tensor) -> Sequence[Tensor]:
    g = torch.sigmoid(z)
    s = g * (1 - g)
    slope = s * (1 - 2 * g)
    return g, s, slope, s * (1 - 6 * s), slope * (1 - 12 * s)


def _silu(z: Tensor, inplace: bool = False) -> Sequence[Tensor]:
    return _times_argument(z, _sigmoid(z))


def _softplus(z: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Sequence[Tensor]:
    rest = _sigmoid(beta * z)
    value = torch.nn.functional.softplus(z, beta, threshold)
    return value, *(beta**power * part for power, part in enumerate(rest[:4]))


def _gelu(z: Tensor, approximate: str = "none") -> Sequence[Tensor]:
    if approximate != "none":
        raise UnsupportedError('Taylor mode knows the exact gelu only, not approximate="tanh"')
    p = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return _times_argument(z, (torch.special.ndtr(z), p, -z * p, (z * z - 1) * p, (3 - z * z) * z * p))


def _times_argument(z: Tensor, gate: Sequence[Tensor]) -> Sequence[Tensor]:
    """The derivatives of z g(z): z g⁽ᵏ⁾ + k g⁽ᵏ⁻¹⁾."""
    return z * gate[0], *(z * gate[k] + k * gate[k - 1] for k in range(1, len(gate)))


_SERIES: dict[Any, Callable[..., Sequence[Tensor]]] = {
    torch.tanh: _tanh,
    torch.nn.functional.tanh: _tanh,
    torch.sin: _sin,
    torch.cos: _cos,
    torch.exp: _exp,
    torch.sigmoid: _sigmoid,
    torch.nn.functional.sigmoid: _sigmoid,
    torch.nn.functional.silu: _silu,
    torch.nn.functional.softplus: _softplus,
    torch.nn.functional.gelu: _gelu,
}
