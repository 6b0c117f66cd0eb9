"""From a network on a grid to solutions of instances: basis fields, coefficients, and the field they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from pinnx.errors import InputError, UnsupportedError
from pinnx.expr import Atom, Evaluator, Points, Unknown, Value
from pinnx.family import Grid, Instances
from pinnx.networks.grid import GridNetwork
from pinnx.problem import Equation
from pinnx.solvers.constrained.exact_forms import Asked, exact_forms
from pinnx.solvers.constrained.field_rows import FieldRows
from pinnx.solvers.derivatives.base import DerivativeEstimator
from pinnx.solvers.experts import InstanceStatus, LeastSquaresOptions, Mixture, Partition, Rows, Solved
from pinnx.solvers.experts.couplings.base import Coupling
from pinnx.solvers.experts.grid_atoms import SpaceScheme, TimeScheme

Method = Literal["soft", "single", "mixture"]


@final
@dataclass(frozen=True)
class Setting:
    """What turns basis fields into a solution; it may change between training and use.

    Attributes:
        equation: whose problem has a family of instances, with its grid.
        method: no constraint, one, or one per block.
        coupling: of the blocks.
        blocks: their number along each axis.
        constraint: how coefficients are solved for.
        exact_data: whether initial and Dirichlet values hold exactly; else they are rows.
        sees_residual: whether the network sees the residual of the trial solution of f = 0.
        points: nodes at which the equation is a constraint, drawn anew for each solve; None for all.
        until: last time with rows; None for all.
        time: scheme of derivatives in time.
        space: scheme of derivatives along periodic axes.
        exact: gives exact derivatives of a basis that is a function of the coordinates; None for those on the grid.
    """

    equation: Equation
    method: Method
    coupling: Coupling
    blocks: tuple[int, ...]
    constraint: LeastSquaresOptions
    exact_data: bool = True
    sees_residual: bool = False
    points: int | None = None
    until: float | None = None
    time: TimeScheme = "bdf2"
    space: SpaceScheme = "auto"
    exact: DerivativeEstimator | None = None


@final
@dataclass(frozen=True)
class Fields:
    """Solutions of some instances on the grid.

    Attributes:
        values: (B, m, *grid), without gradients.
        residuals: root mean square of each weighted residual by name, (B,).
        pointwise: the first residual at its nodes, (B, *grid), with its weight; zero where nothing must vanish.
        statuses: how each solve ended; empty without a constraint.
        omega: coefficients (B, E, N); None without a constraint.
        blocks: the expert of each node, (*grid).
    """

    values: Tensor
    residuals: dict[str, Tensor]
    pointwise: Tensor
    statuses: tuple[InstanceStatus, ...]
    omega: Tensor | None
    blocks: Tensor


@final
class Operator:
    """A setting, prepared for many batches.

    Args:
        setting: what is solved, and how.
        frame: lower and upper end of each axis that scale to -1 and 1 in what the network sees: those of its training.
    """

    def __init__(self, setting: Setting, frame: tuple[tuple[float, float], ...]):
        family = setting.equation.problem().instances
        if family is None:
            raise UnsupportedError(f"the equation {type(setting.equation).__name__} has no family of instances")
        self.setting, self.family, self.grid = setting, family, family.grid
        mixes = setting.method == "mixture"
        blocks = setting.blocks if mixes else (1,) * self.grid.dimension
        self.partition = partition_of(
            self.grid, blocks, frame[-1][1] if mixes and self.grid.time else None, setting.until
        )
        self.mixture = Mixture(self.partition, setting.coupling)
        self.field_rows = FieldRows(
            setting.equation,
            family,
            exact=setting.exact_data,
            until=setting.until,
            time=setting.time,
            space=setting.space,
            requests=self._requests,
        )
        self.frame, self.coordinates = frame, _scaled(self.grid, frame)

    def basis(self, network: GridNetwork, instances: Instances, size: int) -> Tensor | Mapping[Atom, Tensor]:
        """The basis fields of a network with N = `size`, (B, N, outputs, *grid); or their atoms, if they are exact."""
        features = self.features(instances)
        if self.setting.exact is None:
            return network(features, self.coordinates).unflatten(1, (size, self.family.outputs))
        asked = self.field_rows
        return exact_forms(
            network,
            features,
            self.frame,
            Asked(asked.points, asked.atoms, asked.given(instances)),
            size,
            self.setting.exact,
        )

    def features(self, instances: Instances) -> Tensor:
        """What the network sees of instances, (B, c, *grid): those of the family, and what is left of the equation by
        the trial solution of f = 0. At the initial values the latter is the rate of change, which data alone tell;
        times the length of the time, it is of the size of the change."""
        known = self.family.features(instances)
        if not self.setting.sees_residual:
            return known
        nothing = torch.zeros(len(instances), 1, self.family.outputs, *self.grid.shape, dtype=torch.float64)
        rows = self.field_rows.rows(nothing, instances)
        left = torch.zeros(len(instances), len(rows) - 1, self.grid.size, dtype=torch.float64)
        residuals = self.residuals(rows, nothing.new_zeros(len(instances), len(self.partition), 1))
        time = self.grid.time
        length = 1.0 if time is None else time.high - time.low
        for place, (each, residual) in enumerate(zip(self.field_rows.stated, residuals, strict=True)):
            left[:, place, each.nodes] = length * residual * each.weight.sqrt()
        return torch.cat([known, self.grid.unflat(left)], 1)

    def solve(
        self, basis: Tensor | Mapping[Atom, Tensor], instances: Instances, generator: torch.Generator
    ) -> tuple[list[Rows], Tensor, Solved | None]:
        """The rows of `FieldRows.rows`, and the coefficients (B, E, N), differentiable in the basis."""
        rows = self.field_rows.rows(basis, instances)
        if self.setting.method == "soft":
            ones = torch.ones(rows[0].batch, 1, rows[0].coefficients, dtype=torch.float64)
            return rows, ones, None
        chosen = rows[:-1] if self.setting.points is None else self._sampled(rows[:-1], generator)
        solved = self.mixture.solve(chosen, self.setting.constraint)
        return rows, solved.omega, solved

    def residuals(self, rows: Sequence[Rows], omega: Tensor) -> list[Tensor]:
        """The residual of the mixture at the points of each of the rows, (B, n), differentiable."""
        found = []
        for each in rows[:-1]:
            values = {**self.mixture.atoms(each, omega, each.atoms), **each.given}
            found.append(Evaluator(each.points, values)(each.residual))
        return found

    @torch.no_grad()
    def fields(self, network: GridNetwork, instances: Instances, size: int, generator: torch.Generator) -> Fields:
        """The solutions of some instances."""
        basis = self.basis(network, instances, size)
        rows, omega, solved = self.solve(basis, instances, generator)
        wanted = [Value(unknown) for unknown in self.field_rows.unknowns]
        at_nodes = self.mixture.atoms(rows[-1], omega, wanted)
        values = [self.grid.unflat(at_nodes[atom]) for atom in wanted]
        found = self.residuals(rows, omega)
        squares = [residual.square() * each.weight for residual, each in zip(found, rows, strict=False)]
        stated = self.field_rows.stated
        pointwise = torch.zeros(len(instances), self.grid.size, dtype=torch.float64)
        pointwise[:, stated[0].nodes] = found[0] * stated[0].weight.sqrt()
        return Fields(
            values=torch.stack(values, 1),
            residuals={each.name: square.mean(1).sqrt() for each, square in zip(stated, squares, strict=True)},
            pointwise=self.grid.unflat(pointwise),
            statuses=() if solved is None else solved.statuses,
            omega=None if solved is None else omega,
            blocks=self.grid.unflat(self.partition.locate(self.grid.points())),
        )

    def _sampled(self, rows: list[Rows], generator: torch.Generator) -> list[Rows]:
        """The rows with the equations at a few nodes only, the same ones for all instances of a batch."""
        assert self.setting.points is not None
        result = []
        for each in rows:
            count = len(each.points)
            if each.role == "equation" and self.setting.points < count:
                index = torch.randperm(count, generator=generator, device=generator.device)[: self.setting.points]
                each = each.at(index.sort().values)
            result.append(each)
        return result

    def _requests(self, atoms: Sequence[Atom], points: Points) -> Sequence[Atom]:
        values = [Value(Unknown(name, index)) for index, name in enumerate(self.setting.equation.unknowns)]
        return self.setting.coupling.requests([*atoms, *values], points)


def partition_of(grid: Grid, blocks: Sequence[int], trained: float | None, until: float | None) -> Partition:
    """Equal blocks of a grid; beyond the times of the training, further ones of the same length.

    Args:
        grid: gives the axes.
        blocks: their number along each axis, up to the last time of the training.
        trained: that time; None where there is no time.
        until: last time that counts; None for all.

    Raises:
        InputError: there is not one number per axis.
    """
    if len(blocks) != grid.dimension:
        labels = ", ".join(axis.label for axis in grid.axes)
        raise InputError(f"must have one number for each of the axes {labels}, got {list(blocks)}", key="solver.blocks")
    edges = []
    for axis, count in zip(grid.axes, blocks, strict=True):
        high = axis.high if axis.group != "t" or trained is None else min(trained, axis.high)
        cuts = [axis.low + (high - axis.low) * place / count for place in range(count + 1)]
        while cuts[-1] < axis.high * (1 - 1e-9) and until is None:
            cuts.append(min(axis.high, cuts[-1] + (high - axis.low) / count))
        cuts[-1] = axis.high  # rows end at `until`: what lies beyond belongs to the last block
        edges.append(tuple(cuts))
    return Partition(tuple(edges), tuple(axis.periodic for axis in grid.axes))


def _scaled(grid: Grid, frame: tuple[tuple[float, float], ...]) -> Tensor:
    """The coordinates of the nodes as a network sees them, (D, *grid)."""
    axes = [2 * (axis.positions() - low) / (high - low) - 1 for axis, (low, high) in zip(grid.axes, frame, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))
