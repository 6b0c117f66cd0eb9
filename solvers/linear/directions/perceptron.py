"""A very small network of every cell: how the V-cycle turns local features of a matrix into weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

#: Makes a value of the outputs and the features of a cell.
Head = Callable[[tuple[Tensor, ...], tuple[Tensor, ...]], Tensor]

#: Cells that are looked at to find the typical one.
_SAMPLES = 255
#: Features of order one that differ by less are the same but for rounding.
_ALIKE = 2e-6


class CellPerceptron(nn.Module):
    """One hidden layer of tanh, the same for every cell; starts at zero, so that training starts at the classical
    weights. The first feature must be zero where the value is of no matter, as in obstacles.

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

    def forward(self, head: Head, *features: Tensor) -> Tensor:
        """head(outputs, features) for features of one shape, in that shape.

        Most cells of a grid look alike: without gradients, all that have the features of the typical cell, or none at
        all, share one evaluation.

        Args:
            head: makes a value of the outputs and the features of each cell.
            features: of each cell.
        """
        if torch.is_grad_enabled():
            return head(self._outputs(features), features)
        flat = [feature.reshape(-1) for feature in features]
        samples = torch.stack([values[:: max(1, len(values) // _SAMPLES)] for values in flat])
        typical = samples.median(dim=1, keepdim=True).values.unbind(0)
        special = flat[0] != 0
        different = torch.zeros_like(special)
        for values, usual in zip(flat, typical, strict=True):
            different |= (values - usual).abs_() > _ALIKE
        index = (special & different).nonzero().squeeze(1)
        result = head(self._outputs(typical), typical).expand(flat[0].shape).clone()
        chosen = tuple(values[index] for values in flat)
        result[index] = head(self._outputs(chosen), chosen)
        return result.reshape(features[0].shape)

    def _outputs(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        rows = torch.stack([feature.reshape(-1) for feature in features], dim=1)
        hidden = torch.addmm(self.first_bias, rows, self.first_weight).tanh()
        values = torch.addmm(self.last_bias, hidden, self.last_weight)
        return tuple(value.reshape(features[0].shape) for value in values.unbind(1))
