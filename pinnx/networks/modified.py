"""The modified perceptron of Wang, Teng and Perdikaris: two gates mix into every layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from pinnx.networks.base import Network, NetworkSpec
from pinnx.networks.layers import ACTIVATIONS, linear, scaled, stack
from pinnx.options import at_least, check_limits, one_of, option, positive


class ModifiedNetwork(Network):
    """U, V, H = φ(three affine maps of x); then H ← (1 − Z) U + Z V with Z = φ(W_k H + b_k); then an affine map."""

    def __init__(self, spec: ModifiedMlp, inputs: int, outputs: int, generator: torch.Generator, dtype: torch.dtype):
        super().__init__()
        # The three first layers read the same x, so they are one layer of 3h rows; each third is drawn as a layer of
        # its own, because the Glorot variance depends on the number of rows.
        thirds = [linear(inputs, spec.width, generator, dtype) for _ in range(3)]
        self.first_weight = nn.Parameter(torch.cat([layer.weight.detach() for layer in thirds]))
        self.first_bias = nn.Parameter(torch.cat([layer.bias.detach() for layer in thirds]))
        self.hidden = stack(spec.depth - 1, spec.width, generator, dtype)
        self.last = linear(spec.width, outputs, generator, dtype)
        self.activation, self.input_scale = ACTIVATIONS[spec.activation], spec.input_scale

    def first_affine(self) -> tuple[Tensor, Tensor]:
        return scaled(self.first_weight, self.input_scale), self.first_bias

    def tail(self, hidden: Tensor) -> Tensor:
        low, high, value = torch.chunk(self.activation(hidden), 3, dim=-1)
        difference = high - low
        for layer in self.hidden:
            gate = self.activation(layer(value))
            value = low + gate * difference
        return self.last(value)


@final
@dataclass(frozen=True)
class ModifiedMlp(NetworkSpec):
    """A perceptron whose every hidden layer interpolates between two encodings of the input.

    References:
        Wang, Teng, Perdikaris, Understanding and mitigating gradient flow pathologies in physics-informed neural
        networks, SIAM J. Sci. Comput. 43 (2021), A3055-A3081 (arXiv 2001.04536), section 2.6.
    """

    kind: ClassVar[str] = "modified"
    width: int = option(128, "neurons of each hidden layer", at_least(1))
    depth: int = option(3, "number of hidden layers, the first included; the others are gated", at_least(2))
    activation: str = option("tanh", "nonlinearity: tanh, sin, gelu or swish", one_of(*ACTIVATIONS))
    input_scale: float = option(1.0, "factor of all coordinates before the first layer", positive)

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, inputs: int, outputs: int, *, generator: torch.Generator, dtype: torch.dtype) -> ModifiedNetwork:
        return ModifiedNetwork(self, inputs, outputs, generator, dtype)
