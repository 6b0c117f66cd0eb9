"""Directions of compiled libraries, which take one NumPy vector of one system at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor


@final
class PerSystem:
    """A prepared direction made of one function (n,) -> (n,) per system, or one for all columns.

    Args:
        functions: one, or as many as there are systems.
    """

    def __init__(self, functions: Sequence[Callable[[np.ndarray], np.ndarray]]):
        self.functions = list(functions)

    def __call__(self, r: Tensor) -> Tensor:
        rows = r.detach().cpu().double().numpy()
        functions = self.functions * (len(rows) if len(self.functions) == 1 else 1)
        images = np.stack([f(row) for f, row in zip(functions, rows, strict=True)])
        return torch.from_numpy(images).to(r)

    def select(self, index: Tensor) -> PerSystem:
        """The functions of some of the systems."""
        return self if len(self.functions) == 1 else PerSystem([self.functions[i] for i in index.tolist()])
