"""Adaptive points and weights within a training: they resume bitwise, in stages, with every kind of optimizer; what is
unsound is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from pinnx.case import parse_case
from pinnx.domain import UserDomain
from pinnx.errors import DivergedError, InputError, UnsupportedError
from pinnx.expr import Coordinates, Known, Unknown, laplacian
from pinnx.problem import Equation, Problem
from pinnx.solvers.derivatives import Hutchinson, Smoothing
from pinnx.solvers.pinn import Pinn, PinnTraining
from pinnx.solvers.sampling import R3, Aas, Das, Importance, Rad, RarD
from pinnx.solvers.training import Adam, Engd, Lbfgs, SelfScaled, Soap, Spring, Stage
from pinnx.solvers.weighting import Causal, GradientNorm, SelfAdaptive
from pinnx.solvers.weights import weights_of
from tests.solvers.test_pinn import run, start
from tests.solvers.toys import Coupled, Decay

STRATEGIES = [Rad(pool=3), RarD(added=3, pool=5), R3(), Importance(pool=2), Aas(layers=2, width=4), Das(width=4)]
WEIGHTS = (Causal(slices=4, every=3), GradientNorm(every=4), SelfAdaptive(every=2))


def trained(equation: Equation | None = None, seed: int = 71_003, **options: Any) -> PinnTraining:
    training = start(equation or Decay(hard=False), seed, **options)
    assert isinstance(training, PinnTraining)
    return training


def needs(strategy: Any) -> None:
    if strategy.kind in ("aas", "das"):
        pytest.importorskip("zuko")


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: each.kind)
@pytest.mark.parametrize("weighting", [(), WEIGHTS], ids=["plain", "weights"])
def test_resuming_is_bitwise_the_same(strategy: Any, weighting: tuple[Any, ...]) -> None:
    needs(strategy)
    options = {"steps": 12, "resampling": strategy, "resample_every": 3, "weighting": weighting, "points": 20}
    whole = trained(**options)
    straight = run(whole, 12)
    for stop in (1, 7):  # once within a set of points, once before a new one
        first = trained(**options)
        run(first, stop)
        state = copy.deepcopy(first.state_dict())
        second = trained(seed=5, **options)
        second.load_state_dict(state)
        assert run(second, 12 - stop) == straight[stop:]
        assert second.network_evaluations == whole.network_evaluations


@pytest.mark.parametrize("stop", [2, 5, 9])
def test_resuming_between_stages(stop: int) -> None:
    stages = (Stage(4, Adam(), points=30), Stage(3, Spring()), Stage(4, SelfScaled(), resample_every=2))
    options = {"steps": 10_000, "stage": stages, "resampling": RarD(added=3), "weighting": WEIGHTS[:2]}
    options |= {"points": 20, "condition_points": 10}
    straight = run(trained(**options), 11)
    first = trained(**options)
    run(first, stop)
    second = trained(seed=5, **options)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert run(second, 11 - stop) == straight[stop:]


@pytest.mark.parametrize(
    "optimizer", [Adam(), Soap(), Lbfgs(iterations=3), SelfScaled(), Engd(), Spring()], ids=lambda each: each.kind
)
def test_every_optimizer_lowers_a_weighted_loss(optimizer: Any) -> None:
    options = {"resampling": Importance(), "weighting": (Causal(slices=4), GradientNorm()), "points": 30}
    training = trained(optimizer=optimizer, steps=30, condition_points=20, **options)
    before = training.evaluate()
    metrics = run(training, 30)
    after = training.evaluate()
    assert before is not None
    assert after is not None
    assert after.relative_l2 < before.relative_l2
    assert {"effective_points", "causal_least_weight", "causal_tolerance", "weight/initial"} <= set(metrics[-1])


def test_a_natural_gradient_sees_the_weights_of_the_loss() -> None:
    """|r|² of the linearization, and its gradient 2 Jᵀr, are those of the weighted loss that Adam lowers."""
    options = {"resampling": Importance(), "weighting": WEIGHTS, "points": 25, "condition_points": 15, "steps": 9}
    natural, plain = trained(optimizer=Engd(), **options), trained(optimizer=Adam(), **options)
    natural.batches.prepare(natural.leg, 0, natural.generator)
    plain.batches.prepare(plain.leg, 0, plain.generator)
    batch = natural.batches.current
    assert batch is not None
    assert all(weights_of(points) is not None for points in batch)
    loss, _ = plain._loss_and_gradient()
    expected = torch.cat([parameter.grad.reshape(-1) for parameter in plain.trainable])  # type: ignore[union-attr]
    for layerwise in (True, False):
        natural._squares.layerwise = layerwise
        linear = natural._squares.linearize(batch, natural.generator)
        assert linear.loss == pytest.approx(float(loss), rel=1e-12)
        gradient = 2 * linear.jacobian.adjoint(linear.residuals)
        assert torch.allclose(gradient, expected, rtol=1e-9, atol=1e-12)
        identity = torch.eye(len(linear.residuals), dtype=gradient.dtype)
        rows = torch.stack([linear.jacobian.adjoint(row) for row in identity])
        assert torch.allclose(linear.jacobian.gram(), rows @ rows.T, rtol=1e-9, atol=1e-12)


def test_curvature_is_not_taken_across_two_losses() -> None:
    """New points: L-BFGS begins anew, ssbroyden evaluates the gradient again and keeps its matrix."""
    for optimizer in (Lbfgs(iterations=2), SelfScaled()):
        training = trained(optimizer=optimizer, steps=9, resampling=Rad(pool=3), resample_every=4)
        run(training, 4)
        (state,) = training.optimizer.state.values()
        inverse = state["inverse"].clone() if "inverse" in state else None
        training.batches.prepare(training.leg, 4, training.generator)
        training._forget_loss()
        state = next(iter(training.optimizer.state.values()), {})
        assert "gradient" not in state
        assert "prev_flat_grad" not in state
        assert inverse is None or torch.equal(state["inverse"], inverse)


def test_growing_points_are_all_in_the_loss() -> None:
    training = trained(steps=9, resampling=RarD(added=5), resample_every=2, points=10)
    counts = [len(training.batches.current[0]) for _ in range(7) if training.step()]  # type: ignore[index]
    assert counts == [10, 10, 15, 15, 20, 20, 25]


def test_systems_are_scored_by_all_their_equations() -> None:
    training = trained(Coupled(), steps=3, points=10)
    points = training.problem.domain.sample(7, torch.Generator().manual_seed(3))
    found = training.batches.probe.squares(points, training.generator)
    each = training.solution().residual(points)
    assert torch.allclose(found, each.square().sum(1))


@pytest.mark.parametrize("derivatives", [Smoothing(samples=4), Hutchinson(samples=4, correction="biased")])
def test_a_weighted_stochastic_loss_by_hand(derivatives: Any) -> None:
    training = trained(derivatives=derivatives, resampling=Importance(), steps=5, points=1)
    training.step()
    batch = training.batches.current
    assert batch is not None
    weights = weights_of(batch[0])
    assert weights is not None
    bare = type(batch[0])(batch[0].tensor, batch[0].coordinates)
    one, other = (
        float(training.loss.squares(training.system.residuals, points, torch.Generator().manual_seed(4))[0].detach())
        for points in (batch[0], bare)
    )
    assert one == pytest.approx(float(weights[0]) * other, rel=1e-12)


@pytest.mark.parametrize("strategy", [Rad(), RarD(), R3(), Aas(), Das()], ids=lambda each: each.kind)
def test_ranking_by_noise_is_refused(strategy: Any) -> None:
    with pytest.raises(UnsupportedError, match=f"the points '{strategy.kind}'.*would choose those where the noise is"):
        trained(derivatives=Hutchinson(), resampling=strategy)


@pytest.mark.parametrize("weighting", WEIGHTS, ids=lambda each: each.kind)
def test_weights_from_noise_are_refused(weighting: Any) -> None:
    with pytest.raises(UnsupportedError, match=f"the weights '{weighting.kind}'.*use exact derivatives"):
        trained(derivatives=Hutchinson(), weighting=(weighting,))


class Still(Equation):
    """Without time and without conditions."""

    def residual(self, u: Unknown):
        return laplacian(u) - 1.0

    def problem(self) -> Problem:
        domain = UserDomain(Coordinates.of(x=2), lambda n, g: torch.rand(n, 2, generator=g), (0.0, 0.0), (1.0, 1.0))
        return Problem(self, domain)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"weighting": (Causal(),)}, UnsupportedError, "need a coordinate t, and this problem has x1, x2"),
        ({"weighting": (GradientNorm(),)}, UnsupportedError, "balance soft conditions, and this problem has none"),
        ({"weighting": (SelfAdaptive(),)}, UnsupportedError, "balance soft conditions, and this problem has none"),
        ({"resampling": Aas()}, UnsupportedError, "UserDomain draws by itself: use rad, r3 or importance"),
        ({"resampling": Rad(), "resample_every": 0}, InputError, "resample_every = 0 keeps the first points"),
    ],
)
def test_what_has_no_meaning_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        trained(Still(), **options)


def test_weights_of_points_need_points_that_stay() -> None:
    with pytest.raises(UnsupportedError, match="belong to points, which change here"):
        trained(weighting=(SelfAdaptive(per="point"),))
    training = trained(weighting=(SelfAdaptive(per="point", every=1),), resample_every=0, condition_points=7)
    run(training, 3)
    batch = training.batches.current
    assert batch is not None
    assert len(set(weights_of(batch[1]).tolist())) == 7  # type: ignore[union-attr]


def test_a_residual_that_is_not_finite_stops_the_run() -> None:
    training = trained(steps=5, resampling=Rad(pool=3), resample_every=2)
    run(training, 2)
    training.system.residuals = (Known("bad", lambda p: p.t / 0) + 0.0,)
    with pytest.raises(DivergedError, match="the residual is not finite at 120 of 120 points"):
        training.step()
    assert training.step_number == 2


CASE = """
[equation]
name = "heat"
dimension = 2
[solver]
kind = "pinn"
[solver.resampling]
kind = "rad"
power = 2
[[solver.weighting]]
kind = "causal"
slices = 8
tolerances = [1.0, 10.0]
[[solver.weighting]]
kind = "gradient-norm"
"""


def test_points_and_weights_in_a_case_file() -> None:
    case = parse_case(CASE)
    assert isinstance(case.solver, Pinn)
    assert case.solver.resampling == Rad(power=2.0)
    assert case.solver.weighting == (Causal(slices=8, tolerances=(1.0, 10.0)), GradientNorm())
    assert parse_case(case.to_toml()) == case


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"rad"', '"rat"', "solver.resampling.kind: no resampling 'rat'; did you mean 'rad'"),
        ("power = 2", "power = -1", "solver.resampling.power: must be at least 0.0, found the integer -1"),
        ("slices = 8", "slice = 8", r"solver.weighting\[0\].slice: unknown key; did you mean 'slices'"),
        ("[1.0, 10.0]", "[]", r"solver.weighting\[0\].tolerances: must be positive numbers, at least one"),
    ],
)
def test_mistakes_in_a_case_file_are_named(old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_case(CASE.replace(old, new))
