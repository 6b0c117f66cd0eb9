"""The solution on a line, a plane or a box through the domain: what is plotted and exported."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import h5py
import numpy as np

from pinnx.errors import UnsupportedError

if TYPE_CHECKING:
    import torch

    from pinnx.expr import Points
    from pinnx.solvers.solution import Solution

#: Elements (points × coordinates) of a field, and of one evaluation of it.
TOTAL_ELEMENTS, CHUNK_ELEMENTS = 1 << 28, 1 << 21
#: Points per axis of a line, a plane, a box.
RESOLUTION = {1: 513, 2: 201, 3: 49}
#: Elements and points of the sample of residuals.
RESIDUAL_ELEMENTS, RESIDUAL_POINTS, RESIDUAL_SEED = 1 << 19, 4096, 382_914_077


@final
@dataclass(frozen=True)
class Field:
    """Values on a rectangular grid, NaN outside the domain.

    Attributes:
        axes: coordinate values along each axis, by the coordinate's label.
        fixed: sentence that tells at what the other coordinates stand; empty if there are none.
        values: of each unknown, shape (axis 1, axis 2, …).
        exact: of the reference, by unknown; empty without one.
    """

    axes: dict[str, np.ndarray]
    fixed: str
    values: dict[str, np.ndarray]
    exact: dict[str, np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along each axis."""
        return tuple(map(len, self.axes.values()))

    def points(self) -> np.ndarray:
        """The grid points in the coordinates of the axes, (n, axes), the last axis running fastest."""
        return np.stack([grid.ravel() for grid in np.meshgrid(*self.axes.values(), indexing="ij")], axis=1)

    def columns(self) -> dict[str, np.ndarray]:
        """All values, flat, by name: u, and where a reference is known u_exact and u_error."""
        columns = {}
        for name, values in self.values.items():
            columns[name] = values.ravel()
            if name in self.exact:
                columns[f"{name}_exact"] = self.exact[name].ravel()
                columns[f"{name}_error"] = (values - self.exact[name]).ravel()
        return columns

    def to_bytes(self, **extra: np.ndarray | int) -> bytes:
        """The field as an HDF5 file."""
        memory = io.BytesIO()
        with h5py.File(memory, "w", track_order=True) as file:
            file.attrs["fixed"] = self.fixed
            axes = file.create_group("axes", track_order=True)
            for name, values in self.axes.items():
                axes[name] = values
            for name, values in self.columns().items():
                file[name] = values.reshape(self.shape)
                file[name].attrs["axes"] = list(self.axes)
            for name, item in extra.items():
                if isinstance(item, np.ndarray):
                    file[name] = item
                else:
                    file.attrs[name] = item
            file.attrs["unknowns"] = list(self.values)
        return memory.getvalue()


def field_of(solution: Solution, dimensions: int = 2) -> Field:
    """The solution on a grid.

    A domain of at most `dimensions` coordinates is shown whole. Of another one, the plane of the first two coordinates
    of space is shown (of space and time, if space has one), through the center of the domain.

    Args:
        solution: what to evaluate.
        dimensions: largest number of coordinates for which the whole domain is shown.
    """
    import torch

    from pinnx.expr import Points

    coordinates = solution.problem.domain.coordinates
    low, high = (bound.double().cpu() for bound in solution.problem.domain.bounds())
    labels, total = coordinates.labels(), coordinates.total
    shown = list(range(total)) if total <= dimensions else [0, 1]
    count = RESOLUTION[len(shown)]
    if total > len(shown):
        count = max(17, min(count, math.isqrt(TOTAL_ELEMENTS // total)))
    lines = [np.linspace(float(low[axis]), float(high[axis]), count) for axis in shown]
    grid = torch.from_numpy(np.stack([each.ravel() for each in np.meshgrid(*lines, indexing="ij")], axis=1))
    center = (low + high) / 2
    names = list(solution.problem.equation.unknowns)
    values, exact = (np.full((len(grid), len(names)), np.nan) for _ in range(2))
    size = max(1, CHUNK_ELEMENTS // total)
    for start in range(0, len(grid), size):
        rows = center.repeat(min(size, len(grid) - start), 1)
        rows[:, shown] = grid[start : start + size]
        points = Points(rows, coordinates)
        inside = _inside(solution, points)
        index = start + np.flatnonzero(inside.numpy())
        if len(index):
            values[index], known = evaluate(solution, points.rows(inside))
            exact[index] = np.nan if known is None else known
    shape = (count,) * len(shown)
    return Field(
        {labels[axis]: line for axis, line in zip(shown, lines, strict=True)},
        _fixed(labels, center.numpy(), shown),
        {name: values[:, i].reshape(shape) for i, name in enumerate(names)},
        {name: exact[:, i].reshape(shape) for i, name in enumerate(names)} if solution.problem.exacts else {},
    )


def evaluate(solution: Solution, points: Points) -> tuple[np.ndarray, np.ndarray | None]:
    """Values (n, m) of the solution and of the reference, if there is one, in float64."""
    import torch

    values = solution.values(points).double().cpu().numpy()
    exacts = solution.problem.exacts
    if not exacts:
        return values, None
    points = points.to(dtype=torch.float64)
    with torch.no_grad():
        columns = [known(points).expand(len(points)) for known in exacts]
    return values, torch.stack(columns, dim=1).cpu().numpy()


def residual_sample(solution: Solution) -> np.ndarray:
    """Residuals at points drawn from the domain's own law, (n,) or (n, equations); always at the same points."""
    import torch

    domain = solution.problem.domain
    count = max(64, min(RESIDUAL_POINTS, RESIDUAL_ELEMENTS // domain.coordinates.total))
    points = domain.sample(count, torch.Generator().manual_seed(RESIDUAL_SEED))
    return solution.residual(points.tensor.numpy())


def _inside(solution: Solution, points: Points) -> torch.Tensor:
    import torch

    try:
        return solution.problem.domain.contains(points)
    except UnsupportedError:
        return torch.ones(len(points), dtype=torch.bool)


def _fixed(labels: tuple[str, ...], center: np.ndarray, shown: list[int]) -> str:
    """Where the other coordinates stand: `x3 … x100 = 0, t = 0.5`."""
    rest = [axis for axis in range(len(labels)) if axis not in shown]
    runs: list[list[int]] = []
    for axis in rest:
        same = runs and center[runs[-1][-1]] == center[axis] and labels[runs[-1][-1]][:1] == labels[axis][:1]
        if same and runs[-1][-1] == axis - 1:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    if len(runs) > 3:
        return "other coordinates at the center"
    parts = []
    for run in runs:
        names = labels[run[0]] if len(run) == 1 else f"{labels[run[0]]} … {labels[run[-1]]}"
        parts.append(f"{names} = {center[run[0]]:.4g}")
    return ", ".join(parts)
