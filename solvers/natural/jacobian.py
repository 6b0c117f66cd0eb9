"""What a natural-gradient step needs of the Jacobian J of a residual vector, however it is held."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor


class Jacobian(ABC):
    """J = ∂r/∂θ (N, P): derivatives of N residuals in P parameters, flattened in the order of the parameters."""

    @abstractmethod
    def gram(self) -> Tensor:
        """K = J Jᵀ, (N, N)."""

    @abstractmethod
    def apply(self, direction: Tensor) -> Tensor:
        """J p: (P,) -> (N,)."""

    @abstractmethod
    def adjoint(self, rows: Tensor) -> Tensor:
        """Jᵀ v: (N,) -> (P,)."""

    @abstractmethod
    def rows(self) -> Tensor:
        """J itself, (N, P)."""


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """One vector of all entries, in order."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def unflatten(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `flatten`: views of the vector in the shapes of `like`."""
    parts = vector.split([tensor.numel() for tensor in like])
    return [part.view_as(tensor) for part, tensor in zip(parts, like, strict=True)]
