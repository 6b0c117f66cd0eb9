"""Experts that know nothing of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

from torch import Tensor

from pinnx.expr import Points
from pinnx.options import option
from pinnx.solvers.experts.couplings.base import Coupling
from pinnx.solvers.experts.grouping import Groups, everywhere, group
from pinnx.solvers.experts.partition import Partition
from pinnx.solvers.experts.rows import Role


@final
@dataclass(frozen=True)
class Independent(Coupling):
    """Each expert fits the equation on its own block, and initial and boundary data; nothing joins it to its neighbors.

    This is the published scheme (N. Chalapathi, Y. Du, A. Krishnapriyan, ICLR 2024, arXiv 2402.13412). A block that
    touches neither the initial time nor the boundary has no data of its own: unless the basis knows the solution, its
    coefficients are badly determined.
    """

    kind: ClassVar[str] = "independent"
    conditions: Literal["everywhere", "own"] = option(
        "everywhere", "which initial and boundary data an expert sees: all (published), or those of its block"
    )

    def members(self, partition: Partition, points: Points) -> Tensor:
        return partition.locate(points)[:, None]

    def groups(self, partition: Partition, points: Points, members: Tensor, role: Role) -> tuple[Groups, ...]:
        if role == "condition" and self.conditions == "everywhere":
            return (everywhere(len(points), len(partition), members.device),)
        return group(members)

    def share(self, partition: Partition, role: Role) -> float:
        return 1 / len(partition) if role == "condition" and self.conditions == "everywhere" else 1.0
