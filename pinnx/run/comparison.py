"""Several runs in one table. Only files are read: no torch."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pinnx.errors import InputError
from pinnx.run.directory import RunDirectory
from pinnx.run.files import read_json
from pinnx.run.metrics import SECONDS, STEP, read_metrics
from pinnx.run.progress import best_baseline, duration, error_text
from pinnx.run.result import Result

#: Options that say where a run is written and what it is called, not what it does.
_NAMES = ("title", "output.")


@final
@dataclass(frozen=True)
class Row:
    """What a run's files say of it."""

    directory: Path
    title: str
    equation: str
    dimension: int | None
    error: float | None
    baseline: float | None
    steps: int | None
    seconds: float | None
    device: str
    status: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def order(self) -> tuple[str, int, float]:
        """Runs of one equation and dimension stand together, the most accurate first."""
        return self.equation, self.dimension or 0, float("inf") if self.error is None else self.error


def compare(directories: Sequence[Path | str]) -> str:
    """A table of runs: errors beside the best trivial answer, costs, and the options in which the runs differ.

    Raises:
        InputError: one of them is no run directory, or a file in it is damaged.
    """
    rows = sorted((read_row(Path(directory)) for directory in directories), key=lambda row: row.order)
    if not rows:
        raise InputError("expected one run directory or more, found none")
    different = _different(rows)
    console = Console(file=io.StringIO(), width=400, force_terminal=False, color_system=None, emoji=False)
    console.print(_table(rows, different))
    text = "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]
    return text.strip("\n")


def read_row(directory: Path) -> Row:
    """The row of one run, finished or not; raises InputError if it cannot be read."""
    run = RunDirectory(directory)
    run.require_run()
    case = _case(run)
    problem = read_json(run.problem) if run.problem.is_file() else {}
    result = run.read_result() or _unfinished(run)
    equation = case.get("equation", {})
    return Row(
        directory=directory,
        title=str(case.get("title") or directory.resolve().name),
        equation=str(problem.get("equation") or equation.get("name", "?")).rpartition(":")[2],
        dimension=problem.get("dimension"),
        error=result.errors.get("relative_l2") if result and result.errors else None,
        baseline=best_baseline(result.baselines) if result else None,
        steps=result.steps if result else None,
        seconds=result.seconds if result else None,
        device=_device(run),
        status=result.status.outcome.value if result and result.total_steps else "unfinished",
        options={key: value for key, value in _leaves(case) if not key.startswith(_NAMES)},
    )


def _table(rows: list[Row], different: list[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("run", "title", "equation"):
        table.add_column(heading, no_wrap=True)
    for heading in ("d", "error", "baseline", "steps", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("device", "status", *different):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(
            str(row.directory),
            row.title,
            row.equation,
            "–" if row.dimension is None else str(row.dimension),
            error_text(row.error),
            error_text(row.baseline),
            "–" if row.steps is None else str(row.steps),
            "–" if row.seconds is None else duration(row.seconds),
            row.device,
            row.status,
            *(str(row.options.get(key, "–")) for key in different),
        )
    return table


def _different(rows: list[Row]) -> list[str]:
    """Options that all of the runs have and not all have alike, beyond those that the table shows anyway."""
    shown = {"equation.name", "equation.dimension", "solver.steps"}
    keys = dict.fromkeys(key for row in rows for key in row.options)
    return [key for key in keys if key not in shown and len({repr(row.options.get(key)) for row in rows}) > 1][:6]


def _case(run: RunDirectory) -> dict[str, Any]:
    try:
        return tomllib.loads(run.case.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not TOML: {error}", file=run.case) from None


def _unfinished(run: RunDirectory) -> Result | None:
    """What the metrics tell of a run that goes on or was killed."""
    from pinnx.status import Outcome, Status

    if not run.metrics.is_file():
        return None
    metrics = read_metrics(run.metrics)
    if not len(metrics[STEP]):
        return None
    errors = metrics.get("relative_l2")
    measured = [] if errors is None else errors[errors == errors]
    return Result(
        Status(Outcome.STOPPED, "unfinished"),
        errors={"relative_l2": float(measured[-1])} if len(measured) else None,
        steps=int(metrics[STEP][-1]),
        seconds=float(metrics[SECONDS][-1]),
    )


def _device(run: RunDirectory) -> str:
    if not run.environment.is_file():
        return "?"
    sessions = read_json(run.environment).get("sessions") or [{}]
    return f"{sessions[-1].get('device', '?')} ({sessions[-1].get('device_name', '?')})"


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
