"""A coordinate network on instances: a perceptron of the coordinates and a code of what the instance brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from pinnx.networks.grid import GridNetworkSpec, PointwiseGridNetwork, Ports
from pinnx.networks.layers import linear
from pinnx.networks.mlp import Mlp
from pinnx.options import at_least, check_limits, option

_POOLS = {
    1: nn.functional.adaptive_avg_pool1d,
    2: nn.functional.adaptive_avg_pool2d,
    3: nn.functional.adaptive_avg_pool3d,
}


class EncodedNetwork(PointwiseGridNetwork):
    """(x, instance) ↦ MLP(x, tanh(E s)), with s the means of the known fields over a few cells of each axis.

    Attributes:
        body: the perceptron, of the coordinates followed by the code: an ordinary network, whose derivatives in the
            coordinates any estimator gives.
    """

    def __init__(self, spec: EncodedMlp, ports: Ports, generator: torch.Generator, dtype: torch.dtype):
        super().__init__()
        self.axes, self.cells = len(ports.periodic), spec.cells
        self.encoder = linear(ports.known * spec.cells**self.axes, spec.code, generator, dtype)
        self.body = spec.perceptron.build(self.axes + spec.code, ports.outputs, generator=generator, dtype=dtype)

    def code(self, known: Tensor) -> Tensor:
        """The codes (B, code) of instances (B, c, *grid)."""
        known = known.to(self.encoder.weight.dtype)
        means = _POOLS[self.axes](known, self.cells)
        return torch.tanh(self.encoder(means.flatten(1)))


@final
@dataclass(frozen=True)
class EncodedMlp(GridNetworkSpec):
    """A perceptron of the coordinates and of a code of the instance: no grid is needed between the nodes.

    The code is an affine map, then tanh, of the means of the known fields over `cells` cells of each axis, so it is the
    same on every grid up to the error of these means.

    Example:
        >>> generator = torch.Generator().manual_seed(71933)
        >>> spec = EncodedMlp(width=8, cells=4)
        >>> network = spec.build_on_grid(1, 3, (True, False), generator=generator, dtype=torch.float64)
        >>> network(torch.ones(2, 1, 16, 9), torch.zeros(2, 16, 9)).shape
        torch.Size([2, 3, 16, 9])
    """

    kind: ClassVar[str] = "encoded-mlp"
    width: int = option(64, "neurons of each hidden layer", at_least(1))
    depth: int = option(3, "number of hidden layers", at_least(1))
    code: int = option(16, "numbers that stand for the instance", at_least(1))
    cells: int = option(16, "cells per axis over which known fields are averaged", at_least(1))

    def __post_init__(self) -> None:
        check_limits(self)

    @property
    def perceptron(self) -> Mlp:
        """The perceptron's own options."""
        return Mlp(width=self.width, depth=self.depth)

    def _built(self, ports: Ports, generator: torch.Generator, dtype: torch.dtype) -> EncodedNetwork:
        return EncodedNetwork(self, ports, generator, dtype)
