"""Seeded constants of equations: drawn once, in float64, the same on every device."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=16)
def normal(count: int, seed: int) -> Tensor:
    """So many independent draws of N(0, 1), (count,)."""
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@lru_cache(maxsize=16)
def uniform(count: int, seed: int) -> Tensor:
    """So many independent draws of U(0, 1), (count,)."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
