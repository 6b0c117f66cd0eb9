"""Random systems to train and to judge on: obstacles, mixed boundaries, jumps of the coefficient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.options import at_least, between, check_limits, one_of, option
from pinnx.problem import Equation
from pinnx.solvers.linear.random_problems import random_right_hand_sides
from pinnx.solvers.linear.stencil import GridOperator, grid_operator
from pinnx.solvers.linear.systems import System, SystemSource

#: Probability that the obstacles of a system are Dirichlet walls.
_HELD = {"dirichlet": 1.0, "neumann": 0.0, "mixed": 0.5}


def box(grid: tuple[int, ...]) -> GridOperator:
    """The classical 3-, 5- or 7-point matrix (2d, -1) of a box with zero values around it."""
    return grid_operator(grid, nodes="vertices")


@final
@dataclass(frozen=True)
class RandomSystems(SystemSource):
    """A distribution of operators -div(c ∇u), each system different from all others.

    Obstacles are balls, boxes and thin plates, in number as many as it takes to fill a drawn fraction of the cells; the
    coefficient jumps between two values across other such shapes; each side of the grid is a Dirichlet or Neumann wall,
    at least one the former. Cells that no Dirichlet wall reaches are filled up, so that every system is regular.
    """

    kind: ClassVar[str] = "random-systems"

    grid: tuple[int, ...] = option((64, 64), "cells per axis")
    least_filled: float = option(0.2, "least fraction of cells that obstacles fill", between(0.0, 0.9))
    most_filled: float = option(0.3, "largest fraction of cells that obstacles fill", between(0.0, 0.9))
    scattered: float = option(
        0.1, "fraction of systems whose obstacles are single cells, thrown at random", between(0, 1)
    )
    jump: float = option(1e3, "largest ratio of the two coefficients", at_least(1.0))
    obstacles: str = option(
        "mixed", "walls of obstacles: dirichlet, neumann, or mixed: one of them per system", one_of(*_HELD)
    )
    neumann: float = option(0.5, "probability that a side of the grid is a Neumann wall", between(0.0, 1.0))

    def __post_init__(self) -> None:
        check_limits(self)
        if self.least_filled > self.most_filled:
            raise ValueError(f"least_filled must be at most most_filled, got {self.least_filled} > {self.most_filled}")

    @property
    def cells(self) -> tuple[int, ...]:
        return self.grid

    def own(self, equation: Equation | None) -> None:
        del equation  # a distribution: no system is its own

    def held_out(
        self,
        columns: int,
        generator: torch.Generator,
        *,
        equation: Equation | None = None,
        grid: tuple[int, ...] | None = None,
    ) -> System:
        del equation
        operator = replace(self, grid=grid or self.grid).draw(columns, generator)
        return System(operator, random_right_hand_sides(operator, columns, generator=generator))

    def draw(self, systems: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> GridOperator:
        """An operator that holds so many systems."""
        dimension = len(self.grid)
        span = self.most_filled - self.least_filled
        fractions = self.least_filled + span * torch.rand(systems, generator=generator)
        scattered = torch.rand(systems, generator=generator) < self.scattered
        mask = ~torch.stack(
            [_filled(self.grid, float(f), bool(s), generator) for f, s in zip(fractions, scattered, strict=True)]
        )
        inclusions = torch.stack([_filled(self.grid, 0.4, False, generator) for _ in range(systems)])
        exponents = (2 * torch.rand(systems, generator=generator) - 1).reshape(-1, *(1,) * dimension).to(dtype)
        coefficient = torch.where(inclusions, self.jump**exponents, torch.ones_like(exponents))
        sides = torch.rand(systems, dimension, 2, generator=generator) >= self.neumann
        held = torch.randint(2 * dimension, (systems,), generator=generator)
        sides.view(systems, -1)[torch.arange(systems), held] = True
        holds = torch.rand(systems, generator=generator) < _HELD[self.obstacles]

        def assembled(inside: Tensor) -> GridOperator:
            return grid_operator(
                self.grid, coefficient=coefficient, mask=inside, sides=sides, obstacles=holds, dtype=dtype
            )

        operator = assembled(mask)
        labels = operator.null_labels()
        return operator if labels is None else assembled(mask & (labels.reshape(mask.shape) == 0))


def _filled(grid: tuple[int, ...], fraction: float, scattered: bool, generator: torch.Generator) -> Tensor:
    """True inside of random shapes that fill at least a fraction of the cells."""
    if scattered:
        return torch.rand(grid, generator=generator) < fraction
    inside = torch.zeros(grid, dtype=torch.bool)
    axes = [
        torch.arange(n, dtype=torch.float32).reshape([-1 if a == b else 1 for b in range(len(grid))])
        for a, n in enumerate(grid)
    ]
    while float(inside.float().mean()) < fraction:
        center, size, kind = (torch.rand(len(grid), generator=generator) for _ in range(3))
        half = [max(n * (0.02 + 0.1 * float(s)), 0.5) for n, s in zip(grid, size, strict=True)]
        if kind[0] < 0.15:  # a plate, one cell thin
            half[int(kind[-1] * len(grid))] = 0.5
        distances = [(x - n * float(c)).abs() / h for x, n, c, h in zip(axes, grid, center, half, strict=True)]
        if kind[0] < 0.5:
            shape = distances[0] <= 1
            for distance in distances[1:]:
                shape = shape & (distance <= 1)
        else:
            shape = sum((distance**2 for distance in distances[1:]), distances[0] ** 2) <= 1
        inside |= shape
    return inside
