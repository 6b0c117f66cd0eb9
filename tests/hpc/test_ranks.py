"""Several processes: what launchers say, and training together equals training alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import pinnx
from pinnx.case import parse_case
from pinnx.errors import InputError, UnsupportedError
from pinnx.hpc.rank_split import RankSplit
from pinnx.hpc.ranks import Ranks, current_ranks, first_host
from pinnx.hpc.states import State, progress_of
from pinnx.run import RunDirectory, read_metrics
from tests.hpc.rank_cases import CONSTRAINED, MISTAKES, PRODUCTS, SAMPLES, SCENARIOS

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": "1"}, None),
        (
            {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "n1", "MASTER_PORT": "29500"},
            Ranks(3, 4, 1, "torchrun", "n1", 29500),
        ),
        # a batch script has the number of tasks, too, and is one process
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"}, None),
    ],
)
def test_what_the_launcher_says(environ: dict[str, str], expected: Ranks | None) -> None:
    assert current_ranks(environ) == expected


def test_srun_on_two_nodes() -> None:
    job = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_JOB_ID": "71", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_NODES": "2"}
    hosts = {"SLURM_STEP_NODELIST": "gpu[007-008]"}
    all_ranks = [
        current_ranks({**job, **hosts, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank % 4)}) for rank in range(8)
    ]
    assert all(each is not None for each in all_ranks)
    assert {(each.address, each.count, each.launcher) for each in all_ranks if each} == {("gpu007", 8, "srun")}
    assert len({each.port for each in all_ranks if each}) == 1
    assert [each.local for each in all_ranks if each] == [0, 1, 2, 3, 0, 1, 2, 3]
    again = current_ranks({**job, **hosts, "SLURM_PROCID": "0", "SLURM_RESTART_COUNT": "1"})
    assert again is not None
    assert again.port != all_ranks[0].port  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "environ",
    [
        {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"},
        {"PMI_RANK": "1", "PMI_SIZE": "2"},
    ],
)
def test_mpirun_on_one_machine(environ: dict[str, str]) -> None:
    found = current_ranks(environ)
    assert found is not None
    assert (found.rank, found.count, found.launcher, found.address) == (1, 2, "mpirun", "127.0.0.1")


def test_mpirun_on_two_machines_needs_an_address() -> None:
    environ = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}
    with pytest.raises(InputError, match="set MASTER_ADDR"):
        current_ranks(environ)
    found = current_ranks({**environ, "MASTER_ADDR": "host1"})
    assert found is not None
    assert found.address == "host1"


def test_a_broken_environment_is_told() -> None:
    with pytest.raises(InputError, match="not all numbers"):
        current_ranks({"RANK": "one", "WORLD_SIZE": "2"})


@pytest.mark.parametrize(
    ("hosts", "first"),
    [("node1", "node1"), ("node1,node2", "node1"), ("n[01-04]", "n01"), ("r1n[3,5]-ib", "r1n3-ib"), ("", "")],
)
def test_the_first_host_of_a_list(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


# --- together -------------------------------------------------------------------------------------------------------


def launch(*command: str, count: int = 2, cwd: Path, **variables: str) -> list[subprocess.Popen[str]]:
    """Start ranks without a launcher."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    package, tests = str(Path(pinnx.__file__).parents[1]), str(HERE.parents[1])
    paths = os.pathsep.join(filter(None, [package, tests, os.environ.get("PYTHONPATH")]))
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "PYTHONPATH": paths}
    return [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=cwd,
            env={**os.environ, **common, **variables, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each."""
    outputs = [process.communicate(timeout=900) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


@pytest.fixture(scope="module")
def differences() -> dict[str, Any]:
    """How far two processes are from one, for each scenario of `two_ranks.py`."""
    results = ended(launch(str(HERE / "two_ranks.py"), cwd=HERE))
    assert [code for code, _, _ in results] == [0, 0], results[0][2] + results[1][2]
    return json.loads(results[0][1])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_processes_equal_one(differences: dict[str, Any], scenario: str) -> None:
    """In float64, losses of all steps and the parameters after them, on shares of unequal size."""
    found = differences[scenario]
    assert found["moved"] > 0.01, "nothing was learned: the comparison would show nothing"
    # a natural gradient solves a system whose condition number is up to 1e10, which multiplies rounding errors
    bound = 1e-6 if "spring" in scenario or "engd" in scenario else 1e-10
    assert found["loss"] < bound
    assert found["parameters"] < bound
    assert found["evaluations"] == 0


@pytest.mark.parametrize("scenario", CONSTRAINED)
def test_two_processes_with_hard_constraints_equal_one(differences: dict[str, Any], scenario: str) -> None:
    """Instances, or the points of the loss, are shared, also where some instances have no solution."""
    found = differences[scenario]
    assert found["moved"] > 0.01
    # the coefficients of nearly dependent basis functions multiply rounding errors
    assert found["loss"] < 1e-6
    assert found["parameters"] < 1e-6
    assert found["evaluations"] == 10 * CONSTRAINED[scenario][2]


@pytest.mark.parametrize("name", [" ".join(map(str, each)) for each in PRODUCTS])
def test_two_shares_of_a_jacobian_are_the_whole(differences: dict[str, Any], name: str) -> None:
    assert set(differences[name]) == {"gram", "normal", "rows", "apply", "adjoint", "residuals"}
    assert max(differences[name].values()) < 1e-13


@pytest.mark.parametrize("scenario", SAMPLES)
def test_two_processes_split_samples(differences: dict[str, Any], scenario: str) -> None:
    """Where there is one point: the loss and its gradient are those of the estimates from all samples together."""
    found = differences[f"samples {scenario}"]
    assert found["moved"] > 0.01
    assert found["loss"] < 1e-10
    assert found["parameters"] < 1e-10


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_seen(differences: dict[str, Any], mistake: str) -> None:
    assert differences[mistake]["loss"] > 1e-3


def test_all_processes_hold_the_same_parameters(differences: dict[str, Any]) -> None:
    assert differences["alike"] is True


BAD = """\
import os, signal, time
from dataclasses import dataclass
from pinnx.domain import Box
from pinnx.expr import Coefficient, laplacian
from pinnx.problem import Equation, Problem

COUNT = [0]

@dataclass(frozen=True)
class Bad(Equation):
    def residual(self, u):
        return laplacian(u) - Coefficient("g", self.source)

    def source(self, points):
        COUNT[0] += 1
        how, rank = os.environ.get("HOW", " ").split(":")
        if COUNT[0] == 20 and rank == os.environ["RANK"]:
            if how == "raise":
                raise ValueError("a number out of range")
            if how == "die":
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
        return points.x.sum(1)

    def problem(self):
        return Problem(self, Box(0.0, 1.0, dimension=3))
"""

BAD_CASE = """\
[equation]
name = "./bad.py:Bad"
[network]
kind = "mlp"
width = 8
depth = 2
[solver]
kind = "pinn"
steps = 400
points = {points}
precision = "float64"
[output]
directory = "run"
"""


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    (tmp_path / "bad.py").write_text(BAD)
    (tmp_path / "bad.toml").write_text(BAD_CASE.format(points=20))
    return tmp_path


SOLVE = ("-m", "pinnx", "solve", "bad.toml", "--quiet", "--no-figures")


@pytest.mark.parametrize(
    ("rank", "optimizer"), [pytest.param(0, "adam", marks=pytest.mark.slow), (1, "adam"), (1, "spring")]
)
def test_one_failing_rank_ends_the_job_with_its_message(bad: Path, rank: int, optimizer: str) -> None:
    """Also where the others wait in an exchange of another kind than a sum of gradients."""
    results = ended(launch(*SOLVE, "--set", f"solver.optimizer.kind={optimizer}", cwd=bad, HOW=f"raise:{rank}"))
    assert all(code != 0 for code, _, _ in results)
    assert "a number out of range" in results[0][2]
    assert ("rank 1 of 2" in results[0][2]) == (rank == 1)
    found = progress_of(RunDirectory(bad / "run"))
    assert found.state is State.FAILED
    assert "a number out of range" in found.reason


@pytest.mark.slow
def test_a_rank_that_dies_without_a_word_ends_the_job(bad: Path) -> None:
    results = ended(launch(*SOLVE, cwd=bad, HOW="die:1"))
    assert [code for code, _, _ in results] == [4, -signal.SIGKILL]
    assert "another process of the job is gone" in results[0][2]
    assert "Traceback" not in results[0][2]


def test_natural_gradients_need_two_points_each() -> None:
    case = parse_case(
        '[equation]\nname = "allen-cahn"\ndimension = 3\n[solver]\nkind = "pinn"\nprecision = "float64"\npoints = 3\n'
        '[[solver.stage]]\nsteps = 5\n[[solver.stage]]\nsteps = 5\noptimizer.kind = "spring"\n'
    )
    training = case.solver.start(case.equation.problem(), case.network, seed=8, device=torch.device("cpu"))
    with pytest.raises(InputError, match="2 processes cannot share 3 points, two for each with natural gradients"):
        RankSplit(Ranks(0, 2, 0, "torchrun", "127.0.0.1", 1)).adopt(training)


def test_a_solver_that_cannot_be_split_is_refused() -> None:
    case = parse_case(
        '[equation]\nname = "poisson"\ndimension = 2\n[solver]\nkind = "linear-system"\n'
        '[solver.direction]\nkind = "identity"\n[solver.system]\nkind = "equation"\n'
    )
    training = case.start(torch.device("cpu"))
    with pytest.raises(UnsupportedError, match="cannot be split over processes"):
        RankSplit(Ranks(0, 2, 0, "torchrun", "127.0.0.1", 1)).adopt(training)


@pytest.mark.slow
def test_too_few_points_are_refused_by_one_voice(bad: Path) -> None:
    (bad / "bad.toml").write_text(BAD_CASE.format(points=1))
    results = ended(launch(*SOLVE, cwd=bad, HOW="never:0"))
    assert all(code != 0 for code, _, _ in results)
    assert results[0][2].count("2 processes cannot share 1 points") == 1
    assert results[1][2] == ""
    assert not (bad / "run").exists()


@pytest.mark.slow
def test_stopped_together_and_resumed_alone_equals_never_stopped(bad: Path) -> None:
    processes = launch(*SOLVE, cwd=bad, HOW="never:0")
    log, deadline = bad / "run" / "log.txt", time.monotonic() + 200
    while not (bad / "run" / "metrics.h5").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    results = ended(processes)
    assert [code for code, _, _ in results] == [3, 3], results
    assert "SIGTERM ended the run after step" in results[0][2]
    step = RunDirectory(bad / "run").read_result().steps  # type: ignore[union-attr]
    assert 0 < step < 400
    environ = {**os.environ, "HOW": "never:0", "RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": "1"}
    environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(Path(pinnx.__file__).parents[1]), os.environ.get("PYTHONPATH")])
    )
    again = [sys.executable, "-m", "pinnx", "resume", "run", "--quiet", "--no-figures"]
    subprocess.run(again, cwd=bad, env=environ, check=True)
    assert f"resumed after step {step}" in log.read_text()
    whole = [sys.executable, *SOLVE, "--output", "whole"]
    subprocess.run(whole, cwd=bad, env=environ, check=True)
    found, expected = read_metrics(bad / "run" / "metrics.h5"), read_metrics(bad / "whole" / "metrics.h5")
    assert abs(found["loss"] / expected["loss"] - 1).max() < 1e-8
