"""Batch jobs on a real Slurm: arrays, limits of time, cancelling, a node that disappears, several processes.

One cluster serves all tests. The job that must wait for its limit is submitted first and looked at late.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pinnx.run import RunDirectory, load_solution, read_metrics
from pinnx.run.checkpoints import Checkpoints
from pinnx.run.metrics import CLOCK_COLUMNS
from tests.slurm.cluster import Cluster, wait_for
from tests.slurm.conftest import Desk

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

#: Steps that take longer than the job has until Slurm sends its signal, 15 to 75 seconds after the start.
LONG, PAUSE = 1000, 0.08
LATE = ("--time", "2", "--signal", "USR1@45", "--requeue")
FOUR = ("a", "b", "c", "d")
ENDED = ("COMPLETED", "FAILED")


def assert_alike(found: Path, expected: Path) -> None:
    """Two runs have the same metrics, bit for bit, but for the clock."""
    left, right = read_metrics(found / "metrics.h5"), read_metrics(expected / "metrics.h5")
    assert list(left) == list(right)
    for name in set(right) - CLOCK_COLUMNS:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def job_script(desk: Desk, name: str) -> str:
    return (desk.folder / "jobs" / name / "slurm" / "job-1.sh").read_text()


def log(run: Path) -> str:
    return (run / "log.txt").read_text()


@pytest.fixture(scope="module", autouse=True)
def jobs(desk: Desk, cluster: Cluster) -> Iterator[dict[str, str]]:
    """The numbers of the jobs that run while others are looked at."""
    # it needs more time than it has, and is submitted first
    desk.case("late", steps=LONG, seed=8821)
    for index, name in enumerate(FOUR):
        desk.case(name, steps=20 + index, seed=7_301 + index)
    desk.case("double", steps=30, seed=40_127)
    with ThreadPoolExecutor() as pool:
        late = pool.submit(desk.submit, "late.toml", *LATE, pause=PAUSE)
        four = pool.submit(desk.submit, *(f"{name}.toml" for name in FOUR), "--time", "5", "--output", "jobs/four")
        double = pool.submit(desk.submit, "double.toml", "--tasks-per-node", "2", *_site(desk))
    with impatient(cluster, late.result()):
        yield {"late": late.result(), "four": four.result(), "double": double.result()}


def _site(desk: Desk) -> list[str]:
    """A profile with everything that works on this cluster, and a template that was edited."""
    template = desk.pinnx("submit", "--show-template").replace("{{command}}", 'echo "from my template"\n{{command}}')
    (desk.folder / "mine.sh").write_text(template)
    (desk.folder / "site.toml").write_text(
        'partition = "main"\ntime = "5"\ncpus_per_task = 1\ndirectives = ["--comment=mine"]\nsetup = ["echo $NOTE"]\n'
        'container = "env INSIDE=container"\ntemplate = "mine.sh"\n[environment]\nNOTE = "from the site"\n'
    )
    return ["--site", "site.toml"]


@contextmanager
def impatient(cluster: Cluster, job: str) -> Iterator[None]:
    """Slurm lets a job that is queued again wait for two minutes: not here.

    It waits for some seconds, though: what arrives late of the start before, as the revocation of its credential or the
    end of its allocation, would be taken for the new one's.
    """
    done = threading.Event()

    def hurry() -> None:
        waited = 0
        while not done.wait(1.0) and (state := cluster.state(job)) not in ENDED:
            waited = waited + 1 if state == "PENDING" else 0
            if waited >= 10:
                cluster.call("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)

    thread = threading.Thread(target=hurry)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_an_array_of_four_cases(desk: Desk, cluster: Cluster, jobs: dict[str, str]) -> None:
    for index in range(len(FOUR)):
        task = f"{jobs['four']}_{index}"
        assert cluster.wait_until(task, *ENDED, patience=300) == "COMPLETED"
    results = {name: RunDirectory(desk.run(name)).read_result() for name in FOUR}
    for index, result in enumerate(results.values()):
        assert result is not None
        assert result.status.ok
        assert result.steps == 20 + index
    rows = [line.split(",") for line in desk.pinnx("compare", "jobs/four", "--to", "csv").splitlines()]
    assert rows[0][:3] == ["case", "members", "done"]
    assert sorted(row[0] for row in rows[1:]) == list(FOUR)
    assert {row[2] for row in rows[1:]} == {"1"}
    assert {row[0]: float(row[3]) for row in rows[1:]} == {name: results[name].loss for name in FOUR}  # type: ignore
    assert "4 members, 4 done" in desk.pinnx("status", "jobs/four")
    again = desk.pinnx("submit", *(f"{name}.toml" for name in FOUR), "--output", "jobs/four")
    assert again.startswith("nothing")


def test_the_queue_is_seen(desk: Desk, cluster: Cluster, jobs: dict[str, str]) -> None:
    wait_for(lambda: (desk.run("late") / "metrics.h5").is_file(), "metrics", 120)
    shown = desk.pinnx("status", "jobs/late", "--all")
    assert re.search(rf"\b{jobs['late']} \((running|completing|pending.*)\)", shown), shown
    assert f"/{LONG}" in shown


def test_two_processes_of_srun_are_one_run(desk: Desk, cluster: Cluster, jobs: dict[str, str]) -> None:
    assert cluster.wait_until(jobs["double"], *ENDED, patience=300) == "COMPLETED"
    result = RunDirectory(desk.run("double")).read_result()
    assert result is not None
    assert any(note.startswith("2 processes (srun)") for note in result.notes)
    assert "from my template" in (desk.folder / f"jobs/double/slurm/{jobs['double']}.txt").read_text()
    assert re.search(r"^srun .* env INSIDE=container .* --member 0 &$", job_script(desk, "double"), re.MULTILINE)
    shown = cluster.call("scontrol", "-o", "show", "job", jobs["double"])
    assert "Comment=mine" in shown
    assert "Partition=main" in shown
    single = read_metrics(desk.solve("single", steps=30, seed=40_127) / "metrics.h5")
    double = read_metrics(desk.run("double") / "metrics.h5")
    np.testing.assert_allclose(double["loss"], single["loss"], rtol=1e-10)


def test_cancelled_in_the_middle_of_checkpoints(desk: Desk, cluster: Cluster) -> None:
    """Nothing is corrupt, however often, and the run ends as if it had never been cancelled."""
    # one checkpoint a step, of a megabyte: much of the time goes into writing them
    desk.case("cancelled", steps=60, seed=66_403, checkpoint_every=1, width=200)
    run = RunDirectory(desk.run("cancelled"))
    cancelled = 0
    for attempt in range(3):
        # after the first time by hand, as the script says that one may
        job = desk.again("cancelled", 0.1) if attempt else desk.submit("cancelled.toml", "--time", "5", pause=0.1)
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
    assert cluster.wait_until(desk.again("cancelled", 0.0), *ENDED, patience=300) == "COMPLETED"
    assert_alike(run.path, desk.solve("uncancelled", steps=60, seed=66_403, width=200))


def test_out_of_time_goes_on_by_requeue(desk: Desk, cluster: Cluster, jobs: dict[str, str]) -> None:
    late, whole = jobs["late"], desk.solve("whole", steps=LONG, seed=8821)
    assert cluster.wait_until(late, *ENDED, patience=600) == "COMPLETED"
    lines = log(desk.run("late"))
    requeued = lines.count("resumed after step")
    assert requeued >= 1, lines
    assert lines.count("SIGTERM ended the run after step") == requeued
    output = desk.folder / "jobs" / "late" / "slurm" / f"{late}.txt"
    assert "Traceback" not in output.read_text()
    assert_alike(desk.run("late"), whole)


def test_a_node_that_disappears_costs_the_steps_since_the_last_checkpoint(desk: Desk, cluster: Cluster) -> None:
    every = 10
    desk.case("lost", steps=80, seed=30_911, checkpoint_every=every)
    job = desk.submit("lost.toml", "--time", "10", "--requeue", pause=PAUSE)
    run = RunDirectory(desk.run("lost"))
    wait_for(lambda: (Checkpoints(run.checkpoints).newest_step or 0) >= 2 * every, "two checkpoints", 300)
    saved = Checkpoints(run.checkpoints).newest_step or 0
    cluster.lose_node()
    wait_for(lambda: not run.is_locked, "the end of the process")
    saved = Checkpoints(run.checkpoints).newest_step or saved
    cluster.wait_until(job, "PENDING", patience=300)
    cluster.start_node()
    with impatient(cluster, job):
        assert cluster.wait_until(job, *ENDED, patience=300) == "COMPLETED"
    resumed = [int(step) for step in re.findall(r"resumed after step (\d+)", log(run.path))]
    assert resumed == [saved]
    assert_alike(run.path, desk.solve("kept", steps=80, seed=30_911))
