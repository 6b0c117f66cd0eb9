"""A very small network of every cell: how the V-cycle turns local features of a matrix into weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CellPerceptron(nn.Module):
    """One hidden layer of tanh, the same for every cell; starts at zero, so that training starts at the classical
    weights.

    Args:
        inputs: features of a cell.
        hidden: neurons.
        outputs: numbers per cell.
        generator: draws the first layer.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, generator: torch.Generator):
        super().__init__()
        self.first_weight = nn.Parameter(torch.randn(inputs, hidden, generator=generator) / inputs**0.5)
        self.first_bias = nn.Parameter(torch.zeros(hidden))
        self.last_weight = nn.Parameter(torch.zeros(hidden, outputs))
        self.last_bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        """Features, each of the same shape, to outputs, each of that shape."""
        rows = torch.stack([feature.reshape(-1) for feature in features], dim=1)
        hidden = torch.addmm(self.first_bias, rows, self.first_weight).tanh()
        values = torch.addmm(self.last_bias, hidden, self.last_weight)
        return tuple(value.reshape(features[0].shape) for value in values.unbind(1))
