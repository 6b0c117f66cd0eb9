"""Runs from a case to a directory: complete, repeatable, resumable, one at a time."""

from __future__ import annotations

import dataclasses
import errno
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from pinnx.errors import InputError
from pinnx.run import RunDirectory, check, execute, load_solution, read_metrics, resume
from pinnx.run.files import WriteError
from pinnx.run.metrics import CLOCK_COLUMNS
from pinnx.solvers.pinn import PinnTraining
from pinnx.solvers.training import Adam, Lbfgs
from pinnx.status import Outcome


def assert_same_metrics(one: Path, other: Path) -> None:
    first, second = (read_metrics(each / "metrics.h5") for each in (one, other))
    assert list(first) == list(second)
    for name in set(first) - CLOCK_COLUMNS:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_directory_is_complete(finished: Path) -> None:
    files = {file.relative_to(finished).as_posix() for file in finished.rglob("*") if file.is_file()}
    figures = {f"plots/{name}.{kind}" for name in ("training", "solution", "residual") for kind in ("png", "pdf")}
    assert files == figures | {
        "case.toml", "equation_file.py", "beside.py", "environment.json", "problem.json", "metrics.h5",
        "diagnostics.json", "solution.h5",
        "result.json", "report.html", "log.txt", "lock", "checkpoints/step-00000056.pt", "checkpoints/step-00000060.pt",
    }  # fmt: skip


def test_result_has_the_promised_keys(finished: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    assert result["status"] == "done"
    assert set(result) >= {
        "message", "relative_l2", "relative_l1", "max_error", "baselines", "steps", "seconds", "steps_per_second",
        "network_evaluations", "peak_memory_bytes", "parameters", "seed", "device",
    }  # fmt: skip
    assert result["steps"] == 60
    assert result["seed"] == 90263
    assert result["parameters"] == 3 * 8 + 8 + 8 * 8 + 8 + 8 + 1
    assert result["network_evaluations"] == 60 * 8
    assert set(result["baselines"]) == {"zero", "constant", "affine"}
    solution = load_solution(finished)
    assert solution.error().as_dict() == {name: result[name] for name in ("relative_l2", "relative_l1", "max_error")}
    assert {name: error.as_dict() for name, error in solution.baselines().items()} == result["baselines"]


def test_environment_tells_where_and_how(finished: Path) -> None:
    (session,) = json.loads((finished / "environment.json").read_text())["sessions"]
    assert session["packages"]["torch"] == importlib.metadata.version("torch")
    assert session["seed"] == 90263
    assert session["device"] == "cpu"
    assert {"python", "host", "cpu", "device_name", "threads", "git", "command", "started", "slurm"} <= set(session)


def test_resolved_case_repeats_the_run(finished: Path, tmp_path: Path) -> None:
    case = RunDirectory(finished).read_case()
    assert case.source == finished / "case.toml"
    execute(case, tmp_path / "again", quiet=True)
    assert_same_metrics(finished, tmp_path / "again")
    first, second = ((each / "case.toml").read_text() for each in (finished, tmp_path / "again"))
    assert first == second


def test_a_directory_that_holds_a_run_is_not_written(finished: Path, load) -> None:
    with pytest.raises(InputError, match=r"holds a run already, which is done at step 60; .*pinnx resume .*--output"):
        execute(load(), finished, quiet=True)


def test_a_directory_with_other_files_is_not_written(tmp_path: Path, load) -> None:
    (tmp_path / "thesis.tex").write_text("…")
    with pytest.raises(InputError, match=r"is not empty \(it holds thesis.tex\)"):
        execute(load(), tmp_path, quiet=True)


def test_a_file_in_the_place_of_the_directory(tmp_path: Path, load) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="is a file; expected a directory"):
        execute(load(), tmp_path / "run", quiet=True)
    with pytest.raises(InputError, match="is a file, or lies below one"):
        execute(load(), tmp_path / "run" / "below", quiet=True)


@pytest.mark.parametrize("command", [resume, load_solution], ids=lambda command: command.__name__)
def test_what_is_no_run_directory_is_refused(tmp_path: Path, command) -> None:
    with pytest.raises(InputError, match="no such run directory"):
        command(tmp_path / "none")
    with pytest.raises(InputError, match=r"not a run directory: expected the file case\.toml"):
        command(tmp_path)
    (tmp_path / "case.toml").write_text("title = ")
    with pytest.raises(InputError, match=r"case\.toml:1"):
        command(tmp_path)


def test_wrong_input_leaves_no_directory(tmp_path: Path, load) -> None:
    with pytest.raises(InputError):
        execute(load("device='cuda:99'"), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGTERM) -> None:
    original = PinnTraining.step

    def signalled(self: PinnTraining) -> dict[str, float]:
        if self.step_number + 1 == step:
            os.kill(os.getpid(), number)
        return original(self)

    monkeypatch.setattr(PinnTraining, "step", signalled)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_stopped_and_resumed_is_never_stopped(tmp_path: Path, load, optimizer: str) -> None:
    case = load(f"solver.optimizer={{kind = '{optimizer}'}}", "solver.steps=30", "output.checkpoint_every=8")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    execute(case, whole, quiet=True)
    for step, number in ((5, signal.SIGTERM), (21, signal.SIGINT)):
        with pytest.MonkeyPatch.context() as patch:
            stop_at(step, patch, number)
            result = execute(case, parts, resume=True, quiet=True)
        assert result.status.outcome is Outcome.STOPPED
        assert result.exit_code == 3
        assert result.steps == step
        assert f"pinnx resume {parts}" in result.status.message
        assert json.loads((parts / "result.json").read_text())["status"] == "stopped"
    assert resume(parts, quiet=True).status.ok
    assert_same_metrics(whole, parts)
    first, second = (json.loads((each / "result.json").read_text()) for each in (whole, parts))
    same = ("relative_l2", "relative_l1", "max_error", "loss", "network_evaluations", "steps")
    assert [first[name] for name in same] == [second[name] for name in same]
    sessions = json.loads((parts / "environment.json").read_text())["sessions"]
    assert [session["from_step"] for session in sessions] == [0, 5, 21]


def test_resuming_a_finished_run_only_makes_its_report_again(run_copy: Path, figures) -> None:
    (run_copy / "report.html").unlink()
    before = (run_copy / "checkpoints" / "step-00000060.pt").read_bytes()
    result = resume(run_copy, quiet=True)
    assert result.status.ok
    assert result.steps == 60
    assert (run_copy / "report.html").is_file()
    assert (run_copy / "checkpoints" / "step-00000060.pt").read_bytes() == before


def test_interrupted_at_once_is_still_resumable(tmp_path: Path, load, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: PinnTraining) -> dict[str, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr(PinnTraining, "step", interrupt)
    result = execute(load(), tmp_path / "run", quiet=True)
    assert result.exit_code == 3
    assert "pinnx resume" in result.status.message
    monkeypatch.undo()
    assert resume(tmp_path / "run", quiet=True).status.ok


def test_divergence_is_a_status_with_a_checkpoint(tmp_path: Path, load, figures) -> None:
    case = load("equation.explode=true", "solver.precision='float32'")
    result = execute(case, tmp_path / "run", quiet=True)
    assert result.status.outcome is Outcome.DIVERGED
    assert result.exit_code == 4
    assert "step 1: residual" in result.status.message or "step 1: loss" in result.status.message
    assert "try a smaller" in result.status.message
    assert (tmp_path / "run" / "checkpoints" / "step-00000000.pt").is_file()
    assert (tmp_path / "run" / "report.html").is_file()


def test_without_a_reference_there_are_no_errors(tmp_path: Path, load, capsys, figures) -> None:
    result = execute(load("equation.known=false"), tmp_path / "run")
    assert result.errors is None
    content = json.loads((tmp_path / "run" / "result.json").read_text())
    assert content["relative_l2"] is None
    assert content["baselines"] == {"zero": None, "constant": None, "affine": None}
    assert "no reference solution is known" in capsys.readouterr().out
    assert "no error can be told" in (tmp_path / "run" / "report.html").read_text()


def test_another_case_does_not_go_on_with_a_run(run_copy: Path, load) -> None:
    with pytest.raises(InputError, match=r"run of another case: network\.width is 8 there, 16 here"):
        execute(load("network.width=16"), run_copy, resume=True, quiet=True)
    assert execute(load("title='Another title'", "threads=1"), run_copy, resume=True, quiet=True).status.ok


def test_a_changed_equation_file_does_not_go_on_with_a_run(run_copy: Path, load) -> None:
    (run_copy / "beside.py").write_text("RATE = 0.5\n")
    with pytest.raises(InputError, match=r"run of another case: beside\.py"):
        execute(load(), run_copy, resume=True, quiet=True)


def test_a_changed_case_file_is_refused_by_its_checkpoint(run_copy: Path) -> None:
    case = (run_copy / "case.toml").read_text()
    (run_copy / "case.toml").write_text(case.replace("width = 8", "width = 9"))
    with pytest.raises(InputError, match=r"checkpoint of step 60 does not fit the case in case\.toml"):
        resume(run_copy, quiet=True)


def test_two_processes_never_write_one_run(run_copy: Path) -> None:
    code = (
        "import sys; from pinnx.run.directory import RunDirectory\n"
        f"with RunDirectory({str(run_copy)!r}).locked():\n print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(InputError, match=rf"another process is writing this run \(process {other.pid} on "):
            resume(run_copy, quiet=True)
        other.kill()
    with RunDirectory(run_copy).locked():  # the lock of the dead is nobody's
        pass


def test_a_full_disk_loses_nothing(tmp_path: Path, load, monkeypatch: pytest.MonkeyPatch) -> None:
    original = PinnTraining.step
    sync = os.fsync

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def step(self: PinnTraining) -> dict[str, float]:
        monkeypatch.setattr(os, "fsync", full if self.step_number >= 30 else sync)
        return original(self)

    monkeypatch.setattr(PinnTraining, "step", step)
    with pytest.raises(WriteError, match=r"metrics\.h5: No space left on device; .*resume"):
        execute(load(), tmp_path / "run", quiet=True)
    monkeypatch.undo()
    assert resume(tmp_path / "run", quiet=True).status.ok
    execute(load(), tmp_path / "whole", quiet=True)
    assert_same_metrics(tmp_path / "whole", tmp_path / "run")


def test_threads_are_those_of_the_case_and_only_for_the_run(tmp_path: Path, load) -> None:
    before = torch.get_num_threads()
    execute(load("threads=2", "solver.steps=2"), tmp_path / "run", quiet=True)
    assert torch.get_num_threads() == before
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["sessions"][0]["threads"] == 2


def test_equation_of_a_run_is_the_copy(finished: Path, case_folder: Path) -> None:
    tables = tomllib.loads((finished / "case.toml").read_text())
    assert tables["equation"]["name"] == "./equation_file.py:Fading"
    assert (finished / "equation_file.py").read_bytes() == (case_folder / "equation_file.py").read_bytes()


def test_check_does_everything_short_of_training(load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    figures = check(load("equation.dimension=3"))
    assert figures["dimension"] == 3
    assert figures["parameters"] == 4 * 8 + 8 + 8 * 8 + 8 + 8 + 1
    assert figures["network_evaluations_per_step"] == 8
    assert 0 < figures["seconds_per_step"] < figures["estimated_seconds"]
    assert figures["peak_memory_bytes"] > 1 << 20
    assert figures["notes"]
    assert not list(tmp_path.iterdir())
    assert check(load("solver.steps=1"))["estimated_seconds"] is None


def test_check_times_every_stage(load, monkeypatch: pytest.MonkeyPatch) -> None:
    tick = 0.0

    def clock() -> float:
        nonlocal tick
        tick += 1.0
        return tick

    monkeypatch.setattr("pinnx.run.checking.time.perf_counter", clock)
    seconds = {Adam: 1.0, Lbfgs: 5.0}
    original = PinnTraining.step

    def step(training: PinnTraining) -> dict[str, float]:
        nonlocal tick
        tick += seconds[type(training.leg.optimizer)] - 1.0  # the clock itself counts one
        return original(training)

    monkeypatch.setattr(PinnTraining, "step", step)
    stages = '[{steps = 30}, {steps = 10, optimizer = {kind = "lbfgs"}}]'
    figures = check(load("solver.steps=10000", f"solver.stage={stages}"))
    assert figures["steps"] == 40
    assert figures["seconds_per_step"] == pytest.approx((30 * 1 + 10 * 5) / 40)


def test_an_equation_of_a_script_can_be_solved_and_later_it_is_said_why_not_resumed(
    case_folder: Path, tmp_path: Path
) -> None:
    lines = (case_folder / "equation_file.py").read_text().replace("from beside import RATE", "RATE = 1.0")
    call = (
        "import pinnx.api\nprint(pinnx.api.solve(Fading(), directory='run', steps=2, quiet=True)([[0.5, 0.5, 0.0]]))\n"
    )
    (tmp_path / "script.py").write_text(lines + call)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("tensor([1.]"), done.stderr
    with pytest.raises(InputError, match="defined in a script or notebook"):
        resume(tmp_path / "run", quiet=True)


def test_an_equation_that_no_file_can_name_is_refused_at_once(load, tmp_path: Path) -> None:
    case = load()

    @dataclasses.dataclass(frozen=True)
    class Inside(type(case.equation)):  # type: ignore[misc]
        pass

    with pytest.raises(InputError, match="must stand at the top level of a module"):
        execute(dataclasses.replace(case, equation=Inside()), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
