"""Figures of a solution: colors that the color-blind can tell apart, every axis labeled."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter, StrMethodFormatter

from pinnx.views.fields import Field

# Okabe & Ito's colors, which the color-blind can tell apart.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "mathtext.fontset": "cm",
    "font.family": "DejaVu Sans",
    "pdf.fonttype": 42,
    "axes.formatter.use_mathtext": True,
    "figure.constrained_layout.use": True,
}


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures; drawing and saving both need it."""
    fonts = logging.getLogger("fontTools")  # it warns of the dates in the fonts that matplotlib ships
    level = fonts.level
    fonts.setLevel(logging.ERROR)
    try:
        with matplotlib.rc_context(_STYLE):
            yield
    finally:
        fonts.setLevel(level)


def solution_figure(field: Field) -> Figure:
    """The solution, the reference and their difference, along a line or on a plane."""
    return _line_figure(field) if len(field.axes) == 1 else _plane_figure(field)


def symbol(label: str) -> str:
    """A coordinate's or unknown's name as mathematics: x12 becomes x with an index."""
    match = re.fullmatch(r"([A-Za-z]+?)_?(\d+)", label)
    if match:
        return f"${_italic(match[1])}_{{{match[2]}}}$"
    return f"${_italic(label)}$"


def _coordinate(label: str, field: Field) -> str:
    """A coordinate's name; the only coordinate of space is x, not x1."""
    return symbol("x" if label == "x1" and "x2" not in field.axes else label)


def _italic(word: str) -> str:
    return word if len(word) == 1 else rf"\mathrm{{{word}}}".replace("_", r"\_")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _line_figure(field: Field) -> Figure:
    ((label, line),) = field.axes.items()
    rows = 2 if field.exact else 1
    figure = new_figure(3.6 * len(field.values), 2.3 * rows)
    grid = figure.subplots(rows, len(field.values), squeeze=False, sharex=True)
    for column, (name, values) in enumerate(field.values.items()):
        top = grid[0, column]
        if field.exact:
            top.plot(line, field.exact[name], color="0.25", linewidth=2.4, alpha=0.5, label="reference")
        top.plot(line, values, color=BLUE, linestyle="--" if field.exact else "-", label="solution")
        top.set_ylabel(symbol(name))
        if field.exact:
            top.legend()
            grid[1, column].plot(line, values - field.exact[name], color=VERMILION)
            grid[1, column].axhline(0.0, color="0.3", linewidth=0.8)
            grid[1, column].set_ylabel("error")
            grid[1, column].ticklabel_format(axis="y", scilimits=(-2, 3))
        grid[-1, column].set_xlabel(_coordinate(label, field))
    if field.fixed:
        figure.suptitle(_fixed(field), fontsize=9)
    return figure


def _plane_figure(field: Field) -> Figure:
    first, second = list(field.axes)[:2]
    # Time runs to the right, as in all papers; else the first coordinate does.
    across, up = (second, first) if second == "t" else (first, second)
    panels = 3 if field.exact else 1
    ratios = [1, 1, 0.05, 0.08, 1, 0.05] if field.exact else [1, 0.05]
    figure = new_figure(7.2 if panels == 3 else 3.1, 2.3 * len(field.values) + 0.2 * bool(field.fixed))
    grid = figure.add_gridspec(len(field.values), len(ratios), width_ratios=ratios, wspace=0.06)
    for row, name in enumerate(field.values):
        places = [figure.add_subplot(grid[row, column]) for column in range(len(ratios)) if ratios[column] != 0.08]
        shown = [places[0], places[1], places[3]] if panels == 3 else places[:1]
        bars = [places[2], places[4]] if panels == 3 else places[1:]
        _plane_row(figure, shown, bars, field, name, (across, up))
        for index, axes in enumerate(shown):
            axes.grid(visible=False)
            axes.spines[["top", "right"]].set_visible(True)
            axes.set_box_aspect(1)
            axes.set_xlabel(_coordinate(across, field))
            axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.tick_params(labelleft=index == 0)
        shown[0].set_ylabel(_coordinate(up, field), rotation=0, labelpad=8)
        for bar in bars:
            bar.set_box_aspect(20)
    if field.fixed:
        figure.suptitle(_fixed(field), fontsize=9)
    return figure


def _plane_row(
    figure: Figure, shown: list[Axes], bars: list[Axes], field: Field, name: str, directions: tuple[str, str]
) -> None:
    """Solution, reference and error of one unknown."""
    values, exact = field.values[name], field.exact.get(name)
    across, up = directions
    transpose = next(iter(field.axes)) == across  # a mesh wants the vertical axis first

    def draw(axes: Axes, numbers: np.ndarray, **options: Any) -> Any:
        mesh = numbers.T if transpose else numbers
        extent = (*_pixel_bounds(field.axes[across]), *_pixel_bounds(field.axes[up]))
        smooth = "bilinear" if np.isfinite(mesh).all() else "nearest"
        image = axes.imshow(mesh, extent=extent, origin="lower", aspect="auto", interpolation=smooth, **options)
        axes.set(xlim=field.axes[across][[0, -1]], ylim=field.axes[up][[0, -1]])
        return image

    # One scale for solution and reference: a difference in color is a difference in value.
    low, high = _range(values if exact is None else np.stack([values, exact]))
    image = draw(shown[0], values, cmap="viridis", vmin=low, vmax=high)
    shown[0].set_title(symbol(name))
    _color_bar(figure, image, bars[0])
    if exact is None:
        return
    draw(shown[1], exact, cmap="viridis", vmin=low, vmax=high)
    shown[1].set_title(f"reference {symbol(name)}$^\\ast$")
    reach = float(np.nanmax(np.abs(values - exact), initial=0.0)) or 1.0
    image = draw(shown[2], values - exact, cmap="RdBu_r", vmin=-reach, vmax=reach)
    shown[2].set_title(f"error {symbol(name)} − {symbol(name)}$^\\ast$")
    _color_bar(figure, image, bars[1])


def _pixel_bounds(line: np.ndarray) -> tuple[float, float]:
    """Where the pixels of a uniform axis begin and end: each value is the center of one."""
    half = (line[-1] - line[0]) / (len(line) - 1) / 2
    return float(line[0] - half), float(line[-1] + half)


def _color_bar(figure: Figure, image: Any, place: Axes) -> None:
    place.grid(visible=False)
    formatter = ScalarFormatter(useMathText=True)
    formatter.set_powerlimits((-2, 3))
    figure.colorbar(image, cax=place, format=formatter)


def _range(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)


def _fixed(field: Field) -> str:
    """Where the other coordinates stand, as mathematics."""
    return re.sub(r"\b([A-Za-z]+\d*)(?= [=…])|(?<=… )([A-Za-z]+\d+)", lambda match: symbol(match[0]), field.fixed)
