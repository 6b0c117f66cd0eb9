"""A family's equation and conditions on a grid as rows of the constraint layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.expr import Atom, Expr, Points, Unknown, Value, atoms, input_atoms, with_explicit_values
from pinnx.family import Family, Instances
from pinnx.problem import Equation
from pinnx.solvers.experts import Rows
from pinnx.solvers.experts.grid_atoms import SpaceScheme, TimeScheme
from pinnx.solvers.experts.grid_atoms import forms as grid_forms
from pinnx.solvers.experts.rows import Role


@final
@dataclass(frozen=True)
class Stated:
    """One residual and where it must vanish.

    Attributes:
        name: of the loss term.
        residual: in the unknowns and inputs.
        nodes: flat indices of the nodes, (n,).
        points: the nodes.
        weight: factor of its squared values, (n,) float64.
        role: as in `Rows`.
    """

    name: str
    residual: Expr
    nodes: Tensor
    points: Points
    weight: Tensor
    role: Role


@final
class FieldRows:
    """What must vanish on the grid of a family, for any basis fields.

    Args:
        equation: gives the residuals.
        family: gives grid, weights, conditions and the trial solution.
        exact: whether initial and Dirichlet values hold by the trial solution; else they are rows, and u = f.
        until: last time that counts; later nodes have no rows. None for all.
        time: scheme of derivatives in time, see `grid_atoms`.
        space: scheme of derivatives along periodic axes, see `grid_atoms`.
        requests: from the atoms of the residuals to all that are needed.
    """

    def __init__(
        self,
        equation: Equation,
        family: Family,
        *,
        exact: bool = True,
        until: float | None = None,
        time: TimeScheme = "bdf2",
        space: SpaceScheme = "auto",
        requests: Callable[[Sequence[Atom], Points], Sequence[Atom]] = lambda atoms, points: atoms,
    ):
        self.family, self.grid = family, family.grid
        self._time: TimeScheme = time
        self._space: SpaceScheme = space
        self.exact, self.points = exact, self.grid.points()
        self.unknowns = [Unknown(name, index) for index, name in enumerate(equation.unknowns)]
        self.stated = self._stated(equation, until)
        every = torch.ones(self.grid.size, dtype=torch.bool)
        self._values = self._restricted("values", Value(self.unknowns[0]), every, every.double(), "interface")
        residuals = [each.residual for each in self.stated]
        self.given_atoms = input_atoms(*residuals)
        self.atoms = tuple(requests(atoms(*residuals), self.points))

    def rows(self, basis: Tensor | Mapping[Atom, Tensor], instances: Instances) -> list[Rows]:
        """The rows of some instances, and last those of the values at all nodes, which state nothing.

        Args:
            basis: fields (B, N, outputs, *grid), those of f in u = offset + factor · f; or the forms of all `atoms`.
            instances: B of them, on the family's grid.
        """
        given = self.given(instances)
        forms = basis if isinstance(basis, Mapping) else self._at_nodes(self._trial(basis), given)
        offsets = self._offsets(instances, given)
        result = []
        for each in [*self.stated, self._values]:
            at = slice(None) if len(each.nodes) == self.grid.size else each.nodes
            result.append(
                Rows(
                    each.residual,
                    each.points,
                    {atom: form[:, at] for atom, form in forms.items()},
                    {atom: offset[:, at] for atom, offset in offsets.items()},
                    {atom: value[:, at] for atom, value in given.items()},
                    weight=each.weight,
                    role=each.role,
                )
            )
        return result

    def _trial(self, basis: Tensor) -> Tensor:
        """What coefficients multiply, for all unknowns: (B, N, m, *grid)."""
        return self.family.complete(basis.double() * self.family.factor if self.exact else basis.double())

    def _offsets(self, instances: Instances, given: Mapping[Atom, Tensor]) -> dict[Atom, Tensor]:
        """The atoms of the trial solution's offset: (B, n), or (B, n, d)."""
        if not self.exact:
            return {}
        fields = self.family.complete(self.family.offset(instances))
        return {atom: form[..., 0] for atom, form in self._at_nodes(fields[:, None], given).items()}

    def _at_nodes(self, fields: Tensor, given: Mapping[Atom, Tensor]) -> dict[Atom, Tensor]:
        """The atoms of fields (B, N, m, *grid), flat: (B, n, N), or (B, n, d, N) for a gradient."""
        result: dict[Atom, Tensor] = {}
        for unknown in self.unknowns:
            wanted = [atom for atom in self.atoms if atom.of == unknown]
            if wanted:
                found = grid_forms(fields[:, :, unknown.index], wanted, self.grid, self._time, self._space, given)
                result |= {atom: form.flatten(1, self.grid.dimension) for atom, form in found.items()}
        return result

    def given(self, instances: Instances) -> dict[Atom, Tensor]:
        """The atoms of inputs: (B, n), or (B, n, d)."""
        fields = self.family.input_fields(instances)
        result: dict[Atom, Tensor] = {}
        for atom in self.given_atoms:
            found = grid_forms(fields[atom.of.name][:, None], [atom], self.grid, self._time, self._space)
            result[atom] = found[atom].flatten(1, self.grid.dimension)[..., 0]
        return result

    def _stated(self, equation: Equation, until: float | None) -> list[Stated]:
        inside = torch.ones(self.grid.size, dtype=torch.bool)
        if until is not None and self.grid.time is not None:
            inside = self.points.t <= until * (1 + 1e-9)
        # A row counts with the time it stands for. Where times gather at the beginning, the others would not count.
        weight = self.grid.flat(self.family.weight * self.grid.measure())
        residuals = equation.residuals()
        names = ["residual"] if len(residuals) == 1 else [f"residual{place + 1}" for place in range(len(residuals))]
        result = [
            self._restricted(name, residual, (weight != 0) & inside, weight.square(), "equation")
            for name, residual in zip(names, residuals, strict=True)
        ]
        for condition in self.family.conditions() + (() if self.exact else self.family.data_conditions()):
            squared = torch.full_like(weight, condition.weight**2)
            where = self.grid.flat(condition.nodes) & inside
            result.append(self._restricted(condition.name, condition.residual, where, squared, "condition"))
        return result

    def _restricted(self, name: str, residual: Expr, where: Tensor, weight: Tensor, role: Role) -> Stated:
        nodes = where.nonzero()[:, 0]
        # one object for the whole run: mixtures remember by it which expert sees which point
        points = self.points if len(nodes) == self.grid.size else self.points.rows(nodes)
        return Stated(name, with_explicit_values(residual), nodes, points, weight[nodes], role)
