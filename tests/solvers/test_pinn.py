"""Training: it converges, repeats, resumes bitwise, and stops where it must."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from pinnx.errors import DivergedError, MissingExtraError, ShapeError, UnsupportedError
from pinnx.expr import Known, Points
from pinnx.networks import Mlp
from pinnx.solvers.base import Training
from pinnx.solvers.derivatives import Hutchinson
from pinnx.solvers.errors import Errors
from pinnx.solvers.pinn import Pinn
from pinnx.solvers.solution import Solution
from pinnx.solvers.training import Adam, Constant, Cosine, Exponential, Geometric, Lbfgs, Linear, Soap
from tests.solvers.toys import Coupled, Decay

CPU = torch.device("cpu")
SMALL = Mlp(width=12, depth=2)


def start(equation=None, seed: int = 71_003, **options) -> Training:
    equation = equation or Decay()
    solver = Pinn(**{"steps": 60, "points": 40, "precision": "float64", **options})
    return solver.start(equation.problem(), SMALL, seed=seed, device=CPU)


def run(training: Training, steps: int) -> list[dict[str, float]]:
    return [training.step() for _ in range(steps)]


def relative_l2(training: Training) -> float:
    errors = training.evaluate()
    assert errors is not None
    return errors.relative_l2


@pytest.mark.parametrize(
    ("optimizer", "steps", "goal"),
    [(Adam(learning_rate=1e-2), 400, 0.1), (Soap(learning_rate=1e-2), 200, 0.1), (Lbfgs(), 15, 1e-2)],
    ids=["adam", "soap", "lbfgs"],
)
def test_optimizers_reach_the_solution(optimizer, steps: int, goal: float) -> None:
    training = start(optimizer=optimizer, steps=steps, points=150)
    before = relative_l2(training)
    run(training, steps)
    assert relative_l2(training) < goal < before


def test_soft_conditions_are_terms_of_the_loss_with_their_weight() -> None:
    training = start(Decay(hard=False), optimizer=Lbfgs(), steps=15, points=150)
    metrics = run(training, 15)
    assert set(metrics[0]) == {"loss", "loss/residual", "loss/initial", "gradient_norm", "learning_rate"}
    assert metrics[0]["loss"] == pytest.approx(metrics[0]["loss/residual"] + metrics[0]["loss/initial"])
    assert relative_l2(training) < 0.02
    heavier = dataclasses.replace(Decay(hard=False).problem().conditions[0], weight=6.0)
    problem = dataclasses.replace(Decay(hard=False).problem(), conditions=(heavier,))
    again = Pinn(steps=1, points=150, precision="float64").start(problem, SMALL, seed=71_003, device=CPU)
    assert again.step()["loss/initial"] == pytest.approx(2 * metrics[0]["loss/initial"], rel=1e-12)


def test_systems_of_several_unknowns() -> None:
    training = start(Coupled(), optimizer=Lbfgs(), steps=20, points=150)
    metrics = run(training, 20)
    assert {"loss/residual1", "loss/residual2"} <= set(metrics[0])
    assert relative_l2(training) < 1e-3
    assert training.solution()(np.zeros((3, 2))).shape == (3, 2)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": Soap()},
        {"optimizer": Lbfgs(iterations=3)},
        {"resample_every": 7, "sampling": "sobol"},
        {"optimizer": Adam(schedule=Cosine()), "clip_gradient": 0.1, "precision": "float32"},
    ],
    ids=["adam", "soap", "lbfgs", "sobol-kept-points", "clipped"],
)
@pytest.mark.parametrize("hard", [True, False], ids=["hard", "soft"])
def test_resuming_is_bitwise_the_same_as_never_stopping(options, hard: bool) -> None:
    whole = start(Decay(hard=hard), steps=20, **options)
    straight = run(whole, 20)
    first = start(Decay(hard=hard), steps=20, **options)
    run(first, 9)
    state = copy.deepcopy(first.state_dict())
    second = start(Decay(hard=hard), steps=20, seed=5, **options)  # another seed: the state must bring everything
    second.load_state_dict(state)
    assert second.step_number == 9
    assert run(second, 11) == straight[9:]
    assert second.network_evaluations == whole.network_evaluations


def test_a_seed_fixes_the_run_and_another_changes_it() -> None:
    one, same, other = (run(start(seed=seed), 3) for seed in (18, 18, 19))
    assert one == same
    assert one != other


def test_evaluation_does_not_change_the_run() -> None:
    quiet, measured = start(), start()
    run(quiet, 2)
    measured.step()
    measured.evaluate()
    measured.baselines()
    measured.step()
    assert quiet.step() == measured.step()


@pytest.mark.parametrize("optimizer", [Adam(), Lbfgs()], ids=["adam", "lbfgs"])
def test_a_loss_that_is_not_finite_stops_before_the_step(optimizer) -> None:
    training = start(Decay(hard=False), optimizer=optimizer)
    training.step()
    before = copy.deepcopy(training.state_dict()["network"])
    bad = Known("bad", lambda p: torch.full_like(p.t, float("nan")))
    condition = training.problem.conditions[0]  # type: ignore[attr-defined]
    training.system.conditions = (bad + 0.0,)  # type: ignore[attr-defined]
    assert condition.name == "initial"
    with pytest.raises(DivergedError, match=r"step 2: loss/initial is not finite .*learning_rate"):
        training.step()
    assert training.step_number == 1
    for name, value in training.state_dict()["network"].items():
        assert torch.equal(value, before[name])


def test_clipping_bounds_the_step() -> None:
    training = start(clip_gradient=1e-3, optimizer=Adam())
    metrics = training.step()
    assert metrics["gradient_norm"] > 1e-3
    norm = sum(float(p.grad.square().sum()) for p in training.network.parameters()) ** 0.5  # type: ignore[attr-defined]
    assert norm == pytest.approx(1e-3, rel=1e-3)


def test_schedules() -> None:
    assert [Constant(warmup=4).factor(step, 10) for step in (0, 3, 9)] == [0.25, 1.0, 1.0]
    assert Exponential(rate=0.5).factor(3, 10) == 0.125
    assert [Linear().factor(step, 10) for step in (0, 5, 10)] == [1.0, 0.5, 0.0]
    assert [round(Geometric(final=0.01).factor(step, 10), 12) for step in (0, 5, 10)] == [1.0, 0.1, 0.01]
    assert [round(Cosine(final=0.2).factor(step, 10), 12) for step in (0, 5, 10)] == [1.0, 0.6, 0.2]
    training = start(optimizer=Adam(learning_rate=0.3, schedule=Linear()), steps=10)
    assert [metrics["learning_rate"] for metrics in run(training, 3)] == pytest.approx([0.3, 0.27, 0.24])


def test_a_missing_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pytorch_optimizer", None)
    with pytest.raises(MissingExtraError, match=r'pip install "pinnx\[optimizers\]"'):
        start(optimizer=Soap())


def test_baselines_are_the_best_constant_and_affine_functions() -> None:
    """Against numpy's least squares on the same points."""
    training = start()
    problem = Decay().problem()
    result = training.baselines()
    (chunk,) = training._test_set().chunks()  # type: ignore[attr-defined]
    p = chunk.tensor.numpy()
    exact, offset, factor = np.exp(-p[:, 2]) * p[:, :2].sum(1), p[:, :2].sum(1), p[:, 2]
    for name, features in {"constant": np.ones((len(p), 1)), "affine": np.c_[np.ones(len(p)), p]}.items():
        rows = features * factor[:, None]
        best = offset + rows @ np.linalg.lstsq(rows, exact - offset, rcond=None)[0]
        baseline = result[name]
        assert baseline is not None
        assert baseline.relative_l2 == pytest.approx(np.linalg.norm(best - exact) / np.linalg.norm(exact), rel=1e-8)
    zero = result["zero"]
    assert isinstance(zero, Errors)
    assert zero.relative_l1 == pytest.approx(np.abs(offset - exact).sum() / np.abs(exact).sum())
    assert problem.test_points == len(p)


def test_a_solution_is_callable_and_saved(tmp_path) -> None:
    training = start(optimizer=Lbfgs(), steps=5)
    run(training, 5)
    solution = training.solution()
    p = np.random.default_rng(9_117).random((7, 3))
    values = solution(p)
    assert isinstance(values, np.ndarray)
    assert values.shape == (7,)
    assert isinstance(solution(torch.tensor(p)), torch.Tensor)
    assert solution(Points(torch.tensor(p), training.problem.domain.coordinates)).shape == (7,)  # type: ignore[attr-defined]
    assert solution(p[0]) == pytest.approx(values[0])
    assert solution.residual(p).shape == (7,)
    solution.save(tmp_path / "decay.pt")
    again = Solution.load(tmp_path / "decay.pt")
    assert np.array_equal(again(p), values)
    assert again.error() == solution.error()
    with pytest.raises(ShapeError, match=r"points must have shape \(n, 3\), columns x1, x2, t; got \(7, 2\)"):
        solution(p[:, :2])
    with pytest.raises(Exception, match="no such file"):
        Solution.load(tmp_path / "nothing.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(Exception, match="not a solution written by"):
        Solution.load(tmp_path / "text.pt")


def test_a_solution_is_plotted(tmp_path) -> None:
    solution = start().solution()
    figure = solution.plot(tmp_path / "decay.png")
    assert (tmp_path / "decay.png").read_bytes().startswith(b"\x89PNG")
    assert len(figure.axes) >= 3  # solution, reference, error
    with pytest.raises(Exception, match=r"decay.doc: cannot write the figure"):
        solution.plot(tmp_path / "decay.doc")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": Lbfgs()}, "the optimizer 'lbfgs' compares losses along a line"),
        ({"compile": True}, "compile = true cannot serve the derivatives 'hutchinson'"),
    ],
)
def test_combinations_that_would_mislead_are_refused(options, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        start(derivatives=Hutchinson(), **options)


@pytest.mark.slow
def test_a_compiled_loss_is_the_same_loss() -> None:
    plain, compiled = start(precision="float64"), start(precision="float64", compile=True)
    for one, other in zip(run(plain, 3), run(compiled, 3), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-9)
