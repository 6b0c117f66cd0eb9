"""Networks that see a residual as an image on the grid: convolutions of any dimension, and how residuals reach them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pinnx.solvers.linear.directions.learned import DirectionModule
from pinnx.solvers.linear.stencil import GridOperator

#: Numbers in the largest array of one pass; larger batches go through in parts.
LARGEST_PASS = 2**26

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


class Convolution(nn.Module):
    """A 3 × 3 (× 3) convolution with zero padding; weights He-uniform, bias zero.

    Args:
        dimension: 1, 2 or 3 axes.
        inputs: channels in.
        outputs: channels out.
        generator: draws the weights.
        bias: whether a bias is added.
        size: cells per side of the kernel, odd.
    """

    def __init__(
        self, dimension: int, inputs: int, outputs: int, generator: torch.Generator, *, bias: bool, size: int = 3
    ):
        super().__init__()
        shape = (outputs, inputs, *(size,) * dimension)
        bound = (6.0 / (inputs * size**dimension)) ** 0.5
        self.weight = nn.Parameter((2 * torch.rand(shape, generator=generator) - 1) * bound)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.dimension, self.padding = dimension, size // 2

    def forward(self, image: Tensor) -> Tensor:
        """(k, inputs, *grid) -> (k, outputs, *grid)."""
        return _CONVOLUTIONS[self.dimension](image, self.weight, self.bias, padding=self.padding)


def halved(image: Tensor) -> Tensor:
    """Means over blocks of two cells per axis; an odd last cell is a block of its own."""
    return _POOLS[image.dim() - 2](image, 2, ceil_mode=True, count_include_pad=False)


def doubled(image: Tensor, like: Tensor) -> Tensor:
    """Each cell repeated twice per axis, cut to the grid of `like`."""
    for axis in range(2, image.dim()):
        image = image.repeat_interleave(2, dim=axis).narrow(axis, 0, like.shape[axis])
    return image


class ImageNetwork(DirectionModule):
    """A direction module that maps images (k, 1, *grid) to images of the same shape.

    Attributes:
        dimension: axes of the grid.
        channels: of the widest array of a pass.
        scaled: whether it sees D^(-1/2) r and gives D^(-1/2) f, D the diagonal: aware of coefficients, still symmetric.
    """

    dimension: int
    channels: int
    scaled: bool

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """(k, 1, *grid) -> (k, 1, *grid)."""

    def prepare(self, operator: GridOperator) -> Callable[[Tensor], Tensor]:
        dtype = next(self.parameters()).dtype
        factor = operator.mask.to(dtype)
        if self.scaled:
            diagonal = operator.center.to(dtype)
            factor = factor * (diagonal / diagonal.flatten(1).amax(1).reshape(-1, *(1,) * self.dimension)).rsqrt()
        return _OnGrid(self, factor.unsqueeze(1), max(1, LARGEST_PASS // (self.channels * operator.shape[1])))


class _OnGrid:
    """An image network between two factors (systems, 1, *grid); at most `at_once` residuals in a pass."""

    def __init__(self, network: ImageNetwork, factor: Tensor, at_once: int):
        self.network, self.factor, self.at_once = network, factor, at_once

    def __call__(self, residuals: Tensor) -> Tensor:
        image = residuals.reshape(-1, 1, *self.factor.shape[2:]) * self.factor
        parts = [self.network(part) for part in image.split(self.at_once)]
        return (torch.cat(parts) * self.factor).reshape(residuals.shape)

    def select(self, index: Tensor) -> _OnGrid:
        """For some of the systems."""
        return self if len(self.factor) == 1 else _OnGrid(self.network, self.factor[index], self.at_once)
