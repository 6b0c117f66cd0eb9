"""A perceptron on random Fourier features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.networks.base import Network, NetworkSpec
from pinnx.networks.layers import ACTIVATIONS, linear, scaled, stack
from pinnx.options import at_least, check_limits, one_of, option, positive


class FourierNetwork(Network):
    """x ↦ MLP(sin B s x, cos B s x), with B frozen and s the input scale; B is the first affine layer."""

    frequencies: Tensor
    phases: Tensor

    def __init__(self, spec: FourierMlp, inputs: int, outputs: int, generator: torch.Generator, dtype: torch.dtype):
        super().__init__()
        draw = torch.randn(spec.features, inputs, generator=generator, device=generator.device, dtype=dtype)
        # Buffers, not parameters: saved with the network, never trained.
        self.register_buffer("frequencies", draw * spec.scale)
        self.register_buffer("phases", torch.zeros(spec.features, device=generator.device, dtype=dtype))
        self.second = linear(2 * spec.features, spec.width, generator, dtype)
        self.hidden = stack(spec.depth - 1, spec.width, generator, dtype)
        self.last = linear(spec.width, outputs, generator, dtype)
        self.activation, self.input_scale = ACTIVATIONS[spec.activation], spec.input_scale

    def first_affine(self) -> tuple[Tensor, Tensor]:
        return scaled(self.frequencies, self.input_scale), self.phases

    def tail(self, hidden: Tensor) -> Tensor:
        value = torch.cat([torch.sin(hidden), torch.cos(hidden)], dim=-1)
        for layer in (self.second, *self.hidden):
            value = self.activation(layer(value))
        return self.last(value)


@final
@dataclass(frozen=True)
class FourierMlp(NetworkSpec):
    """A perceptron on the features sin Bx, cos Bx; the entries of B are drawn once from N(0, scale²) and stay fixed.

    The scale sets which frequencies are learned first. Bx has standard deviation scale·|x|, so the right scale falls
    as the norm of the points grows.

    References:
        Tancik et al., Fourier features let networks learn high frequency functions in low dimensional domains,
        NeurIPS 2020 (arXiv 2006.10739), whose B is ours divided by 2π.
        Wang, Wang, Perdikaris, On the eigenvector bias of Fourier feature networks, CMAME 384 (2021), 113938
        (arXiv 2012.10047).
    """

    kind: ClassVar[str] = "fourier"
    width: int = option(128, "neurons of each hidden layer", at_least(1))
    depth: int = option(2, "number of hidden layers after the features", at_least(1))
    activation: str = option("tanh", "nonlinearity: tanh, sin, gelu or swish", one_of(*ACTIVATIONS))
    features: int = option(64, "number of random frequencies; each gives a sine and a cosine", at_least(1))
    scale: float = option(1.0, "standard deviation of the random frequencies, in radians per unit of length", positive)
    input_scale: float = option(1.0, "factor of all coordinates before the first layer", positive)

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, inputs: int, outputs: int, *, generator: torch.Generator, dtype: torch.dtype) -> FourierNetwork:
        return FourierNetwork(self, inputs, outputs, generator, dtype)
