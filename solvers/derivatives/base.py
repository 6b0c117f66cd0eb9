"""What an estimator of derivatives is: it delivers atoms of a network, and knows no equation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.expr import Atom, Points
from pinnx.networks.base import Network


class DerivativeEstimator(ABC):
    """Delivers the values of atoms of a network at points. Leaves are frozen dataclasses; their fields are options.

    Attributes:
        kind: its name in a case file.
        stochastic: whether estimates depend on the generator.
    """

    kind: ClassVar[str]
    stochastic: ClassVar[bool] = False

    @abstractmethod
    def refusal(self, network: Network, atoms: Sequence[Atom]) -> str | None:
        """Why these atoms of this network are out of reach, as a clause after "because"; None if they are not."""

    @abstractmethod
    def estimate(
        self, network: Network, points: Points, atoms: Sequence[Atom], generator: torch.Generator
    ) -> dict[Atom, Tensor]:
        """All atoms in one batched pass, differentiable in the network's parameters.

        Args:
            network: maps (n, D) to (n, m); the atom's unknown says which output.
            points: n points.
            atoms: distinct atoms of unknowns; an exact estimator gives equal values in every slot.
            generator: draws the samples of a stochastic estimator.

        Returns:
            For each atom (n,), or (n, d) for a gradient.

        Raises:
            UnsupportedError: an atom or the network is out of reach (see `refusal`).
        """

    def choose(self, network: Network, atoms: Sequence[Atom]) -> tuple[DerivativeEstimator, str]:
        """The estimator that will do the work, and a sentence saying which and why.

        Raises:
            UnsupportedError: the estimator cannot do it.
        """
        reason = self.refusal(network, atoms)
        if reason is not None:
            raise UnsupportedError(f"the derivatives {self.kind!r} cannot serve here, because {reason}")
        return self, f"derivatives: {self.kind}, as asked{self.details(network)}"

    def details(self, network: Network) -> str:
        """What the note says further of the options, as a clause; empty for none."""
        return ""

    def evaluations(self, atoms: Sequence[Atom], samples: int = 0) -> int:
        """Number of network evaluations per point of one pass.

        Args:
            atoms: what is asked for.
            samples: number of samples drawn, of a stochastic estimator.
        """
        return 1
