"""Batch jobs on a real Slurm: arrays, limits of time, cancelling, a node that disappears, several processes.

One cluster serves all tests. The job that must wait for its limit is submitted first and looked at late.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest

from pinnx.run import RunDirectory, load_solution, read_metrics
from pinnx.run.checkpoints import Checkpoints
from pinnx.run.metrics import CLOCK_COLUMNS
from tests.slurm.cluster import Cluster, wait_for
from tests.slurm.conftest import Desk

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

#: Steps that take longer than the job has until Slurm sends its signal, 55 to 90 seconds after the start.
LONG, PAUSE = 1000, 0.1


def assert_alike(found: Path, expected: Path) -> None:
    """Two runs have the same metrics, bit for bit, but for the clock."""
    left, right = read_metrics(found / "metrics.h5"), read_metrics(expected / "metrics.h5")
    assert list(left) == list(right)
    for name in set(right) - CLOCK_COLUMNS:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def log(run: Path) -> str:
    return (run / "log.txt").read_text()


@pytest.fixture(scope="module")
def whole(desk: Desk) -> Path:
    """The long run, never interrupted, without its pauses."""
    case = desk.case("whole", steps=LONG, seed=8821)
    desk.pinnx("solve", case, "--quiet", "--no-figures")
    return desk.run("whole")


@pytest.fixture(scope="module")
def late(desk: Desk) -> str:
    """The number of a job that needs more time than it has."""
    desk.case("late", steps=LONG, seed=8821)
    return desk.submit("late.toml", "--time", "2", "--signal", "USR1@30", "--requeue", pause=PAUSE)


def test_an_array_of_four_cases(desk: Desk, cluster: Cluster, late: str) -> None:
    names = ["a", "b", "c", "d"]
    for index, name in enumerate(names):
        desk.case(name, steps=20 + index, seed=7_301 + index)
    job = desk.submit(*(f"{name}.toml" for name in names), "--time", "5", "--output", "jobs/four")
    for index in range(4):
        assert cluster.wait_until(f"{job}_{index}", "COMPLETED", "FAILED", patience=300) == "COMPLETED"
    for index, name in enumerate(names):
        result = RunDirectory(desk.run(name)).read_result()
        assert result is not None
        assert result.status.ok
        assert result.steps == 20 + index
    rows = [line.split(",") for line in desk.pinnx("compare", "jobs/four", "--to", "csv").splitlines()]
    assert rows[0][:3] == ["case", "members", "done"]
    assert sorted(row[0] for row in rows[1:]) == names
    assert {row[2] for row in rows[1:]} == {"1"}
    table = {row[0]: float(row[3]) for row in rows[1:]}
    for name in names:
        assert table[name] == RunDirectory(desk.run(name)).read_result().loss  # type: ignore[union-attr]
    assert "4 members, 4 done" in desk.pinnx("status", "jobs/four")
    assert desk.pinnx("submit", *(f"{name}.toml" for name in names), "--output", "jobs/four").startswith("nothing")


def test_two_processes_of_srun_are_one_run(desk: Desk, cluster: Cluster) -> None:
    desk.case("single", steps=30, seed=40_127)
    desk.pinnx("solve", "single.toml", "--quiet", "--no-figures")
    desk.case("double", steps=30, seed=40_127)
    job = desk.submit("double.toml", "--tasks-per-node", "2", "--time", "5")
    assert cluster.wait_until(job, "COMPLETED", "FAILED", patience=300) == "COMPLETED"
    result = RunDirectory(desk.run("double")).read_result()
    assert result is not None
    assert any(note.startswith("2 processes (srun)") for note in result.notes)
    single, double = (read_metrics(desk.run(name) / "metrics.h5") for name in ("single", "double"))
    np.testing.assert_allclose(double["loss"], single["loss"], rtol=1e-10)


def test_cancelled_in_the_middle_of_checkpoints(desk: Desk, cluster: Cluster) -> None:
    """Nothing is corrupt, however often, and the run ends as if it had never been cancelled."""
    # one checkpoint a step, of a megabyte: much of the time goes into writing them
    desk.case("cancelled", steps=60, seed=66_403, checkpoint_every=1, width=200)
    run = RunDirectory(desk.run("cancelled"))
    cancelled = 0
    for attempt in range(4):
        job = desk.submit("cancelled.toml", "--time", "5", pause=0.1)
        before = Checkpoints(run.checkpoints).newest_step or 0
        wait_for(
            lambda before=before, job=job: (
                (Checkpoints(run.checkpoints).newest_step or 0) > before + 1 or cluster.state(job) == "COMPLETED"
            ),
            "two checkpoints",
            120,
        )
        if cluster.state(job) == "COMPLETED":
            break
        # every other time without a warning: the run has no time to end its step
        cluster.call("scancel", *(["--signal=KILL", "--full"] if attempt % 2 else []), job)
        cluster.wait_until(job, "CANCELLED", "FAILED", "COMPLETED")
        wait_for(lambda: not run.is_locked, "the end of the process")
        cancelled += 1
        assert Checkpoints(run.checkpoints).newest() is not None
        assert np.isfinite(load_solution(run.path)(np.full((3, 2), 0.5))).all()
        read_metrics(run.metrics)
    assert cancelled >= 2
    desk.pinnx("sweep", "jobs/cancelled", "--quiet")
    desk.case("uncancelled", steps=60, seed=66_403, width=200)
    desk.pinnx("solve", "uncancelled.toml", "--quiet", "--no-figures")
    assert_alike(run.path, desk.run("uncancelled"))


def test_out_of_time_goes_on_by_requeue(desk: Desk, cluster: Cluster, late: str, whole: Path) -> None:
    deadline, requeued = time.monotonic() + 600, 0
    while cluster.state(late) != "COMPLETED":
        assert time.monotonic() < deadline, cluster.logs() + log(desk.run("late"))
        if cluster.state(late) == "PENDING":  # Slurm lets a requeued job wait for two minutes
            cluster.call("scontrol", "update", f"JobId={late}", "StartTime=now", check=False)
        time.sleep(1)
    lines = log(desk.run("late"))
    requeued = lines.count("resumed after step")
    assert requeued >= 1, lines
    assert lines.count("SIGTERM ended the run after step") == requeued
    output = desk.folder / "jobs" / "late" / "slurm" / f"{late}.txt"
    assert "Traceback" not in output.read_text()
    assert_alike(desk.run("late"), whole)


def test_a_node_that_disappears_costs_the_steps_since_the_last_checkpoint(desk: Desk, cluster: Cluster) -> None:
    every = 10
    desk.case("lost", steps=120, seed=30_911, checkpoint_every=every)
    job = desk.submit("lost.toml", "--time", "10", "--requeue", pause=PAUSE)
    run = RunDirectory(desk.run("lost"))
    wait_for(lambda: (Checkpoints(run.checkpoints).newest_step or 0) >= 2 * every, "two checkpoints", 300)
    saved = Checkpoints(run.checkpoints).newest_step or 0
    cluster.lose_node()
    wait_for(lambda: not run.is_locked, "the end of the process")
    saved = Checkpoints(run.checkpoints).newest_step or saved
    cluster.wait_until(job, "PENDING", patience=300)
    cluster.start_node()
    cluster.call("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)
    assert cluster.wait_until(job, "COMPLETED", "FAILED", patience=300) == "COMPLETED"
    resumed = [int(step) for step in re.findall(r"resumed after step (\d+)", log(run.path))]
    assert resumed == [saved]
    desk.case("kept", steps=120, seed=30_911)
    desk.pinnx("solve", "kept.toml", "--quiet", "--no-figures")
    assert_alike(run.path, desk.run("kept"))
