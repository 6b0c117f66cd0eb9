"""Atoms of fields on a grid: spectral derivatives along periodic axes, finite differences along the others.

Along a periodic axis derivatives are exact for every wave that the grid resolves. Along another one, and in time, they
are of second order: three-point differences inside, which see odd-even noise, and one-sided ones at the two ends, where
they serve conditions such as a flux.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pinnx.errors import ShapeError, UnsupportedError
from pinnx.expr import (
    Atom,
    Biharmonic,
    Directional,
    Evaluator,
    Gradient,
    Partial,
    SecondOrder,
    Value,
)
from pinnx.expr.evaluate import NO_VALUES, Values
from pinnx.family import Axis, Grid

TimeScheme = Literal["backward", "bdf2", "centered"]
SpaceScheme = Literal["auto", "compact"]

TIME_SCHEMES: Mapping[str, str] = {
    "backward": "implicit Euler, of first order",
    "bdf2": "two steps back, of second order; the first step is implicit Euler",
    "centered": "one step back and one ahead, of second order; the last step looks back",
}


def forms(
    fields: Tensor,
    atoms: Sequence[Atom],
    grid: Grid,
    time: TimeScheme = "centered",
    space: SpaceScheme = "auto",
    given: Values = NO_VALUES,
) -> dict[Atom, Tensor]:
    """The values of atoms of fields at all nodes, linear and differentiable in the fields.

    Args:
        fields: N fields of each of B instances, (B, N, *grid).
        atoms: distinct atoms; whose function they are of does not matter.
        grid: the nodes.
        time: scheme of the first derivative in time, see `TIME_SCHEMES`.
        space: "auto" is spectral along periodic axes, "compact" takes three-point differences there too.
        given: the values of inputs inside directions of derivatives, flat: (B, n) or (B, n, d).

    Returns:
        (B, *grid, N) in the dtype of the fields; (B, *grid, d, N) for a gradient.

    Raises:
        ShapeError: the fields are not on the grid.
        UnsupportedError: the grid cannot serve an atom; the message says why.

    Example:
        >>> from pinnx.expr import Unknown, dt
        >>> from pinnx.family import space_axis, time_axis
        >>> grid = Grid((space_axis(0, 0.0, 1.0, 5), time_axis(1.0, 4)))
        >>> atom = dt(Unknown())
        >>> values = forms(grid.unflat(grid.points().t)[None, None], [atom], grid)[atom]
        >>> values.shape, bool(torch.allclose(values, torch.ones(()).double()))
        (torch.Size([1, 5, 4, 1]), True)
    """
    if fields.ndim != 2 + grid.dimension or fields.shape[2:] != grid.shape:
        expected = ", ".join(map(str, grid.shape))
        raise ShapeError(f"fields on the grid must have shape (B, N, {expected}), got {tuple(fields.shape)}")
    derivatives = _Derivatives(fields, grid, time, space)
    return {atom: _last(_form(atom, derivatives, given)) for atom in atoms}


def _form(atom: Atom, derivatives: _Derivatives, given: Values) -> Tensor:
    """An atom with the axes of the fields, (B, N, *grid), or (B, N, *grid, d) for a gradient."""
    if isinstance(atom, Value):
        return derivatives.fields
    if isinstance(atom, Partial):
        return derivatives.partial(atom.columns, atom)
    if isinstance(atom, Gradient):
        return torch.stack(derivatives.gradient(atom.group, atom), -1)
    if isinstance(atom, Directional):
        vector = Evaluator(derivatives.grid.points(), given)(atom.vector)
        parts = derivatives.gradient(atom.group, atom)
        return _sum([_on(vector[..., i], derivatives) * part for i, part in enumerate(parts)])
    if isinstance(atom, SecondOrder):
        return _second_order(atom, derivatives)
    if isinstance(atom, Biharmonic):
        size = derivatives.size(atom.group, atom)
        pairs = [(i, j) for i in range(size) for j in range(size)]
        return _sum([derivatives.partial(((atom.group, i),) * 2 + ((atom.group, j),) * 2, atom) for i, j in pairs])
    raise UnsupportedError(f"{atom} is not served on a grid: {type(atom).__name__} has no differences here")


def _second_order(atom: SecondOrder, derivatives: _Derivatives) -> Tensor:
    size = derivatives.size(atom.group, atom)
    if atom.matrix is None:
        return _sum([derivatives.partial(((atom.group, i),) * 2, atom) for i in range(size)])
    matrix = atom.matrix.at(derivatives.grid.points())
    full = torch.diag_embed(matrix) if atom.matrix.diagonal else matrix
    full = (full + full.mT) / 2
    pairs = [(i, j) for i in range(size) for j in range(i, size) if bool(full[..., i, j].any())]
    return _sum(
        [
            _on(full[..., i, j] * (1 if i == j else 2), derivatives)
            * derivatives.partial(((atom.group, i), (atom.group, j)), atom)
            for i, j in pairs
        ]
    )


class _Derivatives:
    """Mixed derivatives of fields (B, N, *grid), each computed once."""

    def __init__(self, fields: Tensor, grid: Grid, time: TimeScheme, space: SpaceScheme):
        if time not in TIME_SCHEMES:
            raise UnsupportedError(f"no scheme {time!r} for time; known: {', '.join(TIME_SCHEMES)}")
        self.fields, self.grid, self.time, self.space = fields, grid, time, space
        self._done: dict[tuple[int, ...], Tensor] = {(0,) * grid.dimension: fields}

    def size(self, group: str, atom: Atom) -> int:
        """Number of axes of a coordinate group."""
        count = sum(axis.group == group for axis in self.grid.axes)
        if not count:
            raise UnsupportedError(f"{atom} is not served on a grid without the coordinates {group!r}")
        return count

    def gradient(self, group: str, atom: Atom) -> list[Tensor]:
        """The first derivatives along the axes of a group."""
        return [self.partial(((group, i),), atom) for i in range(self.size(group, atom))]

    def partial(self, columns: Sequence[tuple[str, int]], atom: Atom) -> Tensor:
        """A mixed derivative, (B, N, *grid)."""
        orders = [0] * self.grid.dimension
        for column in columns:
            place = self.grid.axis(column)
            if place is None:
                raise UnsupportedError(f"{atom} is not served on a grid without the coordinate {column}")
            orders[place] += 1
        return self._mixed(tuple(orders), atom)

    def _mixed(self, orders: tuple[int, ...], atom: Atom) -> Tensor:
        if orders not in self._done:
            place = max(i for i, order in enumerate(orders) if order)
            inner = self._mixed((*orders[:place], 0, *orders[place + 1 :]), atom)
            self._done[orders] = self._along(inner, place, orders[place], atom)
        return self._done[orders]

    def _along(self, fields: Tensor, place: int, order: int, atom: Atom) -> Tensor:
        axis, dimension = self.grid.axes[place], place + 2
        if axis.periodic and self.space == "auto":
            return _spectral(fields, dimension, order, axis)
        if order > 2:
            raise UnsupportedError(
                f"{atom} is not served along {axis.label}: differences there are of order two at most, and only a "
                "periodic axis has spectral derivatives of higher order"
            )
        if axis.group == "t" and self.time != "centered":
            if order > 1:
                raise UnsupportedError(f"{atom} is not served by the scheme {self.time!r}: take time = 'centered'")
            return _apply(fields, dimension, _one_sided(axis, self.time))
        if axis.periodic:
            return _wrapped(fields, dimension, order, axis)
        return _apply(fields, dimension, _centered(axis, order))


def _spectral(fields: Tensor, dimension: int, order: int, axis: Axis) -> Tensor:
    """The derivative of the trigonometric interpolant; of odd order it leaves the shortest wave out, whose derivative
    vanishes at the nodes."""
    n = axis.nodes
    k = torch.arange(n // 2 + 1, device=fields.device, dtype=fields.dtype)
    wave = (1j * (2 * math.pi / (axis.high - axis.low)) * k) ** order
    if order % 2 and n % 2 == 0:
        wave[-1] = 0
    shape = [1] * fields.ndim
    shape[dimension] = -1
    transformed = torch.fft.rfft(fields, dim=dimension) * wave.reshape(shape)
    return torch.fft.irfft(transformed, n=n, dim=dimension)


def _wrapped(fields: Tensor, dimension: int, order: int, axis: Axis) -> Tensor:
    """Three-point differences around a periodic axis."""
    step = (axis.high - axis.low) / axis.nodes
    before, after = fields.roll(1, dimension), fields.roll(-1, dimension)
    return (after - before) / (2 * step) if order == 1 else (after - 2 * fields + before) / step**2


#: For each node of an axis the first node of its window and the weights of the window.
Stencils = tuple[tuple[int, tuple[float, ...]], ...]


@lru_cache(maxsize=64)
def _centered(axis: Axis, order: int) -> Stencils:
    """Three points inside; at the ends as many as second order needs there."""
    n, positions = axis.nodes, axis.positions().numpy()
    at_end = min(n, order + 2)
    inside = [(i - 1, _weights(positions[i - 1 : i + 2], positions[i], order)) for i in range(1, n - 1)]
    first = (0, _weights(positions[:at_end], positions[0], order))
    last = (n - at_end, _weights(positions[n - at_end :], positions[-1], order))
    return (first, *inside, last)


@lru_cache(maxsize=64)
def _one_sided(axis: Axis, scheme: TimeScheme) -> Stencils:
    """Differences that look back; at the beginning, where no equation is asked for, one that looks ahead."""
    positions = axis.positions().numpy()
    back = 2 if scheme == "bdf2" else 1
    result = [(0, _weights(positions[:2], positions[0], 1))]
    for i in range(1, axis.nodes):
        low = max(0, i - back)
        result.append((low, _weights(positions[low : i + 1], positions[i], 1)))
    return tuple(result)


def _weights(window: np.ndarray, at: float, order: int) -> tuple[float, ...]:
    """The differences that are exact for polynomials on the points of a window."""
    scale = float(np.ptp(window))
    powers = np.vander((window - at) / scale, increasing=True).T
    right = np.zeros(len(window))
    right[order] = math.factorial(order) / scale**order
    return tuple(np.linalg.solve(powers, right).tolist())


def _apply(fields: Tensor, dimension: int, stencils: Stencils) -> Tensor:
    """The sums over windows, run by run of nodes whose windows move along with them."""
    parts, start = [], 0
    while start < len(stencils):
        offset, width = stencils[start][0] - start, len(stencils[start][1])
        stop = start + 1
        while stop < len(stencils) and (stencils[stop][0] - stop, len(stencils[stop][1])) == (offset, width):
            stop += 1
        table = fields.new_tensor([weights for _, weights in stencils[start:stop]])
        shape = [1] * fields.ndim
        shape[dimension] = -1
        moved = [
            table[:, k].reshape(shape) * fields.narrow(dimension, start + offset + k, stop - start)
            for k in range(width)
        ]
        parts.append(_sum(moved))
        start = stop
    return torch.cat(parts, dimension)


def _on(flat: Tensor, derivatives: _Derivatives) -> Tensor:
    """A factor, one number, (n,) or (B, n), with the axes of the fields."""
    if flat.numel() == 1:
        return flat.to(derivatives.fields).reshape(())
    unflat = derivatives.grid.unflat(flat.to(derivatives.fields))
    return unflat[:, None] if flat.ndim == 2 else unflat


def _sum(parts: Sequence[Tensor]) -> Tensor:
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result


def _last(form: Tensor) -> Tensor:
    """(B, N, …) as (B, …, N)."""
    return form.movedim(1, -1)
