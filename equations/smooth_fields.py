"""Smooth random fields as finite series: the same field on every grid, bit for bit the same in every batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def combined(coefficients: Tensor, functions: Tensor) -> Tensor:
    """Σ_k c_k f_k, summed in one order whatever the batch is, which a matrix product does not promise.

    Args:
        coefficients: c, (…, K).
        functions: values of f, (K, n).

    Returns:
        (…, n).
    """
    result = coefficients[..., :1] * functions[0]
    for k in range(1, len(functions)):
        result = result + coefficients[..., k : k + 1] * functions[k]
    return result


def product_series(coefficients: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Σ_kl c_kl f_k(x) g_l(y): (B, n, m).

    Args:
        coefficients: c, (B, K, L).
        first: values of f, (K, n).
        second: values of g, (L, m).
    """
    along_y = combined(coefficients, second)
    return combined(along_y.mT, first).mT


def cosine_series(coefficients: Tensor, positions: Tensor, length: float) -> Tensor:
    """Σ_k s_k c_k cos(kπx), k = 0, 1, …, with s_k ∝ exp(-(kπ length)²/4) and Σ s_k² = 1.

    With c ~ N(0, I) it is a Gaussian process of about unit variance and a correlation length of about `length`.

    Args:
        coefficients: c, (B, K).
        positions: x in [0, 1], (n,).
        length: correlation length.

    Returns:
        (B, n).
    """
    k = torch.arange(coefficients.shape[1], dtype=positions.dtype)
    sizes = (-((k * math.pi * length) ** 2) / 4).exp()
    sizes = sizes / sizes.norm()
    return combined(coefficients * sizes, (math.pi * k[:, None] * positions).cos())


def cosine_series_2d(coefficients: Tensor, positions: tuple[Tensor, Tensor], length: float) -> Tensor:
    """The product of two `cosine_series`: Σ s_k s_l c_kl cos(kπx) cos(lπy).

    Args:
        coefficients: c, (B, K, K).
        positions: x (n,) and y (m,) in [0, 1].
        length: correlation length.

    Returns:
        (B, n, m).
    """
    unit = torch.eye(coefficients.shape[1], dtype=coefficients.dtype)
    rows, columns = (cosine_series(unit, along, length) for along in positions)
    return product_series(coefficients, rows, columns)


def periodic_waves(count: int, positions: Tensor) -> Tensor:
    """1, √2 cos 2πx, √2 sin 2πx, √2 cos 4πx, …: orthonormal on [0, 1], up to the wave number `count`.

    Args:
        count: highest wave number K.
        positions: x, (n,).

    Returns:
        (2K + 1, n).
    """
    angles = 2 * math.pi * torch.arange(1, count + 1, dtype=positions.dtype)[:, None] * positions
    pairs = math.sqrt(2) * torch.stack([angles.cos(), angles.sin()], 1).flatten(0, 1)
    return torch.cat([torch.ones(1, len(positions), dtype=positions.dtype), pairs])


def per_wave(sizes: Tensor) -> Tensor:
    """The sizes of the waves 0 … K, (K + 1,), for the functions of `periodic_waves`, (2K + 1,)."""
    return torch.cat([sizes[:1], sizes[1:].repeat_interleave(2)])
