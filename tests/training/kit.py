"""What the tests of second-order training share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pinnx.domain import Box
from pinnx.expr import Points, Unknown
from pinnx.networks import Mlp
from pinnx.networks.base import NetworkSpec
from pinnx.problem import Condition, Equation, Problem
from pinnx.solvers.derivatives import Taylor
from pinnx.solvers.derivatives.base import DerivativeEstimator
from pinnx.solvers.natural import LeastSquares
from pinnx.solvers.solution import build_network
from pinnx.solvers.system import ResidualSystem
from pinnx.trial import Plain, TrialSolution

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Stated(Equation):
    """An equation from a function of the unknown, on the cube [-1, 1]^d, with soft conditions on demand."""

    function: Any
    dimension: int = 3
    conditions: tuple[Any, ...] = ()
    trial: TrialSolution = field(default_factory=Plain)

    def residual(self, u: Unknown):
        return self.function(u)

    def problem(self) -> Problem:
        cube = Box([-1.0] * self.dimension, [1.0] * self.dimension)
        u = Unknown("u")
        stated = tuple(
            Condition(f"condition{index}", condition(u), cube, weight=2.0 + index)
            for index, condition in enumerate(self.conditions)
        )
        return Problem(self, cube, trial=self.trial, conditions=stated)


def least_squares(
    problem: Problem,
    spec: NetworkSpec | None = None,
    *,
    seed: int = 51_817,
    derivatives: DerivativeEstimator | None = None,
) -> LeastSquares:
    """The residuals of a problem for a network whose parameters, biases too, are random."""
    network = build_network(problem, spec or Mlp(width=8, depth=2), seed=seed, dtype=torch.float64, device=CPU)
    generator = torch.Generator().manual_seed(seed + 1)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter in parameters:
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    system = ResidualSystem(problem, network, derivatives or Taylor())
    return LeastSquares(system, parameters, [f"residual{index}" for index in range(len(system.residuals))])


def batch_of(problem: Problem, points: int = 6, seed: int = 90_173) -> list[Points]:
    """Points for every term, a different number for each."""
    generator = torch.Generator().manual_seed(seed)
    domains = [problem.domain, *(condition.domain for condition in problem.conditions)]
    return [domain.sample(points + index, generator, dtype=torch.float64) for index, domain in enumerate(domains)]


def explicit_jacobian(least: LeastSquares, batch: list[Points]) -> tuple[Tensor, Tensor]:
    """Residuals (N,) and J (N, P), one backward pass per residual, straight from the definition."""
    system, generator = least.system, torch.Generator()
    conditions = system.problem.conditions
    values = [each / len(batch[0]) ** 0.5 for each in system.residual_values(batch[0], generator)]
    for index, condition in enumerate(conditions):
        points = batch[1 + index]
        factor = (condition.weight / len(points)) ** 0.5
        values.append(factor * system.condition_values(index, points, generator))
    residuals = torch.cat(values)
    rows = []
    for residual in residuals:
        grads = torch.autograd.grad(residual, least.parameters, retain_graph=True, allow_unused=True)
        filled = [torch.zeros_like(p) if g is None else g for g, p in zip(grads, least.parameters, strict=True)]
        rows.append(torch.cat([each.reshape(-1) for each in filled]))
    return residuals.detach(), torch.stack(rows)
