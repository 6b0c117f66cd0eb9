"""What the networks are built of: activations by name, and linear layers drawn from a generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sin": torch.sin,
    "gelu": nn.functional.gelu,
    "swish": nn.functional.silu,
}
"""The activations by name. All are smooth: a PDE differentiates its network at least twice."""


def linear(inputs: int, outputs: int, generator: torch.Generator, dtype: torch.dtype) -> nn.Linear:
    """A linear layer with Glorot-normal weights, of variance 2 / (inputs + outputs), and zero bias.

    This is the initialization of nearly all the published networks of this field (Glorot and Bengio, AISTATS 2010).
    """
    layer = cast(nn.Linear, nn.utils.skip_init(nn.Linear, inputs, outputs, device=generator.device, dtype=dtype))
    with torch.no_grad():
        nn.init.xavier_normal_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
    return layer


def stack(layers: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> nn.ModuleList:
    """So many square linear layers, one after the other."""
    return nn.ModuleList(linear(width, width, generator, dtype) for _ in range(layers))


def scaled(weight: Tensor, scale: float) -> Tensor:
    """The weight that acts on raw inputs when the layer means scaled ones."""
    return weight if scale == 1.0 else weight * scale
