"""Smooth random fields as finite series: the same field on every grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor


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
    return (coefficients * sizes) @ (math.pi * k[:, None] * positions).cos()
