"""Solving from Python does what the command line does, and refuses with the same care."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pinnx
from pinnx.equations import Poisson
from pinnx.errors import InputError
from pinnx.networks import Mlp
from pinnx.solvers.derivatives import Autodiff
from pinnx.solvers.pinn import Pinn
from pinnx.solvers.training import Lbfgs
from pinnx.status import Outcome

EQUATION = Poisson(dimension=2)
SMALL = {"network": Mlp(width=6, depth=1), "steps": 4, "points": 10, "quiet": True}
CASE = """
seed = 9114
threads = 1
[equation]
name = "poisson"
dimension = 2
[network]
width = 6
depth = 1
[solver]
steps = 4
points = 10
"""


@pytest.fixture
def case(tmp_path: Path) -> Path:
    path = tmp_path / "poisson.toml"
    path.write_text(CASE)
    return path


def test_an_equation_a_problem_a_case_and_its_file_give_the_same_solution(case: Path) -> None:
    points = np.random.default_rng(5_021).random((5, 2))
    values = [
        pinnx.solve(EQUATION, seed=9114, **SMALL)(points),
        pinnx.solve(EQUATION.problem(), seed=9114, **SMALL)(points),
        pinnx.solve(pinnx.load_case(case), quiet=True)(points),
        pinnx.solve(str(case), quiet=True)(points),
    ]
    for other in values[1:]:
        np.testing.assert_array_equal(other, values[0])
    assert not np.array_equal(pinnx.solve(EQUATION, seed=9115, **SMALL)(points), values[0])


def test_options_may_be_named_by_kind() -> None:
    solution = pinnx.solve(EQUATION, optimizer="lbfgs", derivatives="autodiff", solver="pinn", **SMALL)
    same = pinnx.solve(EQUATION, solver=Pinn(optimizer=Lbfgs(), derivatives=Autodiff()), **SMALL)
    np.testing.assert_array_equal(solution.history["loss"], same.history["loss"])
    assert solution.status is not None
    assert solution.status.ok


def test_a_directory_holds_the_run_and_gives_it_back(tmp_path: Path) -> None:
    in_memory = pinnx.solve(EQUATION, seed=9114, **SMALL)
    written = pinnx.solve(EQUATION, seed=9114, directory=tmp_path / "run", **SMALL)
    read = pinnx.load(tmp_path / "run")
    points = np.random.default_rng(5_022).random((5, 2))
    for other in (written, read):
        np.testing.assert_array_equal(other(points), in_memory(points))
    np.testing.assert_array_equal(written.history["loss"], in_memory.history["loss"])
    assert (tmp_path / "run" / "report.html").is_file()


def test_an_interrupt_gives_the_solution_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(training, *args, **kwargs):
        training.step()
        raise KeyboardInterrupt

    monkeypatch.setattr("pinnx.api.train", interrupted)
    solution = pinnx.solve(EQUATION, **SMALL)
    assert solution.status is not None
    assert solution.status.outcome is Outcome.STOPPED
    assert solution.status.message == "interrupted after step 1 of 4"


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        (EQUATION, {"stepz": 3}, r"stepz: unknown option; did you mean 'steps' or 'stage'\?"),
        (EQUATION, {"steps": 0}, "steps must be at least 1, got 0"),
        (EQUATION, {"optimizer": "adan"}, r"no optimizer 'adan'; did you mean 'adam'\?"),
        (EQUATION, {"network": "mpl"}, "no network 'mpl'"),
        (EQUATION, {"device": "cuda:77"}, "asks for 'cuda:77'"),
        (Poisson, {}, "got the class Poisson: call it"),
        (3.0, {}, "got a float"),
        ("no/such.toml", {}, "no such file"),
    ],
)
def test_mistakes_are_refused(what, options, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pinnx.solve(what, quiet=True, **options)


def test_a_problem_cannot_be_repeated_from_a_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pass the equation, not a Problem"):
        pinnx.solve(EQUATION.problem(), directory=tmp_path / "run", **SMALL)
    assert not (tmp_path / "run").exists()
