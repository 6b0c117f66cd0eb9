"""How the rows of a solve are shared by processes: each condenses its own, and one sum makes them whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
import torch.distributed as dist
from torch import Tensor


class Sharing(ABC):
    """This process among those that solve together.

    All processes call the same solves with the same points and instances. Each sorts, evaluates and condenses its share
    of the rows; what is condensed is small, and the rest of the solve is done by all alike, so that all hold the same
    coefficients. The gradients that reach the forms are addends: the loss is the sum of what the processes call
    `backward` on, and the gradients of shared parameters are to be summed over the processes.
    """

    @property
    @abstractmethod
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of processes."""

    @abstractmethod
    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes of a tensor of one shape, the same bits everywhere."""

    def share(self, number: int) -> slice:
        """This process's part of so many things."""
        return slice(number * self.rank // self.count, number * (self.rank + 1) // self.count)


@final
class Alone(Sharing):
    """One process does all."""

    @property
    def rank(self) -> int:
        return 0

    @property
    def count(self) -> int:
        return 1

    def total(self, values: Tensor) -> Tensor:
        return values


@final
class Processes(Sharing):
    """The processes of a group of torch.distributed, which has begun.

    Args:
        group: by default all.
    """

    def __init__(self, group: dist.ProcessGroup | None = None):
        self.group = group

    @property
    def rank(self) -> int:
        return dist.get_rank(self.group)

    @property
    def count(self) -> int:
        return dist.get_world_size(self.group)

    def total(self, values: Tensor) -> Tensor:
        sent = values.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(sent, group=self.group)
        return sent
