"""Open MPI's mpirun, which only says in the environment who is who."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.hpc.test_launchers import equals_one_process
from tests.slurm.conftest import ASKED

pytestmark = [pytest.mark.slow, pytest.mark.slurm]


def test_mpirun_on_two_processes_equals_one(tmp_path: Path) -> None:
    if not os.environ.get(ASKED):
        pytest.skip("run when asked for: make test-slurm")
    if shutil.which("mpirun") is None:
        pytest.skip("there is no mpirun (Debian: openmpi-bin)")
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    equals_one_process(["mpirun", "--oversubscribe", "-n", "2", sys.executable], "mpirun", tmp_path, **root)
