"""What a network must say of itself, so that estimators can work in its first layer's row space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn


class Network(nn.Module, ABC):
    """A function of the raw coordinates, (n, D) -> (n, m).

    A network whose first operation is affine, f(x) = tail(W x + b), says so: the estimators then work in the row
    space of W, and no cost but that of W x grows with the dimension. Tails built of torch's linear and elementwise
    functions can also carry Taylor jets (`pinnx.solvers.derivatives.jets`).
    """

    @abstractmethod
    def first_affine(self) -> tuple[Tensor, Tensor] | None:
        """Weight (h, D) and bias (h,) of the first affine layer, differentiable, or None if there is none."""

    @abstractmethod
    def tail(self, hidden: Tensor) -> Tensor:
        """The network after the first affine layer: (n, h) -> (n, m); the whole network where there is none."""

    def forward(self, points: Tensor) -> Tensor:
        """Values (n, m) at points (n, D)."""
        affine = self.first_affine()
        return self.tail(points if affine is None else torch.nn.functional.linear(points, *affine))


class NetworkSpec(ABC):
    """The options of a kind of network; leaves are frozen dataclasses registered in the family `networks`."""

    kind: ClassVar[str]

    @abstractmethod
    def build(self, inputs: int, outputs: int, *, generator: torch.Generator, dtype: torch.dtype) -> Network:
        """A freshly initialised network on the generator's device.

        Args:
            inputs: number of columns D of the points.
            outputs: number m of unknowns.
            generator: draws the initial parameters; the same generator state gives the same network.
            dtype: of the parameters.
        """
