"""How the work of a step is split over processes: each computes on its share of the points, and sums make them one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import Parameter

from pinnx.expr import Points
from pinnx.solvers.natural import Linearization


class Split(ABC):
    """Which part of a step this process computes, and how the parts become the whole.

    All processes draw the same points from the same generator; each takes its share. A loss is a mean over points, so
    the whole is the sum of the parts, each weighted with its fraction of the points.
    """

    @abstractmethod
    def rows(self, count: int) -> slice:
        """Which of so many points, or instances, this process computes with."""

    @abstractmethod
    def share(self, batch: Sequence[Points]) -> Sequence[Points]:
        """This process's share of the points."""

    @abstractmethod
    def noise(self, generator: torch.Generator) -> torch.Generator:
        """What draws the samples of a stochastic estimator on this share; the given one moves on alike everywhere."""

    @abstractmethod
    def weighted(self, terms: dict[str, Tensor], batch: Sequence[Points]) -> dict[str, Tensor]:
        """The terms of this share as addends of those of the whole batch.

        Args:
            terms: means over this share: those of the equations, then one for each condition.
            batch: the whole batch: the points of the equations, then those of each condition.
        """

    @abstractmethod
    def total(self, terms: dict[str, Tensor], parameters: Sequence[Parameter]) -> dict[str, Tensor]:
        """The sums over all processes of the terms, and in place of the gradients of the parameters."""

    @abstractmethod
    def linear(self, share: Linearization, batch: Sequence[Points]) -> Linearization:
        """The linearization of the whole batch, from that of this share."""


@final
class Whole(Split):
    """One process does all."""

    def rows(self, count: int) -> slice:
        return slice(0, count)

    def share(self, batch: Sequence[Points]) -> Sequence[Points]:
        return batch

    def noise(self, generator: torch.Generator) -> torch.Generator:
        return generator

    def weighted(self, terms: dict[str, Tensor], batch: Sequence[Points]) -> dict[str, Tensor]:
        return terms

    def total(self, terms: dict[str, Tensor], parameters: Sequence[Parameter]) -> dict[str, Tensor]:
        return terms

    def linear(self, share: Linearization, batch: Sequence[Points]) -> Linearization:
        return share
