"""How runs and sweeps stand, as a table: from their files alone, and the queue where there is one. No torch."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pinnx.errors import InputError
from pinnx.hpc import slurm
from pinnx.hpc.states import Progress, State, progress_of, short, state_of
from pinnx.hpc.sweep import Member, counted, is_sweep, read_sweep
from pinnx.hpc.tables import cut
from pinnx.run.directory import RunDirectory
from pinnx.run.progress import duration, error_text

#: Where `pinnx solve`, `pinnx sweep` and `pinnx submit` write if nobody says otherwise.
USUAL = ("runs", "jobs")


@final
class Watch:
    """What is to be told of some directories.

    Args:
        paths: of runs and sweeps, or of folders that hold such; by default those in runs/ and jobs/.
        every: tell of all members of a sweep, not only of those that run or did not end well.

    Raises:
        InputError: there is nothing.
    """

    def __init__(self, paths: Sequence[Path] = (), *, every: bool = False):
        self.every = every
        self.paths = list(_found(paths or [Path(name) for name in USUAL if Path(name).is_dir()]))
        if not self.paths:
            where = ", ".join(map(str, paths)) or "runs/ and jobs/ of this folder"
            raise InputError(f"no run and no sweep in {where}")

    def text(self) -> str:
        """The table as it is now.

        Raises:
            InputError: a file is damaged.
        """
        runs = [path for path in self.paths if not is_sweep(path)]
        blocks = [self._sweep(path) for path in self.paths if is_sweep(path)]
        if runs:
            rows = [(short(path), progress_of(RunDirectory(path))) for path in runs]
            blocks.insert(0, _table("run", rows, slurm.queue(row.job for _, row in rows if row.job)))
        return "\n\n".join(blocks)

    def _sweep(self, path: Path) -> str:
        sweep = read_sweep(path)
        states = {member.name: state_of(member) for member in sweep.members}
        counts = Counter(state for state, _ in states.values())
        told = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
        lines = [f"{short(path)}: {counted(len(sweep.members))}, {told}"]
        jobs = [job["job"] for job in slurm.submitted(sweep.batch)]
        waiting = slurm.queue(jobs)
        if waiting:
            found = Counter(state for state in waiting.values())
            lines.append("queue: " + ", ".join(f"{count} {state}" for state, count in found.most_common()))
        quiet = (State.DONE, State.WAITING)
        shown = [member for member in sweep.members if self.every or states[member.name][0] not in quiet]
        if shown:
            names = {member.name: _task(member, sweep.members, jobs, waiting) for member in shown}
            rows = [(member.name, progress_of(member.run, member)) for member in shown]
            lines.append(_table("member", rows, waiting, names))
        return "\n".join(lines)


def _found(paths: Sequence[Path]) -> Iterator[Path]:
    """The runs and sweeps that paths stand for."""
    for path in paths:
        if is_sweep(path) or RunDirectory(path).holds_run:
            yield path
        elif path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.is_dir())
            yield from (each for each in inside if is_sweep(each) or RunDirectory(each).holds_run)
        else:
            found = (
                "expected the directory of a run or a sweep, found a file" if path.is_file() else "no such directory"
            )
            raise InputError(found, file=path)


def _task(member: Member, members: Sequence[Member], jobs: Sequence[str], waiting: dict[str, str]) -> str:
    """The newest task of an array that stands for a member, or the job if that is the only one."""
    number = members.index(member)
    names = [f"{job}_{number}" for job in reversed(jobs)] + (list(reversed(jobs)) if len(members) == 1 else [])
    return next((name for name in names if name in waiting), "")


def _table(
    heading: str, rows: Sequence[tuple[str, Progress]], waiting: dict[str, str], jobs: dict[str, str] | None = None
) -> str:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    headings = [heading, "state", "job", "step", "loss", "error", "time left", "updated", "reason"]
    for each in headings:
        table.add_column(each, no_wrap=True, justify="right" if each in headings[3:8] else "left")
    for name, row in rows:
        job = (jobs or {}).get(name) or row.job or ""
        queued = f"{job} ({waiting[job]})" if job in waiting else job
        step = "–" if row.step is None else f"{row.step}/{row.total or '?'}"
        left = duration(row.left) if row.state is State.RUNNING and row.left is not None else "–"
        updated = "–" if row.age is None else f"{duration(row.age)} ago"
        figures = [step, error_text(row.loss), error_text(row.error), left, updated]
        table.add_row(name, row.state.value, queued, *figures, cut(row.reason))
    memory = io.StringIO()
    Console(file=memory, width=400, force_terminal=False, color_system=None, emoji=False, markup=False).print(table)
    return "\n".join(line.rstrip() for line in memory.getvalue().splitlines() if line.strip())
