"""What a coupling is: how the coefficients of the experts depend on each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from pinnx.expr import Atom, Points
from pinnx.solvers.experts.grouping import Groups, Recipe, group, same
from pinnx.solvers.experts.partition import Partition
from pinnx.solvers.experts.rows import Role, Rows
from pinnx.solvers.experts.sharing import Sharing
from pinnx.solvers.experts.tables import Table


class Coupling(ABC):
    """How a mixture is made of its experts, and which rows tie them. Leaves are frozen dataclasses, one per file.

    Attributes:
        kind: its name in a case file.
    """

    kind: ClassVar[str]

    def requests(self, atoms: Sequence[Atom], points: Points) -> tuple[Atom, ...]:
        """The atoms whose forms rows must bring, those of the residuals first.

        Args:
            atoms: those of the residuals.
            points: any of the domain's, for its coordinates.
        """
        return tuple(dict.fromkeys(atoms))

    @abstractmethod
    def members(self, partition: Partition, points: Points) -> Tensor:
        """The experts that the mixture consists of at each point, (n, m); -1 fills up."""

    def recipes(
        self, partition: Partition, points: Points, members: Tensor, atoms: Sequence[Atom]
    ) -> dict[Atom, Recipe]:
        """How each atom of the mixture is made of atoms of the experts' functions.

        Args:
            partition: the blocks.
            points: n points.
            members: what `members` says of them.
            atoms: of the mixture.
        """
        return same(dict.fromkeys(atoms))

    def groups(self, partition: Partition, points: Points, members: Tensor, role: Role) -> tuple[Groups, ...]:
        """The rows of each expert.

        Args:
            partition: the blocks.
            points: n points.
            members: what `members` says of them.
            role: whether the rows are equations or conditions.
        """
        return group(members)

    def ties(self, partition: Partition, rows: Sequence[Rows], sharing: Sharing) -> tuple[Table, ...]:
        """Further rows, which tie the experts.

        Args:
            partition: the blocks.
            rows: those of the solve, which bring the forms.
            sharing: this process among the others.
        """
        return ()

    def share(self, partition: Partition, role: Role) -> float:
        """Factor of the weight of rows, for those that several experts see."""
        return 1.0
