"""Figures of a trained operator: instances beside their references, errors beside the baselines, residuals by block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter, StrMethodFormatter

from pinnx.views.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, new_figure, symbol
from pinnx.views.operators import OperatorView, block_table

#: What baselines are called where people read them, and their marks.
BASELINE_WORDS = {
    "offset": "trial solution, f = 0",
    "persistence": "initial value persists",
    "mean": "mean of solved instances",
    "linear": "affine in the parameters",
    "interpolation": "between two solved instances",
}
_MARKS = {
    "offset": ("0.6", "s"),
    "persistence": (ORANGE, "v"),
    "mean": (PURPLE, "D"),
    "linear": (GREEN, "^"),
    "interpolation": (VERMILION, "P"),
}
CAPTIONS = {
    "instances": "Held-out instances: solution, reference and error; and the residual of the equation, with the blocks "
    "of the experts and their numbers where there are several.",
    "errors": "Relative error of each held-out instance, in the order of the solution's, beside the answers that need "
    "no method of solution.",
    "blocks": "Root mean square of the residual on each block, over all held-out instances.",
}


def operator_figures(view: OperatorView) -> dict[str, Figure]:
    """The figures by name: `instances`, `errors`, and with several experts `blocks`."""
    figures = {"instances": instances_figure(view), "errors": errors_figure(view)}
    if view.experts > 1:
        figures["blocks"] = blocks_figure(view)
    return figures


def instances_figure(view: OperatorView) -> Figure:
    """A row of four panels for each instance that is shown; of a flow in the plane at the last time."""
    rows = len(view.shown)
    ratios = [1, 1, 0.05, 0.12, 1, 0.05, 0.12, 1, 0.05]
    figure = new_figure(9.4, 2.35 * rows + 0.25)
    grid = figure.add_gridspec(rows, len(ratios), width_ratios=ratios, wspace=0.04)
    for row, (number, words) in enumerate(view.shown.items()):
        cells = [figure.add_subplot(grid[row, i]) if ratios[i] != 0.12 else None for i in range(len(ratios))]
        panels = [cell for i, cell in enumerate(cells) if cell is not None and ratios[i] == 1]
        bars = [cell for i, cell in enumerate(cells) if cell is not None and ratios[i] == 0.05]
        _instance_row(figure, panels, bars, view, row, top=row == 0)
        error = view.errors["solution"][number]
        panels[0].annotate(
            f"instance {number}: {words}, {error:.2g}",
            (0.0, 1.0),
            xycoords="axes fraction",
            xytext=(0, 16 if row == 0 else 4),
            textcoords="offset points",
            fontsize=8,
            fontweight="bold",
        )
        for panel in panels[1:]:
            panel.tick_params(labelleft=False)
            panel.set_ylabel("")
        for bar in bars:
            bar.set_box_aspect(20)
            bar.grid(visible=False)
    return figure


def errors_figure(view: OperatorView) -> Figure:
    """The errors of all instances on one logarithmic axis."""
    order = np.argsort(view.errors["solution"])
    figure = new_figure(6.4, 3.0)
    axes = figure.subplots()
    place = np.arange(1, len(order) + 1)
    for name, values in view.errors.items():
        if name == "solution" or not np.isfinite(values).any():
            continue
        color, mark = _MARKS.get(name, (SKY, "x"))
        label = f"{BASELINE_WORDS.get(name, name)}: {_percent(float(np.median(values)))}"
        axes.plot(place, values[order], mark, color=color, markersize=4, alpha=0.85, label=label)
    median = _percent(float(np.median(view.errors["solution"])))
    axes.plot(place, view.errors["solution"][order], "o-", color=BLUE, markersize=5, label=f"solution: {median}")
    axes.set_yscale("log")
    axes.set_xlabel("held-out instance, by error")
    axes.set_ylabel("relative $L^2$ error")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", title="median of", alignment="left")
    return figure


def blocks_figure(view: OperatorView) -> Figure:
    """A map of the blocks where the grid has two axes, else one bar for each."""
    table, labels = block_table(view.blocks), list(view.axes)
    rms = np.sqrt(np.nanmean(view.block_residuals**2, axis=0))
    if table.ndim == 2:
        return _block_map(table, rms, labels)
    figure = new_figure(max(3.6, 0.36 * len(rms) + 1.6), 2.8)
    axes = figure.subplots()
    order = table.ravel()
    spread = [np.nanquantile(view.block_residuals[:, order], q, axis=0) for q in (0.0, 1.0)]
    heights = rms[order]
    place = np.arange(len(order))
    axes.bar(place, heights, color=BLUE, alpha=0.85)
    axes.vlines(place, spread[0], spread[1], color="0.2", linewidth=1.0)
    names = [", ".join(str(i + 1) for i in index) for index in np.ndindex(table.shape)]
    axes.set_xticks(place, names, rotation=90 if len(names) > 8 else 0, fontsize=7)
    axes.set_xlabel(f"block along {', '.join(map(symbol, labels))}")
    axes.set_ylabel("root mean square of the residual")
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", scilimits=(-2, 3))
    return figure


def _block_map(table: np.ndarray, rms: np.ndarray, labels: Sequence[str]) -> Figure:
    across, up, transpose = _directions(labels)
    values = rms[table].T if transpose else rms[table]
    figure = new_figure(0.8 * values.shape[1] + 1.4, 0.6 * values.shape[0] + 1.3)
    axes = figure.subplots()
    finite = values[np.isfinite(values) & (values > 0)]
    norm = LogNorm(float(finite.min()), float(finite.max())) if len(finite) and finite.min() < finite.max() else None
    axes.imshow(values, origin="lower", cmap="cividis", norm=norm, aspect="auto")
    middle = math.sqrt(float(finite.min()) * float(finite.max())) if len(finite) else 0.0
    for (row, column), value in np.ndenumerate(values):
        color = "white" if value <= middle else "black"
        axes.text(column, row, f"{value:.1e}", ha="center", va="center", fontsize=8, color=color)
    axes.grid(visible=False)
    axes.set_xticks(range(values.shape[1]), [str(i + 1) for i in range(values.shape[1])])
    axes.set_yticks(range(values.shape[0]), [str(i + 1) for i in range(values.shape[0])])
    only = "x2" not in labels
    axes.set_xlabel(f"block along {_name(across, only)}")
    axes.set_ylabel(f"block along {_name(up, only)}")
    axes.set_title("root mean square of the residual")
    return figure


def _instance_row(
    figure: Figure, panels: list[Axes], bars: list[Axes], view: OperatorView, row: int, *, top: bool
) -> None:
    name = view.unknowns[0]
    values, exact, residual = _plane(view.values[row, 0]), _plane(view.reference[row, 0]), _plane(view.residual[row])
    axes = list(view.axes.items())[:2]
    when = f" at $t = {list(view.axes.values())[-1][-1]:g}$" if len(view.axes) == 3 else ""
    low, high = float(min(values.min(), exact.min())), float(max(values.max(), exact.max()))
    image = _mesh(panels[0], axes, values, cmap="viridis", vmin=low, vmax=high)
    _mesh(panels[1], axes, exact, cmap="viridis", vmin=low, vmax=high)
    _bar(figure, image, bars[0])
    reach = float(np.abs(values - exact).max()) or 1.0
    _bar(figure, _mesh(panels[2], axes, values - exact, cmap="RdBu_r", vmin=-reach, vmax=reach), bars[1])
    size = np.abs(residual)
    largest = float(np.quantile(size[size > 0], 0.995)) if (size > 0).any() else 1.0
    shown = np.where(size > 0, np.maximum(size, 1e-4 * largest), np.nan)
    norm = LogNorm(1e-4 * largest, largest)
    _bar(figure, _mesh(panels[3], axes, shown, cmap="magma", norm=norm), bars[2], powers=False)
    if view.experts > 1:
        _layout(panels[3], axes, _plane(view.blocks))
    if top:
        titles = (f"{symbol(name)}{when}", "reference", "error", "|residual| and experts")
        for panel, title in zip(panels, titles if view.experts > 1 else (*titles[:3], "|residual|"), strict=True):
            panel.set_title(title)


def _mesh(axes: Axes, lines: Sequence[tuple[str, np.ndarray]], values: np.ndarray, **options: Any) -> Any:
    across, up, transpose = _directions([label for label, _ in lines])
    positions = dict(lines)
    mesh = values.T if transpose else values
    image = axes.pcolormesh(positions[across], positions[up], mesh, shading="nearest", rasterized=True, **options)
    axes.set(xlim=positions[across][[0, -1]], ylim=positions[up][[0, -1]])
    axes.grid(visible=False)
    axes.spines[["top", "right"]].set_visible(True)
    axes.set_box_aspect(1)
    axes.set_facecolor("0.85")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    only = "x2" not in positions
    axes.set_xlabel(_name(across, only))
    axes.set_ylabel(_name(up, only), rotation=0, labelpad=8)
    return image


def _layout(axes: Axes, lines: Sequence[tuple[str, np.ndarray]], blocks: np.ndarray) -> None:
    """The borders of the blocks in the plane, and the number of each expert in its middle."""
    across, up, transpose = _directions([label for label, _ in lines])
    positions = dict(lines)
    mesh = blocks.T if transpose else blocks
    for moved, draw, line in (
        (mesh, axes.axhline, positions[up]),
        (mesh.T, axes.axvline, positions[across]),
    ):
        for i in range(1, len(moved)):
            if (moved[i] != moved[i - 1]).any():
                draw((line[i] + line[i - 1]) / 2, color="white", linewidth=1.2)
    for expert in np.unique(mesh):
        rows, columns = np.nonzero(mesh == expert)
        place = positions[across][int(np.median(columns))], positions[up][int(np.median(rows))]
        box = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
        axes.text(*place, str(int(expert) + 1), fontsize=7, ha="center", va="center", bbox=box)


def _directions(labels: Sequence[str]) -> tuple[str, str, bool]:
    """The axes that run to the right and upwards, and whether arrays must be transposed. Time runs to the right."""
    first, second = labels[:2]
    return (second, first, False) if second == "t" else (first, second, True)


def _name(label: str, only: bool) -> str:
    """A coordinate as mathematics; the only one of space is x, not x1."""
    return symbol("x" if label == "x1" and only else label)


def _plane(field: np.ndarray) -> np.ndarray:
    """A field on two axes; of three, its last slice in time."""
    return field[..., -1] if field.ndim == 3 else field


def _bar(figure: Figure, image: Any, place: Axes, *, powers: bool = True) -> None:
    formatter = ScalarFormatter(useMathText=True)
    formatter.set_powerlimits((-2, 3))
    figure.colorbar(image, cax=place, format=formatter if powers else None)


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %" if 1e-3 <= value < 10 else f"{value:.1e}"
