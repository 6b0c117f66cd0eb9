"""The figures of a sweep: the error against each setting that varies, and how it fell."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pinnx.hpc.comparing import Comparison, Group
from pinnx.hpc.states import State
from pinnx.run.metrics import STEP, read_metrics
from pinnx.run.plots import save, scale_losses
from pinnx.views.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, new_figure, style

_COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
_LABELS = {"error": "relative $L^2$ error", "loss": "loss"}
#: Numbers that span more than this factor stand on a logarithmic axis.
_WIDE = 20.0
#: Up to so many values of a setting are written at the axis themselves.
_WRITTEN = 6


def draw_comparison(comparison: Comparison, folder: Path) -> dict[str, bytes]:
    """Draw what there is to draw, as PNG and PDF.

    Returns:
        The PNG images by caption.
    """
    images = {}
    with style():
        keys = [key for key in comparison.keys if len({_value(group, key) for group in comparison.groups}) > 1]
        if keys and any(group.values for group in comparison.groups):
            what = "error" if comparison.measure == "error" else "loss"
            caption = f"The {what} of every member (dots) and its mean over all else (line), by setting."
            images[caption] = save(_settings_figure(comparison, keys), folder, "settings")
        shown = [group for group in comparison.groups if group.values][: len(_COLORS)]
        if shown:
            caption = f"The {comparison.measure} as it fell, of the settings with the smallest means."
            images[caption] = save(_falling_figure(comparison, shown), folder, "training")
    return images


def _settings_figure(comparison: Comparison, keys: Sequence[str]) -> Figure:
    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    figure = new_figure(max(3.6, 2.6 * columns), 2.5 * rows + 0.2)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for index, key in enumerate(keys):
        _against(grid[index // columns, index % columns], comparison, key)
    for index in range(len(keys), rows * columns):
        grid[index // columns, index % columns].set_visible(False)
    for row in range(rows):
        grid[row, 0].set_ylabel(_LABELS[comparison.measure])
    return figure


def _against(axes: Axes, comparison: Comparison, key: str) -> None:
    """The measure against one setting."""
    groups = [group for group in comparison.groups if group.values]
    names = list(dict.fromkeys(_value(group, key) for group in groups))
    numbers = _numbers(names)
    if numbers is None:
        names.sort()
        position = {name: float(index) for index, name in enumerate(names)}
        axes.set_xticks(range(len(names)), names)
    else:
        position = dict(zip(names, numbers, strict=True))
        if min(numbers) > 0 and max(numbers) > _WIDE * min(numbers):
            axes.set_xscale("log")
        if len(names) <= _WRITTEN:
            axes.set_xticks(numbers, names)
            axes.set_xticks([], minor=True)
    collected: dict[float, list[float]] = {}
    for group in groups:
        collected.setdefault(position[_value(group, key)], []).extend(group.values)
    for place, values in collected.items():
        axes.plot([place] * len(values), values, ".", color=BLUE, alpha=0.5, markersize=4)
    means = sorted((place, statistics.fmean(values)) for place, values in collected.items() if values)
    axes.plot([place for place, _ in means], [mean for _, mean in means], "-", color=VERMILION)
    scale_losses(axes, np.array([value for values in collected.values() for value in values]))
    axes.set_xlabel(key)


def _falling_figure(comparison: Comparison, groups: Sequence[Group]) -> Figure:
    figure = new_figure(6.8, 3.2)
    axes = figure.subplots()
    column, seen = "relative_l2" if comparison.measure == "error" else "loss", [np.zeros(0)]
    for group, color in zip(groups, _COLORS, strict=False):
        label = ", ".join(f"{key.rpartition('.')[2]} = {value}" for key, value in group.settings.items())
        for entry in group.entries:
            if entry.state is not State.DONE or not entry.member.run.metrics.is_file():
                continue
            metrics = read_metrics(entry.member.run.metrics)
            if column not in metrics:
                continue
            measured = np.isfinite(metrics[column])
            seen.append(metrics[column])
            axes.plot(
                metrics[STEP][measured], metrics[column][measured], color=color, alpha=0.7, label=label or "seeds"
            )
            label = "_"  # one line in the legend is enough
    scale_losses(axes, np.concatenate(seen))
    axes.set_xlabel("step")
    axes.set_ylabel(_LABELS[comparison.measure])
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _value(group: Group, key: str) -> str:
    return group.settings.get(key, "")


def _numbers(names: Sequence[str]) -> list[float] | None:
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return None
    return numbers if all(np.isfinite(numbers)) else None
