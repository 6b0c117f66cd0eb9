"""The tables of `comparison.json`: methods for linear systems beside each other, as lines and for the page."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


@final
@dataclass(frozen=True)
class TextTable:
    """A table of words.

    Attributes:
        title: on what was measured.
        columns: their headings.
        rows: for each its kind ("solution" for a learned direction, else "") and its cells.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def comparison_tables(content: Mapping[str, Any]) -> list[TextTable]:
    """One table per grid: iterations, set-up, solve and total time."""
    return [_table(each) for each in content["tables"]]


def comparison_remarks(content: Mapping[str, Any]) -> list[str]:
    """What training cost, when it is repaid, and what failed."""
    remarks = []
    training = content.get("training")
    if training:
        remarks.append(
            f"Training: {training['network']}, {training['parameters']:,} parameters, {training['steps']:,} steps, "
            f"{seconds_text(training['seconds'])}, of which {seconds_text(training['data_seconds'])} for data."
        )
    for grid, group in _by_grid(content.get("break_even", [])).items():
        repaid = [f"{each['solves']:,} beside {each['method']}" for each in group if each["solves"] is not None]
        never = [each["method"] for each in group if each["solves"] is None]
        parts = [*repaid, *([f"never beside {', '.join(never)}"] if never else [])]
        remarks.append(f"Solves after which the training is repaid{grid}: {'; '.join(parts)}.")
    for each in content["tables"]:
        remarks += [f"{row['method']}{_on(each['grid'])}: {row['note']}" for row in each["rows"] if row["note"]]
    if content["tables"]:
        remarks.append(
            "Iterations: median, and after the slash the most, over all right-hand sides. Times: per right-hand side, "
            "set-up per system; of the processor with one thread, else wall time; the least of three where short."
        )
    return remarks


def comparison_lines(content: Mapping[str, Any]) -> list[str]:
    """Tables and remarks as plain text."""
    lines = []
    for each in comparison_tables(content):
        table = Table(box=SIMPLE_HEAD, pad_edge=False, title=each.title, title_justify="left")
        for index, heading in enumerate(each.columns):
            table.add_column(heading, justify="left" if index == 0 else "right", no_wrap=True)
        for kind, cells in each.rows:
            table.add_row(*cells, style="bold" if kind else "")
        console = Console(file=io.StringIO(), width=200, force_terminal=False, color_system=None, emoji=False)
        console.print(table)
        lines += [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    return [line for line in lines if line] + comparison_remarks(content)[: -1 if content["tables"] else None]


def seconds_text(value: float) -> str:
    """A time with three digits."""
    return f"{1e3 * value:.3g} ms" if value < 1.0 else f"{value:.3g} s" if value < 1e3 else f"{value:.0f} s"


def _table(each: Mapping[str, Any]) -> TextTable:
    measured = [row for row in each["rows"] if "iterations" in row]
    tolerances = [cell["tolerance"] for cell in measured[0]["iterations"]] if measured else []
    columns = ("method", *(f"to {value:.0e}" for value in tolerances), "set-up", "solve", "together", "failures")
    different = f"{each['systems']} systems" if each["systems"] > 1 else "one system"
    what = " × ".join(map(str, each["grid"])) if each["grid"] else f"{each['unknowns']:,} unknowns"
    count = f"{each['columns']} right-hand side{'s' if each['columns'] > 1 else ''}"
    return TextTable(
        f"{what}: {different}, {count}", columns, tuple(_row(row, len(tolerances)) for row in each["rows"])
    )


def _row(row: Mapping[str, Any], width: int) -> tuple[str, tuple[str, ...]]:
    kind = "solution" if row["learned"] else ""
    if "iterations" not in row:
        return kind, (row["method"], *["–"] * (width + 4))
    counts = [
        "never" if cell["median"] is None else f"{cell['median']:g} / {cell['most']}" for cell in row["iterations"]
    ]
    setup, solving = row["setup_seconds"], row["solve_seconds"]
    times = [seconds_text(value) for value in (setup, solving, setup + solving)]
    return kind, (row["method"], *counts, *times, str(row["failures"]))


def _by_grid(entries: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for each in entries:
        groups.setdefault(_on(each["grid"]), []).append(each)
    return groups


def _on(grid: list[int] | None) -> str:
    return f" on {' × '.join(map(str, grid))}" if grid else ""
