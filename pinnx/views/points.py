"""The collocation points of a training on a plane: what is kept of them in `solution.h5`, and their figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from pinnx.views.figures import BLUE, new_figure, symbol

if TYPE_CHECKING:
    from pinnx.solvers.solution import Solution

#: Points that a figure shows.
MOST = 2000
_SEED = 51_209


def collocation_of(solution: Solution) -> dict[str, np.ndarray]:
    """The first two coordinates (n, 2) of points that were chosen by the residual, and weights (n,) where they have
    any; empty where there are none, or only one coordinate. Of many points, some drawn at random."""
    points, weights = solution.collocation, solution.collocation_weights
    if points is None or points.shape[1] < 2:
        return {}
    chosen = np.sort(np.random.default_rng(_SEED).permutation(len(points))[:MOST])
    kept = {"collocation": points[chosen, :2]}
    return kept if weights is None else {**kept, "collocation_weights": weights[chosen]}


def collocation_figure(
    points: np.ndarray, weights: np.ndarray | None, axes: dict[str, np.ndarray], labels: tuple[str, str]
) -> Figure:
    """The points on the plane of the first two coordinates; time runs to the right.

    Args:
        points: (n, 2).
        weights: (n,), or None.
        axes: values along the axes of the plotted field, for the limits where it has these coordinates.
        labels: of the coordinates.
    """
    across, up = (1, 0) if labels[1] == "t" else (0, 1)
    figure = new_figure(3.6 if weights is None else 4.2, 3.2)
    panel = figure.subplots()
    look: dict[str, Any] = {"s": 5.0, "linewidths": 0.0}
    if weights is None:
        panel.scatter(points[:, across], points[:, up], color=BLUE, alpha=0.7, **look)
    else:
        image = panel.scatter(points[:, across], points[:, up], c=weights, cmap="viridis", **look)
        figure.colorbar(image, ax=panel, label="weight")
    for axis, place in (("x", across), ("y", up)):
        if (line := axes.get(labels[place])) is not None:
            limits: dict[str, Any] = {f"{axis}lim": (float(line[0]), float(line[-1]))}
            panel.set(**limits)
    panel.set_xlabel(_name(labels, across))
    panel.set_ylabel(_name(labels, up))
    return figure


def _name(labels: tuple[str, str], place: int) -> str:
    """A coordinate's name; the only coordinate of space is x, not x1."""
    label = labels[place]
    return symbol("x" if label == "x1" and "x2" not in labels else label)
