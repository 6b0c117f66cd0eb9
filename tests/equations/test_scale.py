"""The size of the trial solution comes from conditions and forcings alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pinnx.domain import Box, Interval, Product
from pinnx.equations import AllenCahn, FokkerPlanck, HamiltonJacobiBellman, Heat, LogFokkerPlanck, Poisson
from pinnx.equations.fields import elapsed, squared_norm
from pinnx.equations.scale import root_mean_square, sample, scale_from_conditions, scale_from_residual
from pinnx.expr import Known, Unknown, dt, laplacian
from pinnx.problem import Condition, Equation
from pinnx.trial import Affine

SPACE_TIME = Product(Box(0.0, 1.0, dimension=3), Interval(0.0, 1.0))


def test_residual_scale_is_forcing_over_gain() -> None:
    # u = scale·t·f + 3: ∂_t u = 7 asks for scale·f = 7.
    assert scale_from_residual(lambda u: dt(u) - 7.0, SPACE_TIME, elapsed(), 3.0) == pytest.approx(7.0)


def test_residual_scale_uses_the_initial_condition() -> None:
    # u = scale·t·f + |x|² with ∂_t u = ½Δu, whose right-hand side is 3 at first.
    scale = scale_from_residual(lambda u: dt(u) - 0.5 * laplacian(u), SPACE_TIME, elapsed(), squared_norm())
    assert scale == pytest.approx(3.0)


def test_residual_scale_sees_through_nonlinear_terms() -> None:
    assert scale_from_residual(lambda u: dt(u) - u**2 - 5.0, SPACE_TIME, elapsed()) == pytest.approx(5.0)


def test_scale_without_data_is_one() -> None:
    assert scale_from_residual(lambda u: dt(u), SPACE_TIME, elapsed()) == 1.0
    assert scale_from_conditions([], Unknown("u")) == 1.0


def test_condition_scale_is_the_root_mean_square_of_the_data() -> None:
    space = Box(0.0, 1.0, dimension=3)
    data = [Condition("a", 3.0 * (Unknown("u") - 2.0), space), Condition("b", Unknown("u") + 1.0, space)]
    assert scale_from_conditions(data, Unknown("u")) == pytest.approx(((36 + 1) / 2) ** 0.5)
    assert root_mean_square(2.0 * dt(Known("c", lambda p: 4 * p.t)), SPACE_TIME) == pytest.approx(8.0)


def test_samples_stay_small_where_points_are_large() -> None:
    assert len(sample(Box(0.0, 1.0, dimension=2))) == 256
    assert sample(Box(0.0, 1.0, dimension=100_000)).tensor.numel() < 2**22


@pytest.mark.parametrize(
    "equation",
    [
        AllenCahn(30),
        AllenCahn(30, frequency=1.0),
        AllenCahn(3000),
        FokkerPlanck(1000),
        HamiltonJacobiBellman(200),
        HamiltonJacobiBellman(200, cost="rosenbrock"),
        Poisson(100, solution="quadratic"),
        Heat(50, initial="hard"),
        LogFokkerPlanck(9),
        LogFokkerPlanck(9, initial="hard"),
    ],
    ids=str,
)
def test_network_has_to_reach_a_size_near_one(equation: Equation) -> None:
    problem = equation.problem()
    points = problem.domain.sample(500, torch.Generator().manual_seed(64091))
    target, trial = problem.exacts[0](points), problem.trials[0]
    if isinstance(trial, Affine) and isinstance(trial.factor, Known):
        offset = trial.offset(points) if isinstance(trial.offset, Known) else trial.offset
        target = (target - offset) / trial.factor(points)
    size = float((target / trial.scale).square().mean().sqrt())
    assert 0.2 < size < 3


def test_scale_does_not_ask_the_exact_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    # The heat equation has no forcing: a hundred times its exact solution must leave its scale alone.
    before = Heat(4, initial="hard").problem()
    wrong = replace(before.exacts[0], function=lambda points: 100 * before.exacts[0](points))
    conditions = Heat.conditions
    monkeypatch.setattr(Heat, "conditions", lambda self: conditions(self)[:1])
    monkeypatch.setattr("pinnx.equations.heat._sines", lambda decay: wrong if decay else before.trials[0].offset)
    assert Heat(4, initial="hard").problem().trials[0].scale == before.trials[0].scale
