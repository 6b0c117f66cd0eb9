"""A perceptron with skip connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.networks.base import Network, NetworkSpec
from pinnx.networks.layers import ACTIVATIONS, linear, scaled, stack
from pinnx.options import at_least, check_limits, one_of, option, positive


class ResidualNetwork(Network):
    """h ← φ(W_1 s x + b_1), then h ← h + φ(W_k h + b_k), then an affine map."""

    def __init__(self, spec: ResidualMlp, inputs: int, outputs: int, generator: torch.Generator, dtype: torch.dtype):
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
            value = value + self.activation(layer(value))
        return self.last(value)


@final
@dataclass(frozen=True)
class ResidualMlp(NetworkSpec):
    """A perceptron in which every hidden layer but the first adds to what it receives: deep ones train well.

    References:
        He et al., Deep residual learning for image recognition, CVPR 2016 (arXiv 1512.03385); used for PDEs by
        E and Yu, The deep Ritz method, Commun. Math. Stat. 6 (2018), 1-12 (arXiv 1710.00211), two layers a skip.
    """

    kind: ClassVar[str] = "residual"
    width: int = option(128, "neurons of each hidden layer", at_least(1))
    depth: int = option(4, "number of hidden layers", at_least(1))
    activation: str = option("tanh", "nonlinearity: tanh, sin, gelu or swish", one_of(*ACTIVATIONS))
    input_scale: float = option(1.0, "factor of all coordinates before the first layer", positive)

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, inputs: int, outputs: int, *, generator: torch.Generator, dtype: torch.dtype) -> ResidualNetwork:
        return ResidualNetwork(self, inputs, outputs, generator, dtype)
