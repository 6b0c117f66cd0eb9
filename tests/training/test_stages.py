"""Trainings in stages, from Python and from case files; the optimizer that is chosen by itself."""

from __future__ import annotations

import copy

import pytest
import torch

from pinnx.case import parse_case
from pinnx.case.case import case_of
from pinnx.case.document import override, parse_document
from pinnx.errors import InputError, UnsupportedError
from pinnx.networks import Mlp
from pinnx.solvers.derivatives import Hutchinson
from pinnx.solvers.pinn import Pinn
from pinnx.solvers.training import (
    Adam,
    AutoOptimizer,
    Constant,
    Engd,
    Lbfgs,
    SelfScaled,
    Situation,
    Soap,
    Spring,
    Stage,
)
from pinnx.solvers.training.auto import LARGEST_MATRIX
from tests.solvers.test_pinn import run, start
from tests.solvers.toys import Decay

STAGES = (
    Stage(4, Adam(learning_rate=1e-2), points=30),
    Stage(3, Spring(), points=20, condition_points=10),
    Stage(3, SelfScaled(), resample_every=2),
    Stage(2, Lbfgs(iterations=3)),
)


def test_stages_follow_each_other() -> None:
    training = start(Decay(hard=False), steps=10_000, stage=STAGES)
    assert training.total_steps == 12
    kinds = []
    for _ in range(12):
        metrics = training.step()
        leg = training.leg  # type: ignore[attr-defined]
        kinds.append((leg.optimizer.kind, len(training._batch[0]), len(training._batch[1])))  # type: ignore[attr-defined]
        assert metrics["loss"] > 0
    assert (
        kinds
        == [("adam", 30, 100)] * 4 + [("spring", 20, 10)] * 3 + [("ssbroyden", 40, 100)] * 3 + [("lbfgs", 40, 100)] * 2
    )
    assert len(training.notes) == 2


def test_each_stage_has_its_own_schedule() -> None:
    stages = (Stage(4, Adam(learning_rate=0.4)), Stage(2, Adam(learning_rate=0.1)))
    rates = [metrics["learning_rate"] for metrics in run(start(steps=10_000, stage=stages), 6)]
    assert rates == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.1, 0.05])


@pytest.mark.parametrize("stop", [2, 4, 6, 7, 8, 10])
def test_resuming_is_bitwise_the_same_in_and_between_stages(stop: int) -> None:
    options = {"steps": 10_000, "stage": STAGES}
    straight = run(start(Decay(hard=False), **options), 12)
    first = start(Decay(hard=False), **options)
    run(first, stop)
    state = copy.deepcopy(first.state_dict())
    second = start(Decay(hard=False), seed=5, **options)
    second.load_state_dict(state)
    assert run(second, 12 - stop) == straight[stop:]


CASE = """
[equation]
name = "poisson"
dimension = 2
[solver]
kind = "pinn"
precision = "float64"
[[solver.stage]]
steps = 100
optimizer = { kind = "adam", learning_rate = 1e-2 }
[[solver.stage]]
steps = 30
points = 50
[solver.stage.optimizer]
kind = "spring"
momentum = 0.8
"""


def test_stages_in_a_case_file() -> None:
    case = parse_case(CASE)
    assert isinstance(case.solver, Pinn)
    assert case.solver.stage == (Stage(100, Adam(learning_rate=1e-2)), Stage(30, Spring(momentum=0.8), points=50))
    assert parse_case(case.to_toml()) == case
    document = override(parse_document(CASE), ["solver.stage[1].steps=7", "solver.stage[1].optimizer.momentum=0.5"])
    changed = case_of(document).solver
    assert isinstance(changed, Pinn)
    assert changed.stage[1] == Stage(7, Spring(momentum=0.5), points=50)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CASE.replace("momentum = 0.8", "momentum = 1.8"), r"solver.stage\[1\].optimizer.momentum: .*found"),
        (CASE.replace("steps = 30", "step = 30"), r"solver.stage\[1\].step: unknown key; did you mean 'steps'"),
        (CASE.replace('precision = "float64"', "steps = 7"), "steps and optimizer belong into each"),
    ],
)
def test_mistakes_in_stages_are_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_case(text)


def test_a_stage_that_cannot_work_is_refused_at_the_start() -> None:
    with pytest.raises(UnsupportedError, match="'ssbroyden' needs"):
        start(steps=10_000, stage=(Stage(5), Stage(5, SelfScaled())), precision="float32")


@pytest.mark.parametrize(
    ("situation", "kind", "why"),
    [
        (Situation(1341, 2000, "float64", coordinates=4), Engd, "2000 residuals determine 1341 parameters"),
        (Situation(1341, 300, "float64", coordinates=2), Spring, "the Gram matrix of 300 residuals"),
        (Situation(1341, 300, "float64", coordinates=50), Spring, "with much damping"),
        (Situation(3000, 100_000, "float64", coordinates=4), SelfScaled, "small beside the Jacobian of 100000"),
        (Situation(10**6, LARGEST_MATRIX, "float64", coordinates=9), Spring, "small beside 1000000 parameters"),
        (Situation(10**6, LARGEST_MATRIX + 1, "float64", coordinates=9), Soap, "are too large"),
        (Situation(1341, 300, "float32", coordinates=2), Soap, 'need solver.precision = "float64"'),
        (Situation(1341, 300, "float64", stochastic=True), Soap, "the noise of stochastic"),
    ],
)
def test_the_choice_is_said_with_its_reason(situation: Situation, kind: type, why: str) -> None:
    optimizer, reason = AutoOptimizer().choose(situation)
    assert isinstance(optimizer, kind)
    assert reason is not None
    assert reason.startswith(f"optimizer: {optimizer.kind}, because")
    assert why in reason


def test_auto_damps_by_how_much_a_batch_determines() -> None:
    def damping(coordinates: int) -> float:
        chosen, _ = AutoOptimizer().choose(Situation(1341, 300, "float64", coordinates=coordinates))
        assert isinstance(chosen, Spring)
        return chosen.damping

    assert damping(2) == damping(49) < damping(50)


def test_auto_shortens_its_steps_only_where_points_change() -> None:
    def last_factor(points_stay: bool) -> float:
        situation = Situation(1341, 2000, "float64", points_stay=points_stay)
        return AutoOptimizer().choose(situation)[0].schedule.factor(99, 100)

    assert last_factor(points_stay=True) == 1.0
    assert last_factor(points_stay=False) < 0.05
    stays = start(optimizer=AutoOptimizer(), steps=2, points=2000, precision="float64", resample_every=0)
    assert isinstance(stays.legs[0].optimizer, Engd)
    assert stays.legs[0].optimizer.schedule == Constant()


def test_without_soap_it_is_adam(monkeypatch) -> None:
    monkeypatch.setattr("pinnx.solvers.training.auto.find_spec", lambda name: None)
    optimizer, reason = AutoOptimizer().choose(Situation(10, 10, "float32"))
    assert optimizer == Adam()
    assert reason is not None
    assert reason.endswith("soap is not installed")


def test_auto_trains_and_says_what_it_chose() -> None:
    training = start(optimizer=AutoOptimizer(), steps=2)
    assert any("optimizer: spring" in note for note in training.notes)
    run(training, 2)
    stochastic = start(optimizer=AutoOptimizer(), steps=2, derivatives=Hutchinson(samples=2))
    assert any("optimizer: soap" in note for note in stochastic.notes)


def test_engd_is_spring_without_momentum() -> None:
    options = {"search": "none", "damping": 1e-5, "learning_rate": 0.3}
    solver = {"precision": "float64", "points": 12}
    problem, cpu = Decay().problem(), torch.device("cpu")
    from_engd = Pinn(optimizer=Engd(**options), **solver).start(problem, Mlp(8, 2), seed=3, device=cpu)
    from_spring = Pinn(optimizer=Spring(**options, momentum=0.0), **solver, steps=10**9)
    from_spring = from_spring.start(problem, Mlp(8, 2), seed=3, device=cpu)
    for _ in range(2):
        assert from_engd.step()["loss"] == pytest.approx(from_spring.step()["loss"], rel=1e-6)
