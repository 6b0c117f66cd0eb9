"""A network whose tail runs through torch.compile."""

from __future__ import annotations

import warnings
from typing import final

import torch
from torch import Tensor

from pinnx.networks.base import Network


@final
class CompiledTail(Network):
    """The same network, with fused kernels after its first affine layer.

    It shares the parameters of the original, which stays as it is: what is saved, copied or differentiated twice is the
    original, since compiled code allows none of these.

    Args:
        plain: the original.
    """

    def __init__(self, plain: Network):
        super().__init__()
        self.plain = plain
        self._compiled = torch.compile(plain.tail)

    def first_affine(self) -> tuple[Tensor, Tensor] | None:
        return self.plain.first_affine()

    def tail(self, hidden: Tensor) -> Tensor:
        with warnings.catch_warnings():
            # the compiler looks at the gradient of its inputs, which are no leaves here
            warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
            return self._compiled(hidden)
