"""Where a figure comes from: day, commit, machine and how busy it was, versions."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import torch


def origin() -> dict[str, str | float]:
    """What every file of results says of its circumstances."""
    head = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(head, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
    }
