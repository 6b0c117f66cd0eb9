"""The plain multilayer perceptron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.networks.base import Network, NetworkSpec
from pinnx.networks.layers import ACTIVATIONS, linear, scaled, stack
from pinnx.options import at_least, check_limits, one_of, option, positive


class MlpNetwork(Network):
    """x ↦ A φ(W_k … φ(W_1 s x + b_1) … + b_k) + a, with s the input scale."""

    def __init__(self, spec: Mlp, inputs: int, outputs: int, generator: torch.Generator, dtype: torch.dtype):
        super().__init__()
        self.first = linear(inputs, spec.width, generator, dtype)
        self.hidden = stack(spec.depth - 1, spec.width, generator, dtype)
        self.last = linear(spec.width, outputs, generator, dtype)
        self.activation, self.input_scale = ACTIVATIONS[spec.activation], spec.input_scale

    def first_affine(self) -> tuple[Tensor, Tensor]:
        return scaled(self.first.weight, self.input_scale), self.first.bias

    def tail(self, hidden: Tensor) -> Tensor:
        value = self.activation(hidden)
        for layer in self.hidden:
            value = self.activation(layer(value))
        return self.last(value)


@final
@dataclass(frozen=True)
class Mlp(NetworkSpec):
    """A multilayer perceptron: `depth` hidden layers of `width` neurons, Glorot-normal weights, zero biases.

    Example:
        >>> generator = torch.Generator().manual_seed(40903)
        >>> network = Mlp(width=16, depth=2).build(3, 1, generator=generator, dtype=torch.float64)
        >>> network(torch.zeros(5, 3, dtype=torch.float64)).shape
        torch.Size([5, 1])
    """

    kind: ClassVar[str] = "mlp"
    width: int = option(128, "neurons of each hidden layer", at_least(1))
    depth: int = option(3, "number of hidden layers", at_least(1))
    activation: str = option("tanh", "nonlinearity: tanh, sin, gelu or swish", one_of(*ACTIVATIONS))
    input_scale: float = option(1.0, "factor of all coordinates before the first layer", positive)

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, inputs: int, outputs: int, *, generator: torch.Generator, dtype: torch.dtype) -> MlpNetwork:
        return MlpNetwork(self, inputs, outputs, generator, dtype)
