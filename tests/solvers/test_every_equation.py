"""The residual of every equation, with every trial solution that it offers, is the same by both exact estimators."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from pinnx.equations import (
    AllenCahn,
    Burgers,
    ClassicalBurgers,
    FokkerPlanck,
    HamiltonJacobiBellman,
    Heat,
    LogFokkerPlanck,
    Poisson,
    SineGordon,
)
from pinnx.networks import Mlp
from pinnx.problem import Equation
from pinnx.solvers.derivatives import Autodiff, Taylor
from pinnx.solvers.solution import build_network
from pinnx.solvers.system import ResidualSystem
from pinnx.trial import Affine, Plain

EQUATIONS: list[Equation] = [
    AllenCahn(4),
    AllenCahn(12, frequency=1.0),
    SineGordon(4),
    FokkerPlanck(3),
    FokkerPlanck(12, drift="anisotropic"),
    HamiltonJacobiBellman(3),
    HamiltonJacobiBellman(12, cost="rosenbrock"),
    Burgers(4),
    ClassicalBurgers(viscosity=0.1),
    ClassicalBurgers(viscosity=0.1, constraints="soft"),
    Poisson(3),
    Heat(4),
    LogFokkerPlanck(3),
]


@pytest.mark.parametrize("trial", ["own", "plain", "affine"])
@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda equation: str(equation)[:60])
def test_both_exact_estimators_give_the_same_residuals_and_gradients(equation: Equation, trial: str) -> None:
    problem = equation.problem()
    if trial != "own":
        other = Plain(1.7) if trial == "plain" else Affine(problem.exacts[0], problem.exacts[0], scale=0.3)
        problem = dataclasses.replace(problem, trial=other)
    network = build_network(
        problem, Mlp(width=7, depth=2), seed=80_117, dtype=torch.float64, device=torch.device("cpu")
    )
    generator = torch.Generator().manual_seed(6_204_411)
    points = problem.domain.sample(5, generator)
    residuals, gradients = [], []
    for estimator in (Autodiff(), Taylor()):
        system = ResidualSystem(problem, network, estimator)
        values = torch.cat(system.residual_values(points, generator))
        for index, condition in enumerate(problem.conditions):
            on_boundary = condition.domain.sample(3, torch.Generator().manual_seed(15))
            values = torch.cat([values, system.condition_values(index, on_boundary, generator)])
        residuals.append(values)
        loss = values.square().mean()
        gradients.append(
            torch.cat(
                [g.ravel() for g in torch.autograd.grad(loss, list(network.parameters()), materialize_grads=True)]
            )
        )
    scale = residuals[0].abs().max()
    assert scale > 1e-6
    torch.testing.assert_close(residuals[1] / scale, residuals[0] / scale, rtol=1e-10, atol=1e-10)
    size = gradients[0].abs().max()
    torch.testing.assert_close(gradients[1] / size, gradients[0] / size, rtol=1e-10, atol=1e-10)
