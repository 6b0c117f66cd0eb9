"""Networks on instances: known fields, on the nodes of a grid, go in; fields on the same nodes come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NoReturn, final

import torch
from torch import Tensor, nn

from pinnx.errors import UnsupportedError
from pinnx.networks.base import Network, NetworkSpec


class GridNetwork(nn.Module, ABC):
    """A map from known fields to fields on one grid, which works on any grid of the same axes."""

    @abstractmethod
    def forward(self, known: Tensor, coordinates: Tensor) -> Tensor:
        """Fields at the nodes.

        Args:
            known: what the instances bring, (B, c, *grid).
            coordinates: of the nodes, scaled to [-1, 1] along each axis, (D, *grid).

        Returns:
            (B, m, *grid), in the dtype of the parameters.
        """


class PointwiseGridNetwork(GridNetwork):
    """One whose values are those of a function of the coordinates and of a code of the instance.

    Attributes:
        body: of the D scaled coordinates, followed by the code.
    """

    body: Network

    @abstractmethod
    def code(self, known: Tensor) -> Tensor:
        """The codes (B, code) of instances (B, c, *grid)."""

    def forward(self, known: Tensor, coordinates: Tensor) -> Tensor:
        grid, code = coordinates.shape[1:], self.code(known)
        columns = coordinates.flatten(1).T.to(code)
        rows = (len(code), len(columns))
        inputs = torch.cat([columns.expand(*rows, -1), code[:, None].expand(*rows, -1)], -1)
        return self.body(inputs.flatten(0, 1)).unflatten(0, rows).movedim(-1, 1).unflatten(2, grid)


@final
@dataclass(frozen=True)
class Ports:
    """What goes into a network on a grid, and what comes out.

    Attributes:
        known: number c of known fields.
        outputs: number m of fields that come out.
        periodic: of each axis of the grid, whether it is periodic.
    """

    known: int
    outputs: int
    periodic: tuple[bool, ...]


class GridNetworkSpec(NetworkSpec):
    """The options of a network on instances; leaves are frozen dataclasses registered in the family `networks`."""

    def build(self, inputs: int, outputs: int, *, generator: torch.Generator, dtype: torch.dtype) -> NoReturn:
        """Refused: there is no function of the coordinates alone.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError(
            f"the network {self.kind!r} maps what an instance brings to fields on a grid, and this solver needs a "
            "function of the coordinates alone, such as mlp; it serves the solver hard-constraint on an equation with "
            "instances"
        )

    def build_on_grid(
        self,
        known: int,
        outputs: int,
        periodic: tuple[bool, ...],
        *,
        generator: torch.Generator,
        dtype: torch.dtype,
    ) -> GridNetwork:
        """A freshly initialised network on the generator's device.

        Args:
            known: number c of known fields.
            outputs: number m of fields that come out.
            periodic: of each axis of the grid, whether it is periodic.
            generator: draws the initial parameters; the same generator state gives the same network.
            dtype: of the parameters.

        Raises:
            UnsupportedError: there is no such network for so many axes.
        """
        if not 1 <= len(periodic) <= 3:
            raise UnsupportedError(
                f"the network {self.kind!r} is for grids of 1, 2 or 3 axes; this one has {len(periodic)}"
            )
        return self._built(Ports(known, outputs, periodic), generator, dtype)

    @abstractmethod
    def _built(self, ports: Ports, generator: torch.Generator, dtype: torch.dtype) -> GridNetwork:
        """The network, for one to three axes."""
