"""A small family with a solution in closed form: forced diffusion on a circle, u = (1 + t)(p sin 2πx + q cos 2πx)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.domain import Box, Interval, Product
from pinnx.expr import Expr, Input, dt, partial, x
from pinnx.family import Family, Grid, Instances, space_axis, time_axis
from pinnx.options import option
from pinnx.problem import Equation, Problem


@final
@dataclass(frozen=True)
class Ring(Equation):
    """∂_t u + s u ∂_x u - κ ∂_xx u = g, where each instance brings the start and the forcing g."""

    inputs: ClassVar[tuple[str, ...]] = ("g",)
    nodes: int = option(12, "nodes in space")
    times: int = option(5, "nodes in time")
    steepening: float = option(0.0, "s")
    reference_works: bool = option(True, "whether references can be had")
    diffusion: ClassVar[float] = 0.1

    def residual(self, u, g) -> Expr:
        """The equation."""
        return dt(u) + self.steepening * u * partial(u, x[0]) - self.diffusion * partial(u, x[0], x[0]) - g

    def problem(self) -> Problem:
        domain = Product(Box(0.0, 1.0, dimension=1), Interval(0.0, 1.0))
        return Problem(equation=self, domain=domain, instances=RingFamily(self))


@final
@dataclass(frozen=True)
class RingFamily(Family):
    """Two parameters: amplitudes of a sine and a cosine."""

    equation: Ring

    @property
    def grid(self) -> Grid:
        of = self.equation
        return Grid((space_axis(0, 0.0, 1.0, of.nodes, ("periodic", "periodic")), time_axis(1.0, of.times)))

    @property
    def unknowns(self) -> tuple[str, ...]:
        return ("u",)

    def offset(self, instances: Instances) -> Tensor:
        return self._over_time(instances.initial[:, 0])[:, None]

    def parameters(self, generator: torch.Generator) -> Tensor:
        return torch.randn(2, generator=generator, dtype=torch.float64)

    def realize(self, parameters: Tensor) -> Instances:
        solution, forcing = self._solution(parameters)
        return Instances(parameters, solution[..., 0][:, None], {"g": forcing})

    def solve(self, instance: Instances) -> Tensor:
        if not self.equation.reference_works:
            raise AssertionError("a training asked for a solution")
        return self._solution(instance.parameters)[0][:, None]

    def data_conditions(self):
        from pinnx.expr import Unknown
        from pinnx.family import GridCondition

        return (GridCondition("initial", Unknown("u") - Input("u0"), self.grid.end(("t", 0))),)

    def _solution(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        points, of = self.grid.points(), self.equation
        angle, time = 2 * math.pi * points.x[:, 0], points.t
        p, q = parameters[:, :1], parameters[:, 1:]
        wave, slope = p * angle.sin() + q * angle.cos(), 2 * math.pi * (p * angle.cos() - q * angle.sin())
        u = (1 + time) * wave
        forcing = wave + (2 * math.pi) ** 2 * of.diffusion * u + of.steepening * u * (1 + time) * slope
        return self.grid.unflat(u), self.grid.unflat(forcing)


def exact_basis(family: RingFamily, instances: Instances, seed: int = 0) -> Tensor:
    """Fields (B, 4, 1, *grid) among which t sin 2πx and t cos 2πx can be combined, so u = u0 + f is exact."""
    points = family.grid.points()
    angle, time = 2 * math.pi * points.x[:, 0], points.t
    fields = torch.stack([time * angle.sin(), time * angle.cos(), time**2 * angle.sin(), time * (2 * angle).cos()])
    mix = torch.randn(4, 4, generator=torch.Generator().manual_seed(seed + 51203), dtype=torch.float64)
    fields = family.grid.unflat(mix @ fields)
    return fields[None, :, None].expand(len(instances), -1, -1, -1, -1)
