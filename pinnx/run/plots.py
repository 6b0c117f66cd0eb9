"""The figures of a run, as PNG and PDF: colors that the color-blind can tell apart, every axis labeled."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pinnx.run.files import make_folder, write_bytes
from pinnx.run.metrics import SECONDS, STEP
from pinnx.run.result import ErrorTable
from pinnx.views.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, new_figure
from pinnx.views.operator_figures import BASELINE_WORDS

_TERMS = (VERMILION, GREEN, PURPLE, ORANGE, SKY)
# Color, dashes, width: zero is wide and pale, to be seen below the best constant, which is often as good.
_BASELINES = {"zero": ("0.8", "-", 2.5), "constant": (ORANGE, "-.", 1.0), "affine": (VERMILION, "--", 1.0)}
_BASELINES |= {
    "offset": ("0.8", "-", 2.5),
    "persistence": (ORANGE, ":", 1.0),
    "mean": (PURPLE, "-.", 1.0),
    "linear": (GREEN, "--", 1.0),
    "interpolation": (VERMILION, "--", 1.0),
}
_BASELINE_NAMES = {"zero": "$f = 0$", "constant": "best constant $f$", "affine": "best affine $f$"}
_BASELINE_NAMES |= {**BASELINE_WORDS, "offset": "$f = 0$"}
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


def training_figure(metrics: Mapping[str, np.ndarray], baselines: Mapping[str, ErrorTable | None]) -> Figure:
    """Loss, and error where there is a reference, against the step and against the time in steps."""
    error = metrics.get("relative_l2")
    measured = None if error is None else np.isfinite(error)
    rows = 2 if measured is not None and measured.any() else 1
    figure = new_figure(6.8, 2.4 * rows + 0.2)
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


def residual_figure(residuals: np.ndarray) -> Figure:
    """The law of the residual over the domain, one panel per equation."""
    columns = residuals.reshape(len(residuals), -1).T.astype(float)
    figure = new_figure(3.4 * len(columns), 2.6)
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
    _mark_switch(axes, position, metrics)
    scale_losses(axes, np.concatenate(list(curves.values())))


def scale_losses(axes: Axes, losses: np.ndarray) -> None:
    """A logarithmic axis; linear around zero where a loss is not positive, as estimates without bias can be."""
    finite = losses[np.isfinite(losses)]
    if len(finite) and finite.min() > 0:
        axes.set_yscale("log")
    elif len(finite) and np.abs(finite).max() > 0:
        smallest = float(np.quantile(np.abs(finite[finite != 0]), 0.05))
        axes.set_yscale("symlog", linthresh=10.0 ** math.ceil(math.log10(smallest)))  # ticks sit at powers of ten


def _mark_switch(axes: Axes, position: np.ndarray, metrics: Mapping[str, np.ndarray]) -> None:
    """A line where a hybrid loss leaves the biased estimate for the unbiased one."""
    unbiased = metrics.get("unbiased")
    if unbiased is None:
        return
    after = np.flatnonzero((unbiased[1:] == 1) & (unbiased[:-1] == 0))
    if not len(after):
        return
    row = int(after[0]) + 1
    place = float(position[row])
    # Loss falls: what is left of the line lies high, and what is right of an early one lies low.
    left = place > 0.4 * float(position[-1])
    axes.axvline(place, color="0.35", linestyle=":", linewidth=1.0, zorder=1.5)
    axes.annotate(
        f"unbiased\nfrom step {metrics[STEP][row]:.0f}",
        (place, 0.04 if left else 0.96),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if left else 4, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="bottom" if left else "top",
        fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.0},
    )


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
    padded = np.pad(values, half, mode="reflect")
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
