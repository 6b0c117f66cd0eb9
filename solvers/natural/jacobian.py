"""What a natural-gradient step needs of the Jacobian J of a residual vector, however it is held."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

#: Elements of the rows that are formed, or exchanged, at once.
CHUNK_ELEMENTS = 2**23


class Exchange(ABC):
    """What processes that hold some rows of J each ask of one another to come to K = J Jᵀ.

    The rows of the whole are those of process 0, then those of process 1, and so on; each process has the same groups
    of rows in the same order. All processes call the same methods in the same order.

    Attributes:
        rank: this process's number.
        sizes: rows of each process, by group.
    """

    rank: int
    sizes: Sequence[Sequence[int]]

    @property
    def total(self) -> int:
        """N, the rows of all."""
        return sum(map(sum, self.sizes))

    @property
    def own(self) -> slice:
        """The rows of this process among those of all."""
        start = sum(map(sum, self.sizes[: self.rank]))
        return slice(start, start + sum(self.sizes[self.rank]))

    @abstractmethod
    def columns(self, rows: Tensor) -> Tensor:
        """From some rows of a matrix, all its columns, to some columns of it, all its rows: (n, c) -> (N, c′)."""

    @abstractmethod
    def gather(self, parts: Sequence[Tensor], groups: Sequence[int]) -> list[list[Tensor]]:
        """The tensors of every process.

        Args:
            parts: of this process, (s, n, k) each, with the rows of one group; s and k are the same everywhere.
            groups: the group of each.
        """


@final
class Alone(Exchange):
    """One process holds all rows.

    Args:
        sizes: rows by group.
    """

    rank = 0

    def __init__(self, sizes: Sequence[int]):
        self.sizes = [sizes]

    def columns(self, rows: Tensor) -> Tensor:
        return rows

    def gather(self, parts: Sequence[Tensor], groups: Sequence[int]) -> list[list[Tensor]]:
        return [list(parts)]


class Jacobian(ABC):
    """J = ∂r/∂θ (N, P): derivatives of N residuals in P parameters, flattened in the order of the parameters."""

    @abstractmethod
    def gram(self, exchange: Exchange | None = None) -> Tensor:
        """K = J Jᵀ, (N, N).

        Args:
            exchange: with other processes, if these hold rows of J, too: then the sum over all processes is K.
        """

    @abstractmethod
    def apply(self, direction: Tensor) -> Tensor:
        """J p: (P,) -> (N,)."""

    @abstractmethod
    def adjoint(self, rows: Tensor) -> Tensor:
        """Jᵀ v: (N,) -> (P,)."""

    @abstractmethod
    def rows(self) -> Tensor:
        """J itself, (N, P)."""

    def normal(self) -> Tensor:
        """Jᵀ J, (P, P)."""
        rows = self.rows()
        return rows.T @ rows


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """One vector of all entries, in order."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def unflatten(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `flatten`: views of the vector in the shapes of `like`."""
    parts = vector.split([tensor.numel() for tensor in like])
    return [part.view_as(tensor) for part, tensor in zip(parts, like, strict=True)]
