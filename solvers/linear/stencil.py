"""The operator -div(c ∇u) + s u on a grid of cells, matrix-free: finite volumes with obstacles, in one to three
dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from pinnx.errors import InputError, ShapeError
from pinnx.solvers.linear.base import LinearOperator
from pinnx.solvers.linear.slabs import Slab, neighbor_terms, slabs

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@final
@dataclass(frozen=True, eq=False)
class GridOperator(LinearOperator):
    """-div(c ∇u) + s u by finite volumes: each cell exchanges w·(u - u_neighbor) through each of its faces.

    Rows are balances per volume: a face between two cells at distance h carries w = c/h², with the harmonic mean of the
    two coefficients; a Dirichlet wall holds the value 0 (move other values to the right-hand side). Obstacle cells have
    rows and columns of the identity. On every level of a multigrid hierarchy the operator has this same form.
    Make one with `grid_operator` or `random_obstacle_problem`.

    Attributes:
        faces: per axis, the weights of the faces between two unknown cells: (systems, *grid with one more on that
            axis). Zero on the sides of the grid and next to obstacles.
        walls: per axis, the sum of the weights of the faces across that axis, at which a cell meets the value 0:
            (systems, *grid).
        mask: True where a cell is unknown, False in obstacles: (systems, *grid).
        spacing: distance of cell centers along each axis; weights contain 1/h², so (1.0, …) is the unscaled matrix.
        reaction: s, (systems, *grid), or None.
    """

    faces: tuple[Tensor, ...]
    walls: tuple[Tensor, ...]
    mask: Tensor
    spacing: tuple[float, ...]
    reaction: Tensor | None = None
    symmetric: bool = field(default=True, init=False)
    verified: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        grid = self.grid
        for axis, (face, wall) in enumerate(zip(self.faces, self.walls, strict=True)):
            longer = tuple(size + (a == axis) for a, size in enumerate(grid))
            if face.shape[1:] != longer or wall.shape[1:] != grid:
                raise ShapeError(
                    f"axis {axis} needs faces (systems, {longer}) and walls (systems, {grid}), got "
                    f"{tuple(face.shape)} and {tuple(wall.shape)}"
                )

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of cells along each axis."""
        return tuple(self.mask.shape[1:])

    @property
    def systems(self) -> int:  # type: ignore[override]
        """Number of different systems."""
        return self.mask.shape[0]

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """(n, n), n the number of cells."""
        n = self.mask[0].numel()
        return n, n

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        """Of the weights."""
        return self.faces[0].dtype

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Of the weights."""
        return self.faces[0].device

    @cached_property
    def positive_definite(self) -> bool:  # type: ignore[override]
        """Whether something holds the values: a wall, or a positive reaction, in every system."""
        return bool((self.anchored() > 0).flatten(1).any(1).all()) and not bool((self.anchored() < 0).any())

    @cached_property
    def center(self) -> Tensor:
        """The diagonal on the grid, (systems, *grid); 1 in obstacles."""
        total = self.anchored()
        for axis, face in enumerate(self.faces):
            n = self.grid[axis]
            total = total + face.narrow(axis + 1, 0, n) + face.narrow(axis + 1, 1, n)
        return torch.where(self.mask, total, torch.ones_like(total))

    @cached_property
    def links(self) -> tuple[Tensor | float, ...]:
        """Per axis, the weights between neighbors, (systems, *grid with one less); a number where all are equal."""
        found: list[Tensor | float] = []
        for axis, face in enumerate(self.faces):
            inner = face.narrow(axis + 1, 1, self.grid[axis] - 1).contiguous()
            uniform = inner.numel() > 0 and bool((inner == inner.flatten()[0]).all())
            found.append(float(inner.flatten()[0]) if uniform else inner)
        return tuple(found)

    def on_grid(self, x: Tensor) -> Tensor:
        """(k, n) as (k, *grid), without a copy."""
        return x.reshape(x.shape[0], *self.grid)

    def apply(self, x: Tensor) -> Tensor:
        x = self.on_grid(x)
        return self._product(x, lambda slab, out: torch.mul(slab.of(self.center), slab.of(x), out=out), -1.0)

    def residual(self, b: Tensor, x: Tensor) -> Tensor:
        x, b = self.on_grid(x), self.on_grid(b)

        def center(slab: Slab, out: Tensor | None) -> Tensor:
            return torch.addcmul(slab.of(b), slab.of(self.center), slab.of(x), value=-1.0, out=out)

        return self._product(x, center, 1.0)

    def diagonal(self) -> Tensor:
        return self.center.reshape(self.systems, -1)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> GridOperator:
        if dtype in (None, self.dtype) and device in (None, self.device):
            return self

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(dtype=dtype, device=device)

        reaction = None if self.reaction is None else moved(self.reaction)
        mask = self.mask.to(device=device)
        return GridOperator(tuple(map(moved, self.faces)), tuple(map(moved, self.walls)), mask, self.spacing, reaction)

    def select(self, index: Tensor) -> GridOperator:
        if self.systems == 1:
            return self
        reaction = None if self.reaction is None else self.reaction[index]
        faces, walls = tuple(face[index] for face in self.faces), tuple(wall[index] for wall in self.walls)
        return GridOperator(faces, walls, self.mask[index], self.spacing, reaction)

    def to_scipy(self, system: int = 0) -> csr_array:
        """One of the systems as a sparse matrix, to check and to hand to other libraries."""
        from scipy.sparse import csr_array

        n = self.shape[0]
        cells = torch.arange(n).reshape(self.grid)
        rows, columns, values = [cells.flatten()], [cells.flatten()], [self.center[system].flatten().cpu()]
        for axis, face in enumerate(self.faces):
            size = self.grid[axis]
            weights = -face[system].narrow(axis, 1, size - 1).flatten().cpu()
            low, high = (cells.narrow(axis, start, size - 1).flatten() for start in (0, 1))
            rows += [low, high]
            columns += [high, low]
            values += [weights, weights]
        i, j, v = (torch.cat(parts).numpy() for parts in (rows, columns, values))
        matrix = csr_array((v, (i, j)), shape=(n, n))
        matrix.eliminate_zeros()
        return matrix

    @cached_property
    def uniform(self) -> bool:
        """Whether all weights along an axis are equal and there are no obstacles."""
        return all(isinstance(link, float) for link in self.links) and bool(self.mask.all())

    def coarsen(self) -> GridOperator:
        """The operator on cells of twice the size, of the same form: see `coarsening`."""
        from pinnx.solvers.linear.coarsening import coarsened

        return coarsened(self)[0]

    def null_labels(self) -> Tensor | None:
        from pinnx.solvers.linear.nullspace import grid_null_labels

        return grid_null_labels(self)

    def anchored(self) -> Tensor:
        """Walls and reaction: what ties a cell to the value 0."""
        total = sum(self.walls[1:], self.walls[0])
        return total if self.reaction is None else total + self.reaction

    def _product(self, x: Tensor, center: Callable[[Slab, Tensor | None], Tensor], sign: float) -> Tensor:
        """Slab by slab what `center` makes, plus or minus the neighbors; (k, *grid) -> (k, n)."""
        if torch.is_grad_enabled():
            whole = Slab(slice(0, x.shape[0]), slice(0, x.shape[1]))
            y = center(whole, None)
            self._add_neighbors(y, x, whole, sign)
        else:
            y = x.new_empty(x.shape)
            for slab in slabs(x.shape):
                self._add_neighbors(center(slab, slab.of(y)), x, slab, sign)
        return y.reshape(x.shape[0], -1)

    def _add_neighbors(self, y: Tensor, x: Tensor, slab: Slab, sign: float) -> None:
        for target, weight, source in neighbor_terms(self.links, x, slab, y):
            if isinstance(weight, Tensor):
                target.addcmul_(weight, source, value=sign)
            else:
                target.add_(source, alpha=sign * weight)


Sides = str | Sequence[Any] | Tensor
"""One word for all sides; or per axis a word or a pair (low, high) of words; or booleans (systems, axes, 2), True for
Dirichlet. The words are "dirichlet" and "neumann"."""


def grid_operator(
    grid: Sequence[int],
    *,
    spacing: float | Sequence[float] = 1.0,
    coefficient: float | Tensor = 1.0,
    mask: Tensor | None = None,
    sides: Sides = "dirichlet",
    obstacles: str | Tensor = "dirichlet",
    reaction: float | Tensor | None = None,
    nodes: str = "cells",
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> GridOperator:
    """The operator -div(c ∇u) + s u with walls and obstacles.

    Args:
        grid: cells along each of one to three axes.
        spacing: distance of cell centers; the default 1.0 gives the unscaled matrix (2, -1, …).
        coefficient: c > 0, a number, (*grid) or (systems, *grid); harmonic means on faces.
        mask: True where a cell is unknown, False in obstacles, (*grid) or (systems, *grid).
        sides: the condition on the sides of the grid.
        obstacles: the condition on walls of obstacles, "dirichlet" or "neumann"; or booleans (systems,), True for
            Dirichlet.
        reaction: s, a number, (*grid) or (systems, *grid).
        nodes: "cells": walls lie half a spacing from the outer centers; "vertices": a whole spacing, so that the
            constant coefficient gives the classical 3-, 5- or 7-point matrix.
        dtype: of the weights.
        device: of the weights.

    Raises:
        InputError: a word is unknown or a coefficient is not positive.
        ShapeError: shapes do not fit the grid.

    Example:
        >>> grid_operator((3,), nodes="vertices").to_scipy().toarray()
        array([[ 2., -1.,  0.],
               [-1.,  2., -1.],
               [ 0., -1.,  2.]])
    """
    grid = tuple(int(size) for size in grid)
    if not 1 <= len(grid) <= 3 or min(grid) < 1:
        raise InputError(f"a grid has one to three axes of at least one cell, got {grid}")
    words = [("nodes", nodes, ("cells", "vertices"))]
    words += [("obstacles", obstacles, _WORDS)] if isinstance(obstacles, str) else []
    for name, word, known in words:
        if word not in known:
            raise InputError(f"{name} must be one of {', '.join(map(repr, known))}, got {word!r}")
    hold = torch.as_tensor(obstacles == "dirichlet" if isinstance(obstacles, str) else obstacles, device=device)
    steps = (float(spacing),) * len(grid) if isinstance(spacing, (int, float)) else tuple(map(float, spacing))
    if len(steps) != len(grid) or min(steps) <= 0:
        raise InputError(f"spacing must be one positive number or {len(grid)} of them, got {spacing}")
    dirichlet = _sides(sides, len(grid)).to(device)
    inside = _field(True if mask is None else mask, grid, "mask", torch.bool, device)
    c = _field(coefficient, grid, "coefficient", dtype, device)
    s = None if reaction is None else _field(reaction, grid, "reaction", dtype, device)
    parts = {"sides": dirichlet, "obstacles": hold.reshape(-1), "mask": inside, "coefficient": c, "reaction": s}
    systems = max(len(part) for part in parts.values() if part is not None)
    for name, part in parts.items():
        if part is not None and len(part) not in (1, systems):
            raise ShapeError(f"{name} has {len(part)} systems where other arguments have {systems}")
    if not bool((torch.where(inside, c, torch.ones_like(c)) > 0).all()):
        raise InputError("the coefficient must be positive in every unknown cell")
    inside = inside.expand(systems, *grid)
    c = torch.where(inside, c, torch.zeros_like(c))
    s = None if s is None else torch.where(inside, s, torch.zeros_like(s))
    near = 2.0 if nodes == "cells" else 1.0
    pairs = [
        _axis(c, inside, axis, near, steps[axis], dirichlet[:, axis], hold.reshape(-1)) for axis in range(len(grid))
    ]
    return GridOperator(tuple(p[0] for p in pairs), tuple(p[1] for p in pairs), inside, steps, s)


_WORDS = ("dirichlet", "neumann")


def _axis(
    c: Tensor, inside: Tensor, axis: int, near: float, step: float, ends: Tensor, hold: Tensor
) -> tuple[Tensor, Tensor]:
    """Faces and walls along one axis; which ends (systems or 1, 2) and which obstacles (same) are Dirichlet."""
    n, dim = c.shape[axis + 1], axis + 1
    low, high = c.narrow(dim, 0, n - 1), c.narrow(dim, 1, n - 1)
    harmonic = 2.0 * low * high / (low + high).clamp_min(torch.finfo(c.dtype).tiny)
    shape = list(c.shape)
    shape[dim] = n + 1
    faces = c.new_zeros(shape)
    faces.narrow(dim, 1, n - 1).copy_(harmonic / step**2)
    walls = torch.zeros_like(c)
    broadcast = (-1,) + (1,) * (c.ndim - 1)
    blocked = ~inside & hold.reshape(broadcast)
    if bool(blocked.any()):
        walls.narrow(dim, 0, n - 1).add_(low * blocked.narrow(dim, 1, n - 1))
        walls.narrow(dim, 1, n - 1).add_(high * blocked.narrow(dim, 0, n - 1))
    for position, end in ((0, ends[:, 0]), (n - 1, ends[:, 1])):
        walls.narrow(dim, position, 1).add_(c.narrow(dim, position, 1) * end.to(c).reshape(broadcast))
    return faces, walls * (near / step**2)


def _field(value: Any, grid: tuple[int, ...], name: str, dtype: torch.dtype, device: Any) -> Tensor:
    """A number or an array as (systems, *grid)."""
    tensor = torch.as_tensor(value, device=device).to(dtype)
    if tensor.ndim == 0:
        return tensor.expand(1, *grid)
    tensor = tensor[None] if tensor.ndim == len(grid) else tensor
    if tensor.shape[1:] != grid:
        raise ShapeError(f"{name} must have shape {grid} or (systems, *{grid}), got {tuple(tensor.shape)}")
    return tensor


def _sides(sides: Sides, axes: int) -> Tensor:
    """Booleans (systems or 1, axes, 2): True where the side is Dirichlet."""
    if isinstance(sides, Tensor):
        if sides.dtype != torch.bool or sides.ndim != 3 or sides.shape[1:] != (axes, 2):
            raise ShapeError(f"sides as a tensor must be booleans (systems, {axes}, 2), got {tuple(sides.shape)}")
        return sides
    listed = [sides] * axes if isinstance(sides, str) else list(sides)
    pairs = [(side, side) if isinstance(side, str) else tuple(side) for side in listed]
    words = [word for pair in pairs for word in pair]
    if len(pairs) != axes or any(len(pair) != 2 for pair in pairs) or not set(words) <= set(_WORDS):
        raise InputError(
            f"sides must be 'dirichlet' or 'neumann', or {axes} entries that are such a word or a pair of them (low, "
            f"high), got {sides!r}"
        )
    return torch.tensor([[[word == "dirichlet" for word in pair] for pair in pairs]])
