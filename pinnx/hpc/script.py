"""The script of a batch job, for people to read and to change: text from a template, nothing hidden in it."""

from __future__ import annotations

import importlib.resources
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from pinnx.errors import InputError, did_you_mean
from pinnx.hpc.site import Site

#: No limit, in Slurm's words.
_ENDLESS = ("0", "INFINITE", "UNLIMITED")
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_SIGNAL = re.compile(r"(?:B:)?(?:SIG)?([A-Z0-9]+)@(\d+)")
_PLACE = re.compile(r"\{\{(\w+)\}\}")

_REQUEUE = """
if [ "$out_of_time" = yes ] && [ "$code" -ne 0 ]; then
  if command -v scontrol >/dev/null; then
    scontrol requeue "$SLURM_JOB_ID"
  else
    echo "the time is up, and there is no scontrol here to requeue the job: submit it again, and it goes on" >&2
  fi
fi"""


@final
@dataclass(frozen=True)
class Job:
    """What is asked of the batch system.

    Attributes:
        name: of the job.
        directory: of the sweep.
        numbers: of the members to run.
        array: whether each is a task of a job array; else there is one.
        time: limit, in Slurm's notation; empty for the site's, or none.
        nodes: machines for each member.
        gpus_per_node: 0 for the site's.
        tasks_per_node: processes that share a member's points; 0 for one a GPU.
        cpus_per_task: 0 for the site's.
        at_once: members that may run at the same time; 0 for no limit.
        requeue: whether a job that ran out of time, was preempted or lost its node is queued again.
        signal: "USR1@120"; empty for the site's.
        retry: run members again that diverged or failed.
        figures: draw figures and write a report for each member.
        partition: empty for the site's.
        account: empty for the site's.
    """

    name: str
    directory: Path
    numbers: tuple[int, ...]
    array: bool = True
    time: str = ""
    nodes: int = 1
    gpus_per_node: int = 0
    tasks_per_node: int = 0
    cpus_per_task: int = 0
    at_once: int = 0
    requeue: bool = False
    signal: str = ""
    retry: bool = False
    figures: bool = False
    partition: str = ""
    account: str = ""


def script(job: Job, site: Site, template: Path | None = None) -> str:
    """The text of the script.

    Args:
        job: what is asked for.
        site: where.
        template: with places such as `{{command}}`; by default the site's, or pinnx's own.

    Raises:
        InputError: the template cannot be read, or has a place that is unknown; a time or a signal is none.
    """
    signal, _ = _signal(job, site)
    parts = {
        "directives": "\n".join(f"#SBATCH {each}" for each in _directives(job, site)),
        "setup": "\n".join(_setup(site)),
        "signal": signal,
        "command": _command(job, site),
        "requeue": _REQUEUE if job.requeue else "",
        "name": job.name,
        "directory": str(job.directory.absolute()),
    }

    def fill(place: re.Match[str]) -> str:
        if place[1] not in parts:
            raise InputError(f"no such place: {{{{{place[1]}}}}}; {did_you_mean(place[1], parts)}", file=template)
        return parts[place[1]]

    return re.sub(r"\n{3,}", "\n\n", _PLACE.sub(fill, template_text(template or _file(site.template))))


def template_text(file: Path | None = None) -> str:
    """The text of a template; by default of pinnx's own.

    Raises:
        InputError: it cannot be read.
    """
    if file is None:
        return (importlib.resources.files("pinnx.hpc") / "job.sh").read_text(encoding="utf-8")
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the template cannot be read: {error}", file=file) from None


def ranges(numbers: Sequence[int]) -> str:
    """Numbers as Slurm writes those of an array.

    Example:
        >>> ranges([0, 1, 2, 5, 7, 8])
        '0-2,5,7-8'
    """
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def seconds_of(time: str) -> int | None:
    """A time limit in Slurm's notation: minutes, minutes:seconds, hours:minutes:seconds, days-hours:minutes:seconds.

    Returns:
        None for "0", "INFINITE" and "UNLIMITED", Slurm's words for no limit.

    Raises:
        InputError: it is none.
    """
    if time.upper() in _ENDLESS:
        return None
    match = _TIME.fullmatch(time)
    if match is None:
        raise InputError(f"expected a time such as 30, 2:00:00 or 1-12:00:00, found {time!r}", key="--time")
    days, *rest = (int(part) if part else None for part in match.groups())
    parts = [part for part in rest if part is not None]
    units = [3600, 60, 1] if days is not None or len(parts) == 3 else [60, 1]
    return (days or 0) * 86_400 + sum(part * unit for part, unit in zip(parts, units, strict=False))


def _signal(job: Job, site: Site) -> tuple[str, int]:
    text = job.signal or site.signal
    match = _SIGNAL.fullmatch(text.upper())
    if match is None:
        raise InputError(f"expected a signal and seconds, such as USR1@120; found {text!r}", key="--signal")
    limit = job.time or site.time
    seconds = seconds_of(limit) if limit else None
    if seconds is not None and seconds <= int(match[2]):
        raise InputError(
            f"comes {match[2]} s before the end of a job of {seconds} s: it would never get to work; give it more "
            "time, or the signal later",
            key="--signal",
        )
    return match[1], int(match[2])


def _directives(job: Job, site: Site) -> Iterator[str]:
    folder = job.directory.absolute() / "slurm"
    gpus, processes = job.gpus_per_node or site.gpus_per_node, _processes(job, site)
    name, before = _signal(job, site)
    yield f"--job-name={job.name}"
    limit = f"%{job.at_once}" if job.at_once else ""
    if job.array:
        yield f"--array={ranges(job.numbers)}{limit}"
    yield f"--output={folder}/{'%A_%a' if job.array else '%j'}.txt"
    yield "--open-mode=append"
    for flag, value in (
        ("partition", job.partition or site.partition),
        ("account", job.account or site.account),
        ("qos", site.qos),
        ("time", job.time or site.time),
        ("nodes", job.nodes),
        ("ntasks-per-node", processes if processes * job.nodes > 1 else 0),
        ("gpus-per-node", gpus),
        ("cpus-per-task", job.cpus_per_task or site.cpus_per_task),
        ("mem", site.memory),
    ):
        if value:
            yield f"--{flag}={value}"
    yield f"--signal=B:{name}@{before}"
    yield "--requeue" if job.requeue else "--no-requeue"
    yield from site.directives


def _processes(job: Job, site: Site) -> int:
    """Processes on a node."""
    return job.tasks_per_node or max(1, job.gpus_per_node or site.gpus_per_node)


def _setup(site: Site) -> Iterator[str]:
    for module in site.modules:
        yield f"module load {shlex.quote(module)}"
    yield from site.setup
    yield 'export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"'
    for name, value in site.environment.items():
        yield f"export {name}={shlex.quote(value)}"


def _command(job: Job, site: Site) -> str:
    member = '"$SLURM_ARRAY_TASK_ID"' if job.array else str(job.numbers[0])
    words = [
        site.launcher if _processes(job, site) * job.nodes > 1 else "",
        site.container,
        site.command or shlex.join([sys.executable, "-m", "pinnx"]),
        f"sweep {shlex.quote(str(job.directory.absolute()))} --member {member}",
        "--retry" if job.retry else "",
        "--figures" if job.figures else "",
    ]
    return " ".join(filter(None, words))


def _file(name: str) -> Path | None:
    return Path(name) if name else None
