"""Mixtures of experts: one set of coefficients for each block of a partition, in one batched solve."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from pinnx.errors import InputError, ShapeError
from pinnx.expr import Atom, Points
from pinnx.solvers.experts.couplings.base import Coupling
from pinnx.solvers.experts.couplings.independent import Independent
from pinnx.solvers.experts.grouping import Recipe, Sorted, group, known_parts, mixed, tables
from pinnx.solvers.experts.layer import common_sizes, solve_tables
from pinnx.solvers.experts.options import LeastSquaresOptions
from pinnx.solvers.experts.partition import Partition
from pinnx.solvers.experts.rows import Rows
from pinnx.solvers.experts.sharing import Alone, Sharing
from pinnx.solvers.experts.solved import Solved
from pinnx.solvers.experts.tables import Table

#: Sets of points whose sorting by experts is remembered.
_REMEMBERED = 16


@final
class Mixture:
    """Experts on the blocks of a partition, and their coupling.

    What depends on the points alone is made once for each `Points` object that comes again.

    Args:
        partition: the blocks; one block is one constraint for the whole domain.
        coupling: how their coefficients depend on each other.
        sharing: this process among those that solve together.
    """

    def __init__(self, partition: Partition, coupling: Coupling, sharing: Sharing | None = None):
        self.partition, self.coupling, self.sharing = partition, coupling, sharing or Alone()
        self._known: dict[Hashable, tuple[Any, Any]] = {}

    def requests(self, atoms: Sequence[Atom], points: Points) -> tuple[Atom, ...]:
        """The atoms whose forms rows must bring; those of the residuals, and what the coupling needs besides.

        Args:
            atoms: those of the residuals.
            points: any of the domain's, for its coordinates.
        """
        return self.coupling.requests(atoms, points)

    def solve(self, rows: Sequence[Rows], options: LeastSquaresOptions, start: Tensor | None = None) -> Solved:
        """The coefficients of all experts.

        Args:
            rows: the system: equations, conditions, points on faces.
            options: of the solve.
            start: first coefficients, (B, N) for all experts or (B, E, N); zeros by default.

        Returns:
            ω with shape (B, E, N), differentiable in the forms, and how each instance ended.

        Raises:
            ShapeError: the rows differ in the numbers of instances or coefficients, or `start` has another shape.
            InputError: a form or value is missing.
        """
        batch, count = common_sizes(rows)
        tables = self.tables(rows)
        shape = (batch, len(self.partition), count)
        if start is None:
            start = torch.zeros(shape, dtype=torch.float64, device=tables[0].weight.device)
        if start.shape not in (shape, (batch, count)):
            raise ShapeError(f"start must have shape {shape} or ({batch}, {count}), got {tuple(start.shape)}")
        first = start if start.ndim == 3 else start[:, None].expand(shape)
        return solve_tables(tables, len(self.partition), options, first, self.sharing)

    def tables(self, rows: Sequence[Rows]) -> list[Table]:
        """The rows sorted by experts, with those that tie the experts."""
        stated = [each for each in rows if each.role != "interface"]
        if not stated:
            raise InputError("a solve needs rows of an equation or a condition")
        result = [each for own in stated for each in self._stated(own)]
        return result + list(self.coupling.ties(self.partition, rows, self.sharing))

    def atoms(self, rows: Rows, omega: Tensor, atoms: Sequence[Atom], *, offsets: bool = True) -> dict[Atom, Tensor]:
        """Atoms of the mixture at the points of rows, (B, n) each, or (B, n, d) for a gradient.

        Across faces without windows these are the experts' own atoms: a jump of the value makes no peak in a
        derivative.

        Args:
            rows: bring forms and offsets; the residual is not used.
            omega: (B, E, N).
            atoms: which.
            offsets: whether to add the offsets.
        """
        points = rows.points
        members, recipes = self._placed(points, atoms)
        placed = self._once(points, "placed", lambda: Sorted(group(members), len(points)))
        return mixed(rows, placed, recipes, omega, offsets)

    def _stated(self, rows: Rows) -> list[Table]:
        points, size = rows.points, len(rows.points)
        members, recipes = self._placed(points, rows.atoms)

        def sort() -> Sorted:
            return Sorted(self.coupling.groups(self.partition, points, members, rows.role), size)

        placed = self._once(points, ("groups", rows.role), sort)
        residual, full = self._once(points, ("known", rows.residual), lambda: known_parts(rows.residual, points))
        weight = torch.as_tensor(rows.weight, dtype=torch.float64, device=points.tensor.device)
        weight = weight.expand(size) if weight.ndim == 0 else weight
        weight = weight.reshape(-1, size) * (self.coupling.share(self.partition, rows.role) / size)
        return tables(residual, rows, placed, weight, recipes, self.sharing, points=full)

    def _placed(self, points: Points, atoms: Sequence[Atom]) -> tuple[Tensor, dict[Atom, Recipe]]:
        members = self._once(points, "members", lambda: self.coupling.members(self.partition, points))
        key = ("recipes", tuple(atoms))
        return members, self._once(
            points, key, lambda: self.coupling.recipes(self.partition, points, members, tuple(atoms))
        )

    def _once(self, points: Points, what: Hashable, make: Any) -> Any:
        """What depends on the points alone; they are kept with it, so that their identity stays theirs."""
        key = (id(points.tensor), what)
        if key not in self._known:
            while len(self._known) >= 4 * _REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[key] = (points, make())
        return self._known[key][1]


def solve_coefficients(rows: Sequence[Rows], options: LeastSquaresOptions, start: Tensor | None = None) -> Solved:
    """The coefficients of one constraint for the whole domain.

    Args:
        rows: the system: equations, conditions.
        options: of the solve.
        start: first coefficients (B, N); zeros by default.

    Returns:
        ω with shape (B, N), and how each instance ended.

    Raises:
        ShapeError: the rows differ in the numbers of instances or coefficients, or `start` has another shape.
        InputError: a value that an expression needs is missing.
    """
    axes = rows[0].points.tensor.shape[1] if rows else 1
    whole = Mixture(Partition.uniform((0.0,) * axes, (1.0,) * axes, 1), Independent())
    solved = whole.solve(rows, options, start)
    return replace(solved, omega=solved.omega[:, 0])
