"""torchrun itself, as users start it; mpirun and srun are in tests/slurm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import pinnx
from pinnx.case import load_case
from pinnx.run import Manner, RunDirectory, execute, read_metrics

CASE = """
seed = 90_271
device = "cpu"
threads = 1
[equation]
name = "allen-cahn"
dimension = 4
[network]
kind = "mlp"
width = 12
depth = 2
[solver]
kind = "pinn"
steps = 6
points = 21
precision = "float64"
[solver.optimizer]
kind = "spring"
[output]
every = 1
"""


def equals_one_process(launcher: list[str], word: str, folder: Path, **variables: str) -> None:
    """Solve the case on two processes that a launcher starts, and alone."""
    case = folder / "case.toml"
    case.write_text(CASE)
    paths = os.pathsep.join(filter(None, [str(Path(pinnx.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environ = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **variables}
    command = [*launcher, "-m", "pinnx", "solve", str(case), "--output", str(folder / "two"), "--quiet", "--no-figures"]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    result = RunDirectory(folder / "two").read_result()
    assert result is not None
    assert any(note.startswith(f"2 processes ({word})") for note in result.notes)
    execute(load_case(case), folder / "one", manner=Manner(quiet=True, figures=False))
    one, two = (read_metrics(folder / name / "metrics.h5")["loss"] for name in ("one", "two"))
    assert len(two) == 6
    np.testing.assert_allclose(two, one, rtol=1e-6)


def test_torchrun_on_two_processes_equals_one(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0"]
    equals_one_process([*run, "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"], "torchrun", tmp_path)
