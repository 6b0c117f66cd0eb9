"""Figures of methods for linear systems: histories, iterations and time against size, and what each solve is made of.

They are drawn from the plain values of `comparison.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from pinnx.views.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, new_figure

CAPTIONS = {
    "histories": "Relative norm of the true residual against iterations, for the right-hand side of median length.",
    "sizes": "Median iterations to the tolerance, and time of set-up and solve together, against the unknowns.",
    "costs": "Time for one system: set-up and solve apart.",
    "repaid": "Time per solve after so many solves, training included: where lines cross, it has been repaid.",
}
"""What the page says below each figure."""

_OTHERS = (VERMILION, GREEN, ORANGE, PURPLE, SKY, "0.4", "0.7")
_DASHES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)), "--", "-.")


def linear_figures(content: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures that the values allow for, by name."""
    tables = [each for each in content["tables"] if any("history" in row for row in each["rows"])]
    if not tables:
        return {}
    looks = _looks(tables)
    figures = {"histories": histories_figure(tables, looks)}
    if any(len(each["rows"]) > 1 for each in tables):
        figures["costs"] = costs_figure(tables[-1], looks)
    if len({each["unknowns"] for each in tables}) > 1:
        figures["sizes"] = sizes_figure(tables, looks)
    training = content.get("training")
    if training and any(len(each["rows"]) > 1 for each in tables):
        figures["repaid"] = repaid_figure(tables[-1], training["seconds"], looks)
    return figures


def histories_figure(tables: Sequence[Mapping[str, Any]], looks: Mapping[str, dict[str, Any]]) -> Figure:
    """Relative residual against iteration, one panel per grid; both axes logarithmic but for the first iteration."""
    figure = new_figure(max(3.4, 3.0 * len(tables)) + 0.6, 3.1)
    panels = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
    for axes, each in zip(panels, tables, strict=True):
        longest = 1
        for row in _measured(each):
            history = np.asarray(row["history"], dtype=float)
            longest = max(longest, len(history) - 1)
            axes.plot(np.arange(len(history)), history, label=row["method"], **looks[row["method"]])
        axes.set_yscale("log")
        if longest > 40:
            axes.set_xscale("symlog", linthresh=10, linscale=1.0)
            ticks = [0, 5, 10, *(10**k * m for k in range(1, 5) for m in (3, 10) if 10**k * m <= longest)]
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(0, longest * 1.05)
        axes.set_xlabel("iteration")
        axes.set_title(_where(each))
    # An exact solver falls to rounding in one iteration; the range is that of the others.
    ends = [row["history"][-1] for each in tables for row in _measured(each) if row["history"][-1] > 0]
    if ends:
        panels[0].set_ylim(bottom=max(0.5 * min(ends), 0.02 * float(np.median(ends))))
    panels[0].set_ylabel("relative residual")
    _legend(figure, panels)
    return figure


def sizes_figure(tables: Sequence[Mapping[str, Any]], looks: Mapping[str, dict[str, Any]]) -> Figure:
    """Iterations and time against the number of unknowns."""
    figure = new_figure(6.8, 3.0)
    left, right = figure.subplots(1, 2)
    for name, look in looks.items():
        found = [(each["unknowns"], row) for each in tables for row in _measured(each) if row["method"] == name]
        look = {**look, "marker": "o", "markersize": 3.5}
        counts = [(n, row["iterations"][-1]["median"]) for n, row in found]
        counts = [(n, count) for n, count in counts if count]
        if counts:
            left.plot(*zip(*counts, strict=True), label=name, **look)
        if found:
            times = [(n, _together(row)) for n, row in found]
            right.plot(*zip(*times, strict=True), label=name, **look)
    for axes, label in ((left, "iterations to the tolerance"), (right, "seconds per system, with set-up")):
        axes.set(xscale="log", yscale="log", xlabel="unknowns", ylabel=label)
        sizes = sorted({each["unknowns"] for each in tables})
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
    _legend(figure, [left, right])
    return figure


def costs_figure(each: Mapping[str, Any], looks: Mapping[str, dict[str, Any]]) -> Figure:
    """Set-up and solve of each method, as bars."""
    rows = _measured(each)
    figure = new_figure(6.0, 0.6 + 0.34 * len(rows))
    axes = figure.subplots()
    places = np.arange(len(rows))[::-1]
    setup = np.array([row["setup_seconds"] for row in rows])
    solving = np.array([row["solve_seconds"] for row in rows])
    longest = float((setup + solving).max())
    unit, scale = ("ms", 1e3) if longest < 1.0 else ("s", 1.0)
    colors = [looks[row["method"]]["color"] for row in rows]
    axes.barh(places, scale * solving, color=colors, height=0.62)
    axes.barh(places, scale * setup, left=scale * solving, color=colors, height=0.62, alpha=0.4, hatch="////", ec="w")
    for place, row, total in zip(places, rows, scale * (setup + solving), strict=True):
        iterations = row["iterations"][-1]["median"]
        words = "never" if iterations is None else f"{iterations:g} iteration{'' if iterations == 1 else 's'}"
        axes.text(total + 0.01 * scale * longest, place, words, va="center", fontsize=8)
    axes.set_yticks(places, [row["method"] for row in rows])
    axes.set_xlim(0, 1.3 * scale * longest)
    axes.set_xlabel(f"{unit} per system on {_where(each)}: solve (full), set-up (hatched)")
    axes.grid(visible=False, axis="y")
    return figure


def repaid_figure(each: Mapping[str, Any], training_seconds: float, looks: Mapping[str, dict[str, Any]]) -> Figure:
    """Time per solve after so many of them, with the training of learned directions, and set-up once or each time."""
    figure = new_figure(6.4, 3.2)
    axes = figure.subplots()
    solves = np.logspace(0, 6, 200)
    for row in _measured(each):
        if row["failures"]:
            continue
        once = 0.0 if each["systems"] > 1 else row["setup_seconds"]
        again = row["solve_seconds"] + (row["setup_seconds"] if each["systems"] > 1 else 0.0)
        paid = training_seconds if row["learned"] else 0.0
        axes.plot(solves, (paid + once) / solves + again, label=row["method"], **looks[row["method"]])
    axes.set(xscale="log", yscale="log", xlabel=f"solves on {_where(each)}", ylabel="seconds per solve")
    axes.set_xlim(1, 1e6)
    _legend(figure, [axes])
    return figure


def _looks(tables: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """One look per method, the same in all figures; learned directions are blue and full."""
    rows = {row["method"]: row for each in tables for row in each["rows"]}
    others = [name for name, row in rows.items() if not row["learned"]]
    looks: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(name for name, row in rows.items() if row["learned"]):
        looks[name] = {"color": (BLUE, PURPLE)[index % 2], "linestyle": "-", "linewidth": 2.0, "zorder": 3}
    for index, name in enumerate(others):
        looks[name] = {"color": _OTHERS[index % len(_OTHERS)], "linestyle": _DASHES[index % len(_DASHES)]}
    return looks


def _measured(each: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in each["rows"] if "history" in row]


def _together(row: Mapping[str, Any]) -> float:
    return row["setup_seconds"] + row["solve_seconds"]


def _where(each: Mapping[str, Any]) -> str:
    return " × ".join(map(str, each["grid"])) if each["grid"] else f"{each['unknowns']:,} unknowns"


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    labels: dict[str, Any] = {}
    for axes in panels:
        handles, names = axes.get_legend_handles_labels()
        labels |= dict(zip(names, handles, strict=True))
    figure.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=min(3, len(labels)))
