"""Geometric multigrid for grid operators: one V-cycle per application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.options import at_least, between, check_limits, one_of, option
from pinnx.solvers.linear.base import LinearOperator, PreparedDirection
from pinnx.solvers.linear.coarsening import Transfer, coarsened
from pinnx.solvers.linear.preconditioners.chebyshev import Level
from pinnx.solvers.linear.preconditioners.simple import Sound
from pinnx.solvers.linear.stencil import GridOperator


@final
@dataclass(frozen=True)
class Multigrid(Sound):
    """A symmetric V-cycle with Chebyshev smoothing, for `GridOperator`s: obstacles, walls and coefficients are seen on
    every level (see `coarsening`). Set-up is a few passes over the grid; k systems are set up and solved together.
    """

    kind: ClassVar[str] = "multigrid"

    degree: int = option(2, "degree of the Chebyshev smoother before and after each coarse correction", at_least(1))
    fraction: float = option(
        0.15, "lower end of the smoothed eigenvalues of D⁻¹A, as a part of the upper end 2", between(0.01, 0.9)
    )
    coarsest: int = option(64, "unknowns per system below which the coarsest grid is solved directly", at_least(1))
    precision: str = option("float64", "of the cycle: float64 or float32", one_of("float32", "float64"))

    def __post_init__(self) -> None:
        check_limits(self)

    def prepare(self, operator: LinearOperator) -> PreparedDirection:
        if not isinstance(operator, GridOperator):
            raise UnsupportedError(
                f"geometric multigrid needs a GridOperator, got {type(operator).__name__}; AlgebraicMultigrid takes "
                "any sparse matrix"
            )
        return VCycle(self, build_hierarchy(operator.to(dtype=getattr(torch, self.precision)), self.coarsest))


Hierarchy = tuple[tuple[GridOperator, tuple[Transfer, ...]], ...]
"""Per level the operator and the transfers to the next; the last level has none."""


def build_hierarchy(operator: GridOperator, coarsest: int = 64) -> Hierarchy:
    """Operators from fine to coarse, with the transfers between them.

    Args:
        operator: the finest.
        coarsest: number of cells at which to stop.
    """
    levels: list[tuple[GridOperator, tuple[Transfer, ...]]] = []
    while operator.shape[0] > coarsest:
        coarse, transfers = coarsened(operator)
        levels.append((operator, transfers))
        operator = coarse
    return (*levels, (operator, ()))


@final
class VCycle:
    """A prepared cycle: maps residuals (k, n) to corrections (k, n), in the precision of its hierarchy.

    Args:
        options: the options of the cycle.
        hierarchy: see `build_hierarchy`.
        inverse: the inverse of the coarsest operator, (systems, m, m); computed where left out.
    """

    def __init__(self, options: Multigrid, hierarchy: Hierarchy, inverse: Tensor | None = None):
        self.options, self.hierarchy = options, hierarchy
        self.inverse = dense_inverse(hierarchy[-1][0]) if inverse is None else inverse
        self._levels: list[Level] = []

    def __call__(self, r: Tensor) -> Tensor:
        levels = self._prepared(r.shape[0])
        b = r.reshape(r.shape[0], *self.hierarchy[0][0].grid).to(self.inverse.dtype)
        for level in levels:
            level.b.copy_(b)
            level.presmooth()
            b = level.restrict()
        x = (self.inverse @ b.reshape(b.shape[0], -1, 1)).reshape(b.shape)
        for level in reversed(levels):
            level.correct(x)
            level.postsmooth()
            x = level.x
        return x.reshape(r.shape).to(r.dtype, copy=True)

    def select(self, index: Tensor) -> VCycle:
        """The cycle of some of the systems."""
        if self.hierarchy[0][0].systems == 1:
            return self
        chosen = tuple(
            (
                operator.select(index),
                tuple(
                    Transfer(t.axis, t.size, (t.own[0][index], t.own[1][index]), (t.other[0][index], t.other[1][index]))
                    for t in transfers
                ),
            )
            for operator, transfers in self.hierarchy
        )
        return VCycle(self.options, chosen, self.inverse[index])

    def _prepared(self, columns: int) -> list[Level]:
        """The buffers for so many columns; only those of the last count are kept."""
        if not self._levels or self._levels[0].x.shape[0] != columns:
            high = 2.0  # Gershgorin: no row's off-diagonal sum exceeds its diagonal
            interval = (high * self.options.fraction, high)
            self._levels = [
                Level(operator, transfers, columns, self.options.degree, interval)
                for operator, transfers in self.hierarchy[:-1]
            ]
        return self._levels


def dense_inverse(operator: GridOperator) -> Tensor:
    """The inverses of small operators, (systems, n, n); the pseudo-inverse where a system is singular."""
    n, systems, dtype = operator.shape[0], operator.systems, operator.dtype
    operator = operator.to(dtype=torch.float64)
    identity = torch.eye(n, dtype=torch.float64, device=operator.device)
    matrix = torch.diag_embed(operator.diagonal())
    cells = torch.arange(n, device=operator.device).reshape(operator.grid)
    for axis, face in enumerate(operator.faces):
        count = operator.grid[axis] - 1
        low, high = (cells.narrow(axis, start, count).flatten() for start in (0, 1))
        weights = face.narrow(axis + 1, 1, count).reshape(systems, -1)
        matrix[:, low, high] = matrix[:, high, low] = -weights
    factor, info = torch.linalg.cholesky_ex(matrix)
    pivots = factor.diagonal(dim1=1, dim2=2)
    bad = (info > 0) | (pivots.amin(1) < 1e-6 * pivots.amax(1)) | ~pivots.isfinite().all(1)
    inverse = torch.cholesky_inverse(torch.where(bad[:, None, None], identity, factor))
    if bool(bad.any()):
        inverse[bad] = torch.linalg.pinv(matrix[bad], hermitian=True, rtol=1e-10)
    return inverse.to(dtype)
