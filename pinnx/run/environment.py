"""Where and how a run was made: versions, machine, commit, command."""

from __future__ import annotations

import os
import platform
import shlex
import socket
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import pinnx

_PACKAGES = ("torch", "numpy", "scipy", "h5py", "meshio", "matplotlib", "pytorch_optimizer")


def environment(seed: int, device: torch.device) -> dict[str, Any]:
    """Everything about the surroundings that a reader of the results could ask for."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "folder": str(Path.cwd()),
        "pinnx": pinnx.__version__,
        "git": git_state(Path(pinnx.__file__).parent),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "host": socket.gethostname(),
        "system": platform.platform(),
        "cpu": cpu_name(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "device_name": device_name(device),
        "cuda": torch.version.cuda,
        "seed": seed,
        "slurm": {name: value for name, value in sorted(os.environ.items()) if name in _SLURM},
    }


_SLURM = {
    "SLURM_JOB_ID",
    "SLURM_JOB_NAME",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_PARTITION",
    "SLURM_RESTART_COUNT",
}


def process_name() -> str:
    """This process among all of a cluster: its number, host and batch job."""
    job = os.environ.get("SLURM_JOB_ID")
    return f"process {os.getpid()} on {socket.gethostname()}" + (f", job {job}" if job else "")


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout that pinnx runs from, and whether files differ from it; None outside of a checkout."""
    commit = _git(folder, "rev-parse", "HEAD")
    # A site-packages folder may lie inside somebody else's repository: then the commit is not that of pinnx.
    if commit is None or not _git(folder, "ls-files", "--", "__init__.py"):
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def device_name(device: torch.device) -> str:
    """What the device is called by its maker."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def cpu_name() -> str:
    """The CPU's model, or the best the platform tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def peak_memory(device: torch.device) -> int | None:
    """Largest memory so far in bytes: allocated on a GPU, else resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
