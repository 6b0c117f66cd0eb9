"""A comparison as text, CSV, Markdown and one HTML page."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pinnx.hpc.comparing import Comparison, Entry, Group, reasons
from pinnx.run.progress import duration, error_text

#: Names that are spelled out where many members ended alike.
_NAMED = 8
#: Characters of a cell.
LONGEST = 60
_GROUP_HEADINGS = ("done", "mean", "spread", "best", "baseline", "time")
_ENTRY_HEADINGS = ("state", "error", "loss", "time", "reason")


def text_table(comparison: Comparison, *, members: bool = False) -> str:
    """The table for a terminal, and below it the members that are not done."""
    headings, rows = _cells(comparison, members=members)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    left = _left(comparison)
    for heading in headings:
        table.add_column(heading, no_wrap=True, justify="left" if heading in left else "right")
    for row in rows:
        table.add_row(*(cut(cell) for cell in row))
    memory = io.StringIO()
    Console(file=memory, width=400, force_terminal=False, color_system=None, emoji=False, markup=False).print(table)
    lines = [line.rstrip() for line in memory.getvalue().splitlines()]
    return "\n".join([*filter(None, lines), *_missing(comparison)])


def markdown_table(comparison: Comparison, *, members: bool = False) -> str:
    """The table in Markdown."""
    headings, rows = _cells(comparison, members=members)

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    sides = ["---" if heading in _left(comparison) else "---:" for heading in headings]
    lines = [line(headings), line(sides), *map(line, rows)]
    missing = _missing(comparison)
    return "\n".join([*lines, *(["", *(f"- {sentence}" for sentence in missing)] if missing else [])])


def csv_table(comparison: Comparison, *, members: bool = False) -> str:
    """The table in CSV, with all digits."""
    memory = io.StringIO()
    writer = csv.writer(memory, lineterminator="\n")
    if members:
        writer.writerow(["member", *comparison.keys, "seed", "state", "error", "loss", "seconds", "reason"])
        for entry in comparison.entries:
            own = [_setting(entry, key) for key in (*comparison.keys, "seed")]
            figures = [_exact(value) for value in (entry.error, entry.loss, entry.seconds)]
            writer.writerow([entry.member.name, *own, entry.state.value, *figures, entry.reason])
    else:
        heads = ["members", "done", f"{comparison.measure}_mean", f"{comparison.measure}_spread"]
        writer.writerow([*comparison.keys, *heads, f"{comparison.measure}_best", "baseline", "seconds"])
        for group in comparison.groups:
            own = [group.settings.get(key, "") for key in comparison.keys]
            figures = [group.mean, group.spread, group.best, group.baseline, group.seconds]
            writer.writerow([*own, len(group.entries), group.done, *map(_exact, figures)])
    return memory.getvalue().rstrip("\n")


def html_page(comparison: Comparison, images: Mapping[str, bytes]) -> str:
    """One page with both tables and the figures, which needs no other file.

    Args:
        comparison: of the sweep.
        images: PNG images by caption.
    """
    title = f"Sweep {comparison.path.absolute().name}"
    missing = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in _missing(comparison))
    figures = (
        f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{base64.b64encode(image).decode()}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for caption, image in images.items()
    )
    style = (files("pinnx.run") / "page.css").read_text(encoding="utf-8")
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<section><h2>Settings</h2>{_html_table(*_cells(comparison), _left(comparison))}</section>",
        *figures,
        f"<section><h2>Not done</h2><ul>{missing}</ul></section>" if missing else "",
        f"<section><h2>Members</h2>{_html_table(*_cells(comparison, members=True), _left(comparison))}</section>",
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>\n{style}</style>\n</head>\n'
        "<body>\n<main>\n" + "\n".join(filter(None, parts)) + "\n</main>\n</body>\n</html>\n"
    )


#: The forms of a table, by the names of the command line; HTML needs figures, too.
FORMATS: Mapping[str, Callable[..., str]] = {"text": text_table, "csv": csv_table, "markdown": markdown_table}


def _cells(comparison: Comparison, *, members: bool = False) -> tuple[list[str], list[list[str]]]:
    """Headings, and the cells below them as people read them."""
    keys = list(comparison.keys)
    if members:
        return ["member", *keys, "seed", *_ENTRY_HEADINGS], [_entry_row(entry, keys) for entry in comparison.entries]
    headings = ["done", f"mean {comparison.measure}", *_GROUP_HEADINGS[2:]]
    return [*keys, *headings], [_group_row(group, keys) for group in comparison.groups]


def _left(comparison: Comparison) -> tuple[str, ...]:
    """The headings of columns of words; figures stand on the right."""
    return (*comparison.keys, "member", "state", "reason")


def _group_row(group: Group, keys: Sequence[str]) -> list[str]:
    figures = [error_text(value) for value in (group.mean, group.spread, group.best, group.baseline)]
    done = f"{group.done}/{len(group.entries)}"
    return [*(group.settings.get(key, "") for key in keys), done, *figures, _time(group.seconds)]


def _entry_row(entry: Entry, keys: Sequence[str]) -> list[str]:
    own = [_setting(entry, key) for key in (*keys, "seed")]
    figures = [error_text(entry.error), error_text(entry.loss), _time(entry.seconds)]
    return [entry.member.name, *own, entry.state.value, *figures, entry.reason]


def _setting(entry: Entry, key: str) -> str:
    return entry.member.case.stem if key == "case" and not entry.member.own else entry.member.own.get(key, "")


def cut(text: str) -> str:
    """A text short enough for a line of a table."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _missing(comparison: Comparison) -> list[str]:
    lines = []
    for state, reason, names in reasons(comparison.unfinished):
        shown = ", ".join(names[:_NAMED]) + (f", … ({len(names)} in all)" if len(names) > _NAMED else "")
        lines.append(f"{state}: {shown}" + (f": {reason}" if reason else ""))
    return lines


def _html_table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str]) -> str:
    sides = [" class='text'" if heading in left else "" for heading in headings]

    def cells(tag: str, texts: Sequence[str]) -> str:
        pairs = zip(sides, texts, strict=True)
        return "<tr>" + "".join(f"<{tag}{side}>{html.escape(cut(text))}</{tag}>" for side, text in pairs) + "</tr>"

    head, body = cells("th", headings), "".join(cells("td", row) for row in rows)
    return f"<div class='wide'><table class='results'><thead>{head}</thead><tbody>{body}</tbody></table></div>"


def _exact(value: float | None) -> str:
    return "" if value is None else repr(value)


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)
