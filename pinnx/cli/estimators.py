"""The table of estimators of derivatives that `pinnx check` prints."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from pinnx.run.progress import with_error

#: Width of the table where no terminal tells one.
_WIDTH = 140


def show(diagnostics: Mapping[str, Any], *, every: bool, console: Console | None = None) -> None:
    """Print how noisy, biased and expensive the estimators are, and what follows.

    Args:
        diagnostics: as `pinnx.run.check` gives them.
        every: all columns, and how the figures were measured; else the most telling ones only.
        console: where to.
    """
    console = console or Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    console.print()
    console.print(estimator_table(diagnostics["estimators"], every=every))
    for each in diagnostics["estimators"]:
        if each["refused"]:
            _line(console, f"{each['name']}: {each['refused']}")
    for note in diagnostics["notes"]:
        if every or not note.startswith(_MEASURING):
            _line(console, note)


_MEASURING = ("at ", "memory: ", "bias ")


def estimator_table(rows: Sequence[Mapping[str, Any]], *, every: bool) -> Table:
    """One row per estimator; the case's own in bold, with a star."""
    table = Table(title_justify="left")
    table.add_column("derivatives (* this case's)")
    shown = [name for name in _COLUMNS if every or name in ("variance", "evaluations", "time / step")]
    for name in shown:
        table.add_column(name, justify="right")
    for row in rows:
        if not row["refused"]:
            cells = [_COLUMNS[name](row) or "–" for name in shown]
            table.add_row(("* " if row["own"] else "  ") + row["name"], *cells, style="bold" if row["own"] else "")
    return table


_COLUMNS = {
    "samples": lambda row: row["samples"] and str(row["samples"]),
    "variance": lambda row: with_error(row["variance"], None) if row["stochastic"] else "0",
    "bias of square": lambda row: with_error(row["bias"], row["bias_error"]) if row["stochastic"] else "0",
    "evaluations": lambda row: f"{row['evaluations']:.0f}",
    "memory / step": lambda row: f"{row['peak_memory_bytes'] / 2**20:.1f} MiB",
    "time / step": lambda row: f"{1e3 * row['seconds_per_step']:.3g} ms",
}


def _line(console: Console, text: str) -> None:
    console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)
