"""A family of problems: the laws of its instances, their references, and what a solution on a grid must meet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from pinnx.errors import InputError, ShapeError
from pinnx.expr import Expr
from pinnx.family.grid import Grid


@final
@dataclass(frozen=True)
class Instances:
    """A batch of instances on the grid of a family.

    Attributes:
        parameters: what they are made from, whatever the grid: (B, p), float64.
        initial: values of the unknowns at the beginning, (B, m, *space); None where there is no time.
        inputs: the fields of the equation's inputs by name, (B, *space) where they are constant in time, else
            (B, *grid).
    """

    parameters: Tensor
    initial: Tensor | None = None
    inputs: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.parameters.shape[0]

    def rows(self, index: slice | Tensor) -> Instances:
        """Some of the instances, by slice, index or mask."""
        initial = None if self.initial is None else self.initial[index]
        return Instances(self.parameters[index], initial, {name: each[index] for name, each in self.inputs.items()})

    def to(self, *args: Any, **kwargs: Any) -> Instances:
        """The instances on another device or in another dtype, as `torch.Tensor.to`."""
        initial = None if self.initial is None else self.initial.to(*args, **kwargs)
        inputs = {name: each.to(*args, **kwargs) for name, each in self.inputs.items()}
        return Instances(self.parameters.to(*args, **kwargs), initial, inputs)


@final
@dataclass(frozen=True)
class GridCondition:
    """An expression that must vanish at some nodes besides the equation.

    Attributes:
        name: such as "outflow".
        residual: in the unknowns and inputs; `Input("u0")` and the like of `Family.input_fields` may occur.
        nodes: where, (*grid), bool.
        weight: factor of its rows in the least squares.
    """

    name: str
    residual: Expr
    nodes: Tensor
    weight: float = 1.0


class Family(ABC):
    """The instances of an equation on a grid. Leaves are frozen dataclasses that an equation's `problem` makes.

    The solution of an instance is u = offset + factor · f with a network's f on the grid: what is known of u, initial
    and Dirichlet values, holds exactly, since the factor vanishes there. `conditions` are the others.

    An instance is made from a few parameters, so that it is the same on every grid; instance i of a seed depends on
    the seed and on i alone.
    """

    #: Parameters of the equation that change neither the instances nor their references.
    indifferent: ClassVar[tuple[str, ...]] = ()

    # -- the grid and what holds on it

    @property
    @abstractmethod
    def grid(self) -> Grid:
        """The nodes, time last."""

    @property
    @abstractmethod
    def unknowns(self) -> tuple[str, ...]:
        """Names of the equation's unknowns, m of them."""

    @property
    def outputs(self) -> int:
        """How many of the unknowns, the first ones, a network makes; the others follow from them by `complete`."""
        return len(self.unknowns)

    def complete(self, fields: Tensor) -> Tensor:
        """Fields of all unknowns from those of the first ones: a linear map, (…, outputs, *grid) -> (…, m, *grid),
        differentiable. By default the identity."""
        return fields

    @property
    def factor(self) -> Tensor:
        """The factor of the trial solution, (*grid), float64: by default 0 at known values and 1 elsewhere, which is
        all that finite differences need."""
        return (~self.grid.known()).double()

    @abstractmethod
    def offset(self, instances: Instances) -> Tensor:
        """The offset of the trial solution, (B, outputs, *grid), float64: equal to the known values where there are
        such; elsewhere any guess made from the data of the problem, never from a solution."""

    def conditions(self) -> tuple[GridCondition, ...]:
        """What the trial solution does not meet by itself."""
        return ()

    def data_conditions(self) -> tuple[GridCondition, ...]:
        """What the trial solution meets exactly, as rows, for methods that do without a trial solution."""
        return ()

    @property
    def weight(self) -> Tensor:
        """The factor of the equation's rows, (*grid), float64: 0 where no equation is asked for (known values, nodes
        that have a condition instead), and of such a size that weighted rows and conditions compare."""
        return self.factor

    def input_fields(self, instances: Instances) -> dict[str, Tensor]:
        """Every known field by name, (B, *grid): the equation's inputs, and the initial values as `<unknown>0`."""
        fields = dict(instances.inputs)
        if instances.initial is not None:
            fields |= {f"{name}0": instances.initial[:, i] for i, name in enumerate(self.unknowns[: self.outputs])}
        return {name: self._over_time(each) for name, each in fields.items()}

    def features(self, instances: Instances) -> Tensor:
        """What a network on the grid sees of the instances, (B, channels, *grid), of size about one: by default the
        initial values and the inputs."""
        return torch.stack(list(self.input_fields(instances).values()), dim=1)

    # -- instances

    @abstractmethod
    def parameters(self, generator: torch.Generator) -> Tensor:
        """The parameters of one random instance, (p,), float64."""

    @abstractmethod
    def realize(self, parameters: Tensor) -> Instances:
        """The instances with parameters (B, p) on this family's grid."""

    def draw(self, count: int, generator: torch.Generator) -> Instances:
        """So many random instances, independent of each other."""
        return self.realize(torch.stack([self.parameters(generator) for _ in range(count)]))

    def numbered(self, indices: Sequence[int], seed: int) -> Instances:
        """The instances of these numbers: each depends on the seed and its number alone."""
        if not indices:
            raise InputError("expected at least one number of an instance")
        return self.realize(torch.stack([self.parameters(_generator(seed, index)) for index in indices]))

    # -- references

    @abstractmethod
    def solve(self, instance: Instances) -> Tensor:
        """The solution of a batch of one by a classical method of known accuracy, (1, m, *grid), float64."""

    def reference(self, instances: Instances) -> Tensor:
        """The solutions by a classical method, (B, m, *grid), float64, bit for bit the same in every batch.

        They are made one by one: how functions, products and transforms of a batch are rounded depends on the batch.
        """
        return torch.cat([self.solve(self.realize(row[None])) for row in instances.parameters])

    def baselines(
        self, instances: Instances, known: Instances | None = None, solutions: Tensor | None = None
    ) -> dict[str, Tensor]:
        """What can be answered without a method of solution, by name, (B, m, *grid) each.

        `offset` is the trial solution of f = 0, `persistence` the initial values at all times. With solved instances
        there are `mean`, their mean; `linear`, the affine map from parameters to solutions that fits them best; and in
        a family of one parameter `interpolation`, linear between the two extreme ones.

        Args:
            instances: for which it is answered.
            known: other instances, that are solved.
            solutions: their solutions (B', m, *grid).
        """
        result = {"offset": self.complete(self.offset(instances))}
        if instances.initial is not None:
            held = torch.stack([self._over_time(instances.initial[:, i]) for i in range(self.outputs)], dim=1)
            result["persistence"] = self.complete(held)
        if known is None or solutions is None:
            return result
        if len(known) != len(solutions):
            raise ShapeError(f"expected one solution for each of {len(known)} instances, got {len(solutions)}")
        result["mean"] = solutions.mean(0, keepdim=True).expand(len(instances), *solutions.shape[1:])
        if len(known) > known.parameters.shape[1] + 1:
            result["linear"] = _affine_map(known.parameters, solutions, instances.parameters)
        if known.parameters.shape[1] == 1 and len(known) > 1:
            order = known.parameters[:, 0].argsort()[[0, -1]]
            result["interpolation"] = _affine_map(known.parameters[order], solutions[order], instances.parameters)
        return result

    def _over_time(self, field: Tensor) -> Tensor:
        """A field (B, *space) or (B, *grid) as (B, *grid)."""
        if self.grid.time and field.ndim == 1 + len(self.grid.space):
            return field[..., None].expand(*field.shape, self.grid.time.nodes)
        return field


def relative_l2(values: Tensor, reference: Tensor, measure: Tensor | None = None) -> Tensor:
    """The relative L2 error of each instance, (B,), over all unknowns and nodes.

    Args:
        values: (B, m, *grid).
        reference: of the same shape.
        measure: what each node counts, (*grid), as `Grid.measure`.
    """
    if values.shape != reference.shape:
        raise ShapeError(f"expected values of shape {tuple(reference.shape)}, got {tuple(values.shape)}")
    share = 1.0 if measure is None else measure.to(reference)
    error, size = (((each).square() * share).flatten(1).sum(1) for each in (values - reference, reference))
    return (error / size).sqrt()


def _generator(seed: int, index: int) -> torch.Generator:
    (state,) = np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state >> 1))  # manual_seed takes 63 bits on every device


def _affine_map(known: Tensor, solutions: Tensor, parameters: Tensor) -> Tensor:
    """The affine map that fits solutions (B', …) at known parameters best, at other parameters (B, p)."""
    rows, wanted = (torch.cat([torch.ones(len(p), 1, dtype=p.dtype), p], 1) for p in (known, parameters))
    weights = wanted @ torch.linalg.pinv(rows)
    return torch.tensordot(weights, solutions, dims=1)
