"""Talking to Slurm by its own commands. Where there are none, only submitting is impossible."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from pinnx.errors import InputError, PinnxError
from pinnx.run.files import make_folder, write_text

#: Seconds that a question to the batch system may take.
PATIENCE = 10.0
JOBS = "jobs.json"


class BatchError(PinnxError):
    """The batch system refused a job; the message holds its words."""

    exit_code = 4


def submit(text: str, folder: Path) -> str:
    """Write a script and submit it.

    Args:
        text: of the script.
        folder: for the script, its number and the output of the job.

    Returns:
        The number of the job.

    Raises:
        InputError: there is no sbatch.
        BatchError: it refused.
    """
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        raise InputError(
            "there is no sbatch on this machine; use --dry-run to see the script, or --local N to run the same here"
        )
    make_folder(folder)
    jobs = submitted(folder)
    script = folder / f"job-{len(jobs) + 1}.sh"
    write_text(script, text)
    script.chmod(0o755)
    done = subprocess.run([sbatch, "--parsable", str(script)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BatchError(f"sbatch refused {script}: {done.stderr.strip() or done.stdout.strip()}")
    number = done.stdout.strip().partition(";")[0]
    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"job": number, "script": script.name, "submitted": stamp}
    write_text(folder / JOBS, json.dumps([*jobs, entry], indent=2) + "\n")
    return number


def submitted(folder: Path) -> list[dict[str, str]]:
    """The jobs that were submitted from a folder, the oldest first; raises InputError if the list is damaged."""
    file = folder / JOBS
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", file=file) from None


def queue(jobs: Iterable[str]) -> dict[str, str]:
    """What squeue says of jobs that wait or run: state and reason by number, of an array's tasks "12_3" each.

    Empty where there is no squeue, or it does not answer.
    """
    squeue, numbers = shutil.which("squeue"), sorted({job.partition("_")[0] for job in jobs})
    if squeue is None or not numbers:
        return {}
    command = [squeue, "--noheader", "--array", "--format=%i|%T|%R", f"--jobs={','.join(numbers)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.SubprocessError):
        return {}
    found = {}
    for line in done.stdout.splitlines():
        job, _, rest = line.partition("|")
        state, _, reason = rest.partition("|")
        pending = state == "PENDING" and reason.strip("()") not in ("", "None")
        found[job] = f"{state.lower()} {reason}" if pending else state.lower()
    return found
