"""Runs that are killed at random moments are never corrupt, and end as if they had never been killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pinnx.run import RunDirectory, load_solution, read_metrics
from pinnx.run.checkpoints import Checkpoints
from pinnx.run.metrics import CLOCK_COLUMNS

KILLS = 20
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


class Nursery:
    """A process that forks a process for each run."""

    def __init__(self, case: Path):
        command = [sys.executable, str(Path(__file__).parent / "nursery.py")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._write(str(case))
        assert self._read() == "ready"

    def run(self, *words: object, kill_after: float = 600.0) -> int:
        """Exit status of a run; minus the signal if it was killed."""
        self._write(" ".join(map(str, (kill_after, *words))))
        return int(self._read())

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture
def nursery(case_folder: Path) -> Iterator[Nursery]:
    each = Nursery(case_folder / "case.toml")
    yield each
    with each.process:
        each.process.stdin.close()  # type: ignore[union-attr]


def assert_whole(directory: Path) -> int:
    """Every file that is there can be read; returns the step of the newest checkpoint."""
    run = RunDirectory(directory)
    if not run.holds_run:
        return 0
    run.read_case()
    checkpoint = Checkpoints(run.checkpoints).newest()
    for file in run.path.glob("*.json"):
        json.loads(file.read_text())
    step = checkpoint.step if checkpoint else 0
    if step:
        assert read_metrics(run.metrics)["step"].max() >= step - 4
        assert np.isfinite(load_solution(directory)(np.full((3, 3), 0.5))).all()
    for file in Checkpoints(run.checkpoints).files():
        assert file.name == f"step-{int(file.name[5:13]):08d}.pt"
    return step


def test_killed_twenty_times_is_never_killed(nursery: Nursery, case_folder: Path, tmp_path: Path) -> None:
    case = case_folder / "kill.toml"
    case.write_text((case_folder / "case.toml").read_text().replace("steps = 60", "steps = 200"))
    started = time.monotonic()
    assert nursery.run("execute", case, tmp_path / "whole") == 0
    length = time.monotonic() - started
    chance = random.Random(51_907)
    killed, kills, restarts = tmp_path / "killed", 0, 0
    for attempt in range(5 * KILLS):
        if kills == KILLS:
            break
        status = nursery.run("execute", case, killed, kill_after=chance.uniform(0.0, 0.4 * length))
        assert status in (0, -signal.SIGKILL), f"attempt {attempt}"
        kills += status != 0
        assert_whole(killed)
        if status == 0:  # it was quicker than we: another run for the rest
            killed.rename(tmp_path / f"done{restarts}")
            restarts += 1
    assert kills == KILLS
    assert nursery.run("execute", case, killed) == 0
    runs = [killed, *(tmp_path / f"done{index}" for index in range(restarts))]
    expected = read_metrics(tmp_path / "whole" / "metrics.h5")
    for run in runs:
        found = read_metrics(run / "metrics.h5")
        assert list(found) == list(expected)
        for name in set(expected) - CLOCK_COLUMNS:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=f"{run.name} {name}")
    results = [json.loads((run / "result.json").read_text()) for run in (tmp_path / "whole", *runs)]
    assert len({result["relative_l2"] for result in results}) == 1


@pytest.mark.slow
def test_killed_from_the_command_line_is_never_killed(case_folder: Path, tmp_path: Path) -> None:
    """The same through `pinnx solve` and `pinnx resume`, figures and all."""
    case = case_folder / "kill.toml"
    case.write_text((case_folder / "case.toml").read_text().replace("steps = 60", "steps = 1000"))

    def command(*words: object) -> list[str]:
        return [sys.executable, "-m", "pinnx", *map(str, words), "--quiet"]

    started = time.monotonic()
    subprocess.run(command("solve", case, "--output", tmp_path / "whole"), check=True)
    length, chance, killed = time.monotonic() - started, random.Random(88_301), tmp_path / "killed"
    kills, done = 0, []
    while kills < KILLS:
        words = ("resume", killed) if RunDirectory(killed).holds_run else ("solve", case, "--output", killed)
        with subprocess.Popen(command(*words)) as process:
            try:
                process.wait(chance.uniform(0.2, 0.9) * length)
            except subprocess.TimeoutExpired:
                process.kill()
        kills += process.returncode == -signal.SIGKILL
        assert process.returncode in (0, -signal.SIGKILL)
        assert_whole(killed)
        if process.returncode == 0:
            done.append(killed.rename(tmp_path / f"done{len(done)}"))
    subprocess.run(command("solve", case, "--output", killed, "--resume"), check=True)
    expected = read_metrics(tmp_path / "whole" / "metrics.h5")
    for run in (killed, *done):
        found = read_metrics(run / "metrics.h5")
        for name in set(expected) - CLOCK_COLUMNS:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=f"{run.name} {name}")
