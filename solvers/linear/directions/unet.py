"""U-Nets without biases: homogeneous with ReLU, linear without."""

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
class UNet(DirectionSpec):
    """A U-Net with ReLU and without biases: f(c r) = c f(r) for c > 0, but not linear.

    One convolution per level on the way down and one on the way up (Ronneberger et al., arXiv 1505.04597, much
    thinner); 23 328 parameters in 2-d with the defaults.
    """

    kind: ClassVar[str] = "u-net"
    linear: ClassVar[bool] = False
    symmetric: ClassVar[bool] = False
    homogeneous: ClassVar[bool] = True

    dimension: int = option(2, "axes of the grid", between(1, 3))
    channels: int = option(16, "channels of each convolution", at_least(1))
    levels: int = option(5, "grids, each of half the cells per axis of the one before", at_least(1))

    def __post_init__(self) -> None:
        check_limits(self)

    def build_module(self, generator: torch.Generator) -> UNetNetwork:
        return UNetNetwork(self.dimension, self.channels, self.levels, generator, linear=False)


@final
@dataclass(frozen=True)
class LinearUNet(DirectionSpec):
    """The U-Net without its ReLU: a linear map of the residual, not symmetric."""

    kind: ClassVar[str] = "linear-u-net"
    linear: ClassVar[bool] = True
    symmetric: ClassVar[bool] = False
    homogeneous: ClassVar[bool] = True

    dimension: int = option(2, "axes of the grid", between(1, 3))
    channels: int = option(16, "channels of each convolution", at_least(1))
    levels: int = option(5, "grids, each of half the cells per axis of the one before", at_least(1))

    def __post_init__(self) -> None:
        check_limits(self)

    def build_module(self, generator: torch.Generator) -> UNetNetwork:
        return UNetNetwork(self.dimension, self.channels, self.levels, generator, linear=True)


class UNetNetwork(ImageNetwork):
    """The network of `UNet` and `LinearUNet`.

    Args:
        dimension: axes of the grid.
        channels: of each convolution.
        levels: number of grids.
        generator: draws the weights.
        linear: without ReLU.
    """

    scaled = True

    def __init__(self, dimension: int, channels: int, levels: int, generator: torch.Generator, *, linear: bool):
        super().__init__()
        self.dimension, self.channels, self.linear = dimension, channels, linear

        def convolution(inputs: int, outputs: int) -> Convolution:
            layer = Convolution(dimension, inputs, outputs, generator, bias=False)
            if linear:
                layer.weight.data.mul_(2**-0.5)  # He's factor makes up for the half that a ReLU cuts off
            return layer

        self.first = convolution(1, channels)
        self.down = nn.ModuleList(convolution(channels, channels) for _ in range(levels))
        self.up = nn.ModuleList(convolution(channels, channels) for _ in range(levels))
        self.last = convolution(channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        image, skips = self.first(image), []
        for number, layer in enumerate(self.down):
            image = self._activated(layer(halved(image) if number else image))
            skips.append(image)
        for number, layer in enumerate(self.up):
            skip = skips.pop()
            image = self._activated(layer(doubled(image, skip) + skip if number else image))
        return self.last(image)

    def _activated(self, image: Tensor) -> Tensor:
        return image if self.linear else image.relu()
