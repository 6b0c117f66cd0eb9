"""The figures of a run, as PNG and PDF: colors that the color-blind can tell apart, every axis labeled."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter, StrMethodFormatter

from pinnx.run.fields import Field
from pinnx.run.files import make_folder, write_bytes
from pinnx.run.metrics import SECONDS, STEP
from pinnx.run.result import ErrorTable

# Okabe & Ito's colors, which the color-blind can tell apart.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
_TERMS = (VERMILION, GREEN, PURPLE, ORANGE, SKY)
# Color, dashes, width: zero is wide and pale, to be seen below the best constant, which is often as good.
_BASELINES = {"zero": ("0.8", "-", 2.5), "constant": (ORANGE, "-.", 1.0), "affine": (VERMILION, "--", 1.0)}
_BASELINE_NAMES = {"zero": "$f = 0$", "constant": "best constant $f$", "affine": "best affine $f$"}
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
_LONGEST_LINE = 3000


def save(figure: Figure, folder: Path, name: str) -> bytes:
    """Write a figure as PNG and PDF; returns the PNG."""
    make_folder(folder)
    figure.draw_without_rendering()  # lays it out; once is enough
    figure.set_layout_engine("none")
    images = {}
    for kind in ("pdf", "png"):
        memory = io.BytesIO()
        # Without a date the same run gives the same file.
        metadata: dict[str, Any] = {"CreationDate": None} if kind == "pdf" else {}
        figure.savefig(memory, format=kind, dpi=200, metadata=metadata)
        images[kind] = memory.getvalue()
        write_bytes(folder / f"{name}.{kind}", images[kind])
    return images["png"]


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


def training_figure(metrics: Mapping[str, np.ndarray], baselines: Mapping[str, ErrorTable | None]) -> Figure:
    """Loss, and error where there is a reference, against the step and against the time in steps."""
    error = metrics.get("relative_l2")
    measured = None if error is None else np.isfinite(error)
    rows = 2 if measured is not None and measured.any() else 1
    figure = _figure(6.8, 2.4 * rows + 0.2)
    grid = figure.subplots(rows, 2, squeeze=False, sharey="row", sharex="col", gridspec_kw={"wspace": 0.08})
    seconds, unit = _time(metrics[SECONDS])
    positions = ((metrics[STEP], "step"), (seconds, f"training time ({unit})"))
    for column, (position, label) in enumerate(positions):
        _losses(grid[0, column], position, metrics)
        if rows == 2 and error is not None and measured is not None:
            _errors(grid[1, column], position[measured], error[measured], baselines)
        grid[-1, column].set_xlim(0.0, 1.02 * max(float(position[-1]), 1e-9))
        grid[-1, column].set_xlabel(label)
    grid[0, 0].set_ylabel("loss")
    if len(grid[0, 0].get_legend_handles_labels()[1]) > 1:
        grid[0, 1].legend(loc="upper right", frameon=True, edgecolor="none", framealpha=0.8)
    if rows == 2:
        grid[1, 0].set_ylabel("relative $L^2$ error")
        figure.legend(*grid[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def solution_figure(field: Field) -> Figure:
    """The solution, the reference and their difference, along a line or on a plane."""
    return _line_figure(field) if len(field.axes) == 1 else _plane_figure(field)


def residual_figure(residuals: np.ndarray) -> Figure:
    """The law of the residual over the domain, one panel per equation."""
    columns = residuals.reshape(len(residuals), -1).T.astype(float)
    figure = _figure(3.4 * len(columns), 2.6)
    for index, (axes, values) in enumerate(
        zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True)
    ):
        values = values[np.isfinite(values)]
        low, high = np.quantile(values, [0.002, 0.998]) if len(values) else (-1.0, 1.0)
        reach = max(abs(low), abs(high)) or 1.0
        axes.hist(values, bins=np.linspace(-reach, reach, 61), density=True, color=BLUE, alpha=0.85)
        axes.axvline(0.0, color="0.3", linewidth=0.8)
        name = "residual" if len(columns) == 1 else f"residual {index + 1}"
        mean_square = float(np.sqrt(np.mean(values**2))) if len(values) else float("nan")
        text = f"{len(values)} points\nroot mean square\n{_number(mean_square)}"
        axes.text(0.98, 0.97, text, transform=axes.transAxes, ha="right", va="top", fontsize=8)
        axes.set_xlabel(name)
        axes.set_ylabel("density" if index == 0 else "")
        axes.ticklabel_format(axis="both", scilimits=(-3, 4))
    return figure


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


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _losses(axes: Axes, position: np.ndarray, metrics: Mapping[str, np.ndarray]) -> None:
    terms = [name for name in metrics if name.startswith("loss/")]
    curves = {"loss": metrics["loss"], **({name[5:]: metrics[name] for name in terms} if len(terms) > 1 else {})}
    for index, (name, values) in enumerate(curves.items()):
        color = BLUE if index == 0 else _TERMS[(index - 1) % len(_TERMS)]
        shown, smooth = _thinned(position, values), _smoothed(values)
        if smooth is None:
            axes.plot(*shown, color=color, linewidth=1.3 if index == 0 else 0.9, label=name)
            continue
        axes.plot(*shown, color=color, linewidth=0.5, alpha=0.3)
        axes.plot(*_thinned(position, smooth), color=color, linewidth=1.4 if index == 0 else 1.0, label=name)
    every = np.concatenate([values[np.isfinite(values)] for values in curves.values()])
    if len(every) and every.min() > 0:
        axes.set_yscale("log")
    elif len(every) and np.abs(every).max() > 0:  # a loss whose estimate can be negative
        axes.set_yscale("symlog", linthresh=max(float(np.quantile(np.abs(every), 0.05)), 1e-300))


def _errors(axes: Axes, position: np.ndarray, error: np.ndarray, baselines: Mapping[str, ErrorTable | None]) -> None:
    marker = "o" if len(error) <= 40 else None
    axes.plot(*_thinned(position, error), color=BLUE, marker=marker, markersize=3, label="solution")
    levels = []
    for name, (color, dashes, width) in _BASELINES.items():
        errors = baselines.get(name)
        if errors and errors["relative_l2"] > 0:
            levels.append(errors["relative_l2"])
            look = {"color": color, "linestyle": dashes, "linewidth": width, "label": _BASELINE_NAMES[name]}
            axes.axhline(errors["relative_l2"], zorder=1.5, **look)
    every = np.array([*error[np.isfinite(error)], *levels])
    if len(every) and every.min() > 0:
        axes.set_yscale("log")


def _line_figure(field: Field) -> Figure:
    ((label, line),) = field.axes.items()
    rows = 2 if field.exact else 1
    figure = _figure(3.6 * len(field.values), 2.3 * rows)
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
    figure = _figure(7.2 if panels == 3 else 3.1, 2.3 * len(field.values) + 0.2 * bool(field.fixed))
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


def _time(seconds: np.ndarray) -> tuple[np.ndarray, str]:
    last = float(seconds[-1]) if len(seconds) else 0.0
    for limit, scale, unit in ((180.0, 1.0, "s"), (3 * 3600.0, 60.0, "min")):
        if last <= limit:
            return seconds / scale, unit
    return seconds / 3600.0, "h"


def _smoothed(values: np.ndarray) -> np.ndarray | None:
    """Running median over a fortieth of the rows; None where there are too few rows to need it."""
    if len(values) < 200:
        return None
    half = len(values) // 80
    padded = np.pad(values, half, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)


def _thinned(position: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """So few points that a PDF stays small."""
    stride = max(1, len(values) // _LONGEST_LINE)
    return position[::stride], values[::stride]


def _number(value: float) -> str:
    """Two digits and a power of ten, as mathematics."""
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    if not exponent or -2 <= int(exponent) <= 2:
        return f"{value:.2g}"
    return rf"${mantissa} \times 10^{{{int(exponent)}}}$"
