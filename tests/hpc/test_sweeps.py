"""Sweeps on this machine: every member once, whatever happens; and what is told of them afterwards."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import pinnx
from pinnx.hpc.local import run_locally, tally
from pinnx.hpc.states import State, progress_of, state_of
from pinnx.hpc.sweep import Sweep, make_sweep, read_sweep
from pinnx.run import RunDirectory, read_metrics
from pinnx.run.locks import lock
from tests.hpc.conftest import Call

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def histories(sweep: Sweep) -> dict[str, list[str]]:
    """For each member the first word of every line of its history: start, done, stopped, …"""
    return {
        member.name: [line.split()[1] for line in member.history.read_text().splitlines()] for member in sweep.members
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A sweep that went to its end, with two members that diverged; do not change it."""
    from tests.hpc.conftest import CASE

    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.toml").write_text(CASE)
    rates = [{"solver.optimizer.learning_rate": rate} for rate in ("1e-3", "1e-2", "1e30")]
    members = [own | {"seed": seed} for own in rates for seed in ("8117", "5501")]
    sweep = make_sweep(folder / "sweep", folder / "tiny.toml", ["solver.steps=6"], members)
    said: list[str] = []
    result = run_locally(sweep, 2, say=said.append)
    assert result.exit_code == 4
    assert len(said) == 6
    return sweep


def test_members_are_run_with_their_settings(finished: Sweep) -> None:
    counts = Counter(state_of(member)[0] for member in finished.members)
    assert counts == {State.DONE: 4, State.DIVERGED: 2}
    for member in finished.members[:4]:
        case = member.run.read_case()
        assert (case.seed, case.solver.steps) == (int(member.own["seed"]), 6)  # type: ignore[attr-defined]
        assert case.solver.optimizer.learning_rate == float(member.own["solver.optimizer.learning_rate"])  # type: ignore[attr-defined]
        assert not (member.run.path / "report.html").exists()
    assert all(words[:2] in (["start", "done"], ["start", "diverged"]) for words in histories(finished).values())


def test_running_again_does_nothing_and_retrying_runs_what_is_bad(finished: Sweep) -> None:
    before = histories(finished)
    assert run_locally(finished, 2).sentence() == "4 of 6 done, 2 diverged"
    assert histories(finished) == before
    run_locally(finished, 2, retry=True, say=lambda sentence: None)
    after = histories(finished)
    assert {name for name in after if after[name] != before[name]} == {"0004", "0005"}


def test_the_table_tells_mean_spread_and_best(finished: Sweep, call: Call) -> None:
    code, output, _ = call("compare", finished.path, "--to", "csv")
    assert code == 0
    rows = {row["solver.optimizer.learning_rate"]: row for row in csv.DictReader(io.StringIO(output))}
    for rate in ("1e-3", "1e-2"):
        members = [each for each in finished.members if each.own["solver.optimizer.learning_rate"] == rate]
        errors = [RunDirectory(each.run.path).read_result().errors["relative_l2"] for each in members]  # type: ignore
        assert float(rows[rate]["error_mean"]) == pytest.approx(statistics.mean(errors), rel=1e-15)
        assert float(rows[rate]["error_spread"]) == pytest.approx(abs(errors[0] - errors[1]) / 2**0.5, rel=1e-12)
        assert float(rows[rate]["error_best"]) == min(errors)
        assert rows[rate]["members"] == rows[rate]["done"] == "2"
    assert rows["1e30"]["done"] == "0"
    assert rows["1e30"]["error_mean"] == ""


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_failed_members_are_listed_with_their_reason(finished: Sweep, call: Call, form: str) -> None:
    code, output, _ = call("compare", finished.path, "--to", form)
    assert code == 0
    assert "diverged: 0004, 0005: step 2: loss/" in output
    code, output, _ = call("compare", finished.path, "--to", form, "--members")
    assert output.count("diverged") == 3


def test_one_page_holds_tables_and_figures(finished: Sweep, call: Call) -> None:
    code, output, _ = call("compare", finished.path, "--to", "html")
    assert code == 0
    page = Path(output.strip()).read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "<h2>Not done</h2>" in page
    assert "http" not in page.replace("http-equiv", "")
    assert {file.name for file in (finished.path / "plots").iterdir()} == {
        f"{name}.{kind}" for name in ("settings", "training") for kind in ("png", "pdf")
    }


def test_status_is_read_from_files(finished: Sweep, call: Call) -> None:
    code, output, _ = call("status", finished.path)
    assert code == 0
    assert "6 members, 4 done, 2 diverged" in output
    assert "0004" in output
    assert "0000" not in output
    assert "0000" in call("status", finished.path, "--all")[1]
    with lock(finished.members[0].claim, "is running this member"):
        assert "6 members, 1 running, 3 done, 2 diverged" in call("status", finished.path)[1]
    run = finished.members[0].run
    assert "6/6" in call("status", run.path)[1]
    with run.locked():
        assert "running" in call("status", run.path)[1]


def test_a_run_that_goes_on_tells_loss_error_and_time_left(finished: Sweep) -> None:
    run = finished.members[2].run
    rows = read_metrics(run.metrics)
    with run.locked():
        found = progress_of(run)
    assert (found.state, found.step, found.total) == (State.RUNNING, 6, 6)
    assert found.loss == rows["loss"][-1]
    assert found.error == rows["relative_l2"][-1]
    assert found.seconds == rows["seconds"][-1]
    assert dataclasses.replace(found, total=15).left == pytest.approx(1.5 * found.seconds)


def test_draws_and_values_that_go_together_are_listed_before_anything_is_written(call: Call, folder: Path) -> None:
    drawn = ("--random", "solver.optimizer.learning_rate=log:1e-4:1e-2", "--samples", "3")
    words = ("sweep", "tiny.toml", "--zip", "network.width=4,8", "--zip", "network.depth=3,2", *drawn, "--dry-run")
    code, output, errors = call(*words)
    assert code == 0, errors
    *lines, count = output.splitlines()
    assert count == "6 members"
    shapes = [("network.width=4" in line, "network.depth=3" in line) for line in lines]
    assert shapes.count((True, True)) == shapes.count((False, False)) == 3
    rates = {float(line.partition("learning_rate=")[2].split()[0]) for line in lines}
    assert len(rates) == 3
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    assert not (folder / "runs").exists()
    assert call(*words)[1] == output


@pytest.mark.parametrize("name", ["mine", "alone"])
def test_a_sweep_is_complete_and_can_be_moved(call: Call, folder: Path, name: str) -> None:
    """With an equation of the user's own, in files beside the case or in a folder below it."""
    code, output, errors = call("sweep", f"user/{name}.toml", "--grid", "equation.factor=1.0,2.0", "--prepare")
    assert code == 0, errors
    assert "2 members" in output
    shutil.rmtree(folder / "user")
    (folder / "runs" / f"{name}-sweep").rename(folder / "moved")
    code, output, errors = call("sweep", "moved")
    assert code == 0, errors
    assert "2 of 2 done" in output
    assert read_sweep(folder / "moved").members[1].run.read_case().equation.factor == 2.0  # type: ignore[attr-defined]


def test_members_can_be_added_and_none_is_lost(call: Call, folder: Path) -> None:
    assert call("sweep", "tiny.toml", "--grid", "network.width=4,5", "--prepare")[0] == 0
    assert call("sweep", "tiny.toml", "--grid", "network.width=3,4,5,6", "--prepare")[0] == 0
    sweep = read_sweep(folder / "runs" / "tiny-sweep")
    assert [member.own["network.width"] for member in sweep.members] == ["4", "5", "3", "6"]
    code, _, errors = call("sweep", "tiny.toml", "--grid", "network.width=4", "--prepare")
    assert code == 2
    assert "3 members that are not asked for now" in errors
    code, _, errors = call("sweep", "tiny.toml", "--grid", "network.width=3,4,5,6", "--set", "solver.steps=9")
    assert code == 2
    assert "other settings" in errors
    with open(folder / "tiny.toml", "a") as file:
        file.write("checkpoint_every = 2\n")
    code, _, errors = call("sweep", "tiny.toml", "--grid", "network.width=3,4,5,6", "--prepare")
    assert code == 2
    assert "tiny.toml has changed" in errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tiny.toml"], "nothing varies"),
        (["tiny.toml", "--grid", "network.widt=4,5"], "did you mean 'width'"),
        (["tiny.toml", "--grid", "network.width=4,many"], "expected an integer"),
        (["tiny.toml", "--seeds", "3", "--local", "0"], "--local: expected at least 1"),
        (["none.toml", "--seeds", "3"], "no such file"),
        (["user", "--seeds", "3"], "is a directory"),
        (["user"], "not a sweep"),
        (["tiny.toml", "--seeds", "2", "--output", "user"], "holds something else"),
        (["tiny.toml", "--seeds", "2", "--member", "0"], "needs the directory of a sweep"),
        (["tiny.toml", "--seeds", "2", "--stop-on", "USR9"], "did you mean"),
        (["tiny.toml", "--seeds", "2", "--stop-on", "KILL"], "no such signal"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(call: Call, folder: Path, words: list[str], message: str) -> None:
    code, _, errors = call("sweep", *words)
    assert code == 2
    assert message in errors
    assert not (folder / "runs").exists()


def test_a_damaged_index_is_told(call: Call, folder: Path) -> None:
    call("sweep", "tiny.toml", "--seeds", "2", "--prepare")
    index = folder / "runs" / "tiny-sweep" / "sweep.json"
    for content, message in (("{", "expected JSON"), ('{"format": 1}', "not the index"), ('{"format": 9}', "format 9")):
        index.write_text(content)
        for command in ("sweep", "compare", "status", "submit"):
            code, _, errors = call(command, "runs/tiny-sweep")
            assert (code, message in errors) == (2, True), (command, content, errors)


def test_a_member_that_another_process_runs_is_left_to_it(call: Call, folder: Path) -> None:
    call("sweep", "tiny.toml", "--seeds", "2", "--prepare")
    member = read_sweep(folder / "runs" / "tiny-sweep").members[0]
    member.folder.mkdir(parents=True)
    with lock(member.claim, "is running this member"):
        code, output, _ = call("sweep", "runs/tiny-sweep")
        assert code == 3
        assert "1 of 2 done, 1 running" in output
        code, _, errors = call("sweep", "runs/tiny-sweep", "--member", "0")
        assert code == 2
        assert "another process is running this member" in errors
    assert not member.history.exists()
    assert call("sweep", "runs/tiny-sweep", "--member", "0", "--quiet")[0] == 0
    assert member.history.read_text().count(" done process ") == 1


def interrupt(sweep: Path, after: int, number: signal.Signals, total: int) -> int:
    """Go on with a sweep and interrupt it when so many more members have ended; the exit code."""
    package = str(Path(pinnx.__file__).parents[1])
    paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pinnx", "sweep", str(sweep), "--local", "2"]
    surroundings = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(command, env=surroundings, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        for count, _ in enumerate(runner.stdout, 1):
            if count == after:
                runner.send_signal(number)
                break
        runner.stdout.read()
    # what a killed runner left behind stops by itself, after its step
    deadline = time.monotonic() + 120
    while tally(read_sweep(sweep)).count(State.RUNNING) and time.monotonic() < deadline:
        time.sleep(0.05)
    return runner.returncode


def members_once(folder: Path, case: str, count: int, interruptions: int, steps: int) -> None:
    """Run a sweep that is interrupted so often, by turns gently and not; every member must be run exactly once."""
    (folder / "tiny.toml").write_text(case)
    chance = random.Random(count + interruptions)
    members = [{"seed": str(seed)} for seed in chance.sample(range(10_000, 10**6), count)]
    sweep = make_sweep(folder / "sweep", folder / "tiny.toml", [f"solver.steps={steps}"], members)
    kinds = [signal.SIGTERM, signal.SIGKILL, signal.SIGINT]
    for number in range(interruptions):
        code = interrupt(sweep.path, count // (2 * interruptions), kinds[number % 3], count)
        assert code in (3, -signal.SIGKILL)
        assert tally(sweep).count(State.DONE) < count
    deadline = time.monotonic() + 300
    # a member that was about to start when the runner was killed may still run: it is left alone, and done elsewhere
    while (result := run_locally(sweep, 2, say=lambda sentence: None)).exit_code == 3:
        assert time.monotonic() < deadline
    assert result.sentence() == f"{count} of {count} done"
    for member in sweep.members:
        words = [line.split()[1] for line in member.history.read_text().splitlines()]
        assert words.count("done") == 1, (member.name, words)
        assert words[-1] == "done"
        # a start more than ends: it was killed in between
        assert words.count("start") <= 1 + interruptions
        metrics = read_metrics(member.run.metrics)
        assert len(set(metrics["step"])) == len(metrics["step"])
        result_file = json.loads(member.run.result.read_text())
        assert (result_file["steps"], result_file["seed"]) == (steps, int(member.own["seed"]))
    starts = Counter(len(words) for words in histories(sweep).values())
    assert sum(starts.values()) == count


def test_interrupted_twice_every_member_is_run_once(folder: Path) -> None:
    from tests.hpc.conftest import CASE

    members_once(folder, CASE, 8, 2, 5)


@pytest.mark.slow
def test_two_hundred_members_interrupted_five_times(folder: Path) -> None:
    from tests.hpc.conftest import CASE

    members_once(folder, CASE, 200, 5, 5)
