"""What a domain is: a set of points that can be sampled, tested for membership, and has a boundary."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.expr.points import Coordinates, Points


class Domain(ABC):
    """A set of points with named coordinates. Leaves are frozen dataclasses, one per file."""

    @property
    @abstractmethod
    def coordinates(self) -> Coordinates:
        """The names and columns of the coordinates."""

    @abstractmethod
    def sample(
        self, n: int, generator: torch.Generator, *, dtype: torch.dtype = torch.float64, method: str = "uniform"
    ) -> Points:
        """Draw `n` points on the generator's device.

        Args:
            n: number of points.
            generator: draws the points.
            dtype: of the points.
            method: "uniform" (independent draws from the domain's own law) or "sobol" (a scrambled Sobol sequence,
                pushed through the same map); a domain that cannot use Sobol points raises UnsupportedError.
        """

    @abstractmethod
    def contains(self, points: Points) -> Tensor:
        """Whether each point lies in the closed domain, bool (n,)."""

    @abstractmethod
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds (D,), float64, of the region worth plotting: the bounding box, or, for an unbounded
        law, its bulk."""

    def boundary(self) -> Domain:
        """The boundary as a domain; its points carry the outward unit normal in `extra["normal"]`.

        Raises:
            UnsupportedError: the domain has no boundary that can be sampled.
        """
        raise UnsupportedError(f"{type(self).__name__} has no boundary that can be sampled")
