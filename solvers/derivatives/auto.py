"""The default: the fastest exact estimator that can serve the network and the equation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.expr import Atom, Points
from pinnx.networks.base import Network
from pinnx.solvers.derivatives.autodiff import Autodiff
from pinnx.solvers.derivatives.base import DerivativeEstimator
from pinnx.solvers.derivatives.taylor import Taylor


@final
@dataclass(frozen=True)
class Auto(DerivativeEstimator):
    """Taylor mode where it applies, else automatic differentiation; the run says which and why."""

    kind: ClassVar[str] = "auto"

    def refusal(self, network: Network, atoms: Sequence[Atom]) -> str | None:
        return None

    def choose(self, network: Network, atoms: Sequence[Atom]) -> tuple[DerivativeEstimator, str]:
        reason = Taylor().refusal(network, atoms)
        if reason is None:
            return Taylor(), "derivatives: taylor, since the network's layers and the equation's order allow it"
        return Autodiff(), f"derivatives: autodiff, because {reason}"

    def estimate(
        self, network: Network, points: Points, atoms: Sequence[Atom], generator: torch.Generator
    ) -> dict[Atom, Tensor]:
        return self.choose(network, atoms)[0].estimate(network, points, atoms, generator)
