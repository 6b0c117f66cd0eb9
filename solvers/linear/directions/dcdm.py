"""The published network of deep conjugate directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from pinnx.options import at_least, between, check_limits, option
from pinnx.solvers.linear.directions.images import Convolution, ImageNetwork, doubled, halved
from pinnx.solvers.linear.directions.learned import DirectionSpec


@final
@dataclass(frozen=True)
class Dcdm(DirectionSpec):
    """Deep conjugate directions (Kaneda et al., ICML 2023, arXiv 2205.10763, section 4).

    3 × 3 (× 3) convolutions with biases and ReLU, one level of average pooling, residual pairs around it, a pointwise
    last layer: 97 457 parameters with the published settings in 3-d for 64³, 32 657 in 2-d. `pairs_coarse = 7`
    gives the published network for 128³ (152 881). Neither linear nor symmetric, nor homogeneous: it sees r/‖r‖.
    """

    kind: ClassVar[str] = "dcdm"
    linear: ClassVar[bool] = False
    symmetric: ClassVar[bool] = False
    homogeneous: ClassVar[bool] = False

    dimension: int = option(2, "axes of the grid", between(1, 3))
    channels: int = option(16, "channels of each convolution", at_least(1))
    pairs_fine: int = option(
        2, "pairs of convolutions on the grid, before and again after the coarse ones", at_least(1)
    )
    pairs_coarse: int = option(3, "pairs of convolutions on the pooled grid", at_least(1))

    def __post_init__(self) -> None:
        check_limits(self)

    def build_module(self, generator: torch.Generator) -> DcdmNetwork:
        return DcdmNetwork(self, generator)


class DcdmNetwork(ImageNetwork):
    """The network of `Dcdm`."""

    scaled = False

    def __init__(self, spec: Dcdm, generator: torch.Generator):
        super().__init__()
        self.dimension, self.channels = spec.dimension, spec.channels

        def convolution(inputs: int = spec.channels, outputs: int = spec.channels, size: int = 3) -> Convolution:
            return Convolution(spec.dimension, inputs, outputs, generator, bias=True, size=size)

        def pairs(count: int) -> nn.ModuleList:
            return nn.ModuleList(convolution() for _ in range(2 * count))

        self.first, self.before = convolution(inputs=1), pairs(spec.pairs_fine)
        self.coarse, self.after = pairs(spec.pairs_coarse), pairs(spec.pairs_fine)
        self.last = convolution(outputs=1, size=1)

    def forward(self, image: Tensor) -> Tensor:
        fine = _residual_pairs(self.before, self.first(image))
        coarse = _residual_pairs(self.coarse, halved(fine))
        return self.last(_residual_pairs(self.after, doubled(coarse, fine) + fine))


def _residual_pairs(layers: nn.ModuleList, image: Tensor) -> Tensor:
    """The map x ↦ x + relu(C₂ relu(C₁ x)), pair after pair."""
    for first, second in zip(layers[::2], layers[1::2], strict=True):
        image = image + second(first(image).relu()).relu()
    return image
