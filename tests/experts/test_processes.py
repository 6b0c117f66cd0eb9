"""Solves that several processes share give what one gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    script = Path(__file__).with_name("two_processes.py")
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "store"), str(rank), "2"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [rank.communicate(timeout=300) for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), outputs
    found = json.loads(outputs[0][0].splitlines()[-1])
    assert len(found) == 8
    assert max(each["omega"] for each in found.values()) < 1e-9, found
    assert max(each["gradient"] for each in found.values()) < 1e-8, found
