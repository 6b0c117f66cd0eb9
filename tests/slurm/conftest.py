"""A cluster for the tests of this folder, cases that take their time, and what `pinnx` says there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pinnx
from pinnx.case import load_case
from pinnx.run import Manner, execute
from tests.slurm.cluster import Cluster, cluster_in, missing

ASKED = "PINNX_TEST_SLURM"

EQUATION = """\
from __future__ import annotations
import os, time
from dataclasses import dataclass
from pinnx.domain import Box
from pinnx.expr import Coefficient, laplacian
from pinnx.problem import Equation, Problem

@dataclass(frozen=True)
class Slow(Equation):
    def residual(self, u):
        return laplacian(u) - Coefficient("g", self.source)

    def source(self, points):
        time.sleep(float(os.environ.get("PAUSE", "0")))
        return points.x.prod(1)

    def problem(self):
        return Problem(self, Box(0.0, 1.0, dimension=2))
"""

CASE = """\
seed = {seed}
threads = 1
[equation]
name = "./slow.py:Slow"
[network]
kind = "mlp"
width = {width}
depth = 2
[solver]
kind = "pinn"
steps = {steps}
points = 16
precision = "float64"
[output]
directory = "runs/{name}"
every = 5
checkpoint_every = {checkpoint_every}
"""


class Desk:
    """A folder on the cluster to work in.

    Args:
        folder: with the equation's file.
        cluster: that takes the jobs.
    """

    def __init__(self, folder: Path, cluster: Cluster):
        self.folder, self.cluster = folder, cluster
        package = str(Path(pinnx.__file__).parents[1])
        cluster.environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))

    def case(self, name: str, *, steps: int, seed: int, checkpoint_every: int = 1000, width: int = 8) -> Path:
        """Write a case file."""
        path = self.folder / f"{name}.toml"
        path.write_text(CASE.format(name=name, steps=steps, seed=seed, checkpoint_every=checkpoint_every, width=width))
        return path

    def pinnx(self, *words: object, pause: float = 0.0, code: int = 0) -> str:
        """The output of a command; jobs that it submits pause so long in each step."""
        surroundings = {**self.cluster.environment, "PAUSE": str(pause)}
        command = [sys.executable, "-m", "pinnx", *map(str, words)]
        done = subprocess.run(command, cwd=self.folder, env=surroundings, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{done.stdout}{done.stderr}\n{self.cluster.logs()}"
        return done.stdout

    def submit(self, *words: object, pause: float = 0.0) -> str:
        """Submit and give the number of the job."""
        output = self.pinnx("submit", *words, pause=pause)
        assert output.startswith("job ")
        return output.split()[1].rstrip(":")

    def again(self, name: str, pause: float) -> str:
        """Submit the newest script of a job by hand, and give the number of the new job."""
        (script, *_) = sorted((self.folder / "jobs" / name / "slurm").glob("job-*.sh"), reverse=True)
        return self.cluster.call("sbatch", "--parsable", f"--export=ALL,PAUSE={pause}", str(script)).strip()

    def solve(self, name: str, **options: int) -> Path:
        """The run directory of a case that is solved here and now, never interrupted and without pauses."""
        case = load_case(self.case(name, **options))  # type: ignore[arg-type]
        execute(case, self.run(name), manner=Manner(quiet=True, figures=False))
        return self.run(name)

    def run(self, name: str) -> Path:
        """The run directory of a case."""
        return self.folder / "runs" / name


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if not os.environ.get(ASKED):
        pytest.skip(f"a Slurm is started when asked for: make test-slurm, or {ASKED}=1")
    if (reason := missing()) is not None:
        pytest.skip(reason)
    old = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with cluster_in(tmp_path_factory.mktemp("cluster")) as each:
            yield each
    finally:
        signal.signal(signal.SIGTERM, old)


def _interrupt(number: int, frame: object) -> None:
    """Who ends the tests, such as a limit of time, shall leave no daemon and no job behind."""
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def desk(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    (folder / "slow.py").write_text(EQUATION)
    return Desk(folder, cluster)
