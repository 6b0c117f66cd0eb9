"""What the constraint layer found, instance by instance."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

import torch
from torch import Tensor


class Ending(StrEnum):
    """The ways the solve of one instance can end, the worst last."""

    CONVERGED = "converged"
    NOT_CONVERGED = "not converged"
    RANK_DEFICIENT = "rank-deficient"
    NOT_FINITE = "not finite"


@final
@dataclass(frozen=True)
class InstanceStatus:
    """How the solve of one instance ended.

    Attributes:
        ending: in one word.
        message: a sentence: which experts, why, and what to do about it.
    """

    ending: Ending
    message: str

    @property
    def ok(self) -> bool:
        """Whether it converged."""
        return self.ending is Ending.CONVERGED


@final
@dataclass(frozen=True)
class Solved:
    """The coefficients of every instance.

    Attributes:
        omega: coefficients (B, N), or (B, E, N) of a mixture of E experts; float64, differentiable in the forms,
            offsets and given values. Finite even where the status is not ok: the best that was met.
        statuses: one per instance.
        iterations: per instance, (B,) integers.
        residual_norm: square root of the minimized sum of mean squares, (B,); without gradients.
        smallest_singular: estimate per instance of the smallest singular value of the Jacobian with columns of length
            1, (B,): how well the rows determine the coefficients.
    """

    omega: Tensor
    statuses: tuple[InstanceStatus, ...]
    iterations: Tensor
    residual_norm: Tensor
    smallest_singular: Tensor

    @property
    def ok(self) -> Tensor:
        """Which instances converged, (B,) bool."""
        return torch.tensor([status.ok for status in self.statuses], device=self.omega.device)

    @property
    def counts(self) -> dict[str, int]:
        """Number of instances per ending, those that occur."""
        endings = [status.ending for status in self.statuses]
        return {str(ending): endings.count(ending) for ending in Ending if ending in endings}
