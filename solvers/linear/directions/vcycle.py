"""The learned symmetric V-cycle: a few dozen weights that make smoothers and transfers of every matrix on a grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from pinnx.options import at_least, between, check_limits, option
from pinnx.solvers.linear.directions.bands import Bands, from_operator
from pinnx.solvers.linear.directions.fast_cycle import FastCycle
from pinnx.solvers.linear.directions.hierarchy import Hierarchy, Level
from pinnx.solvers.linear.directions.interpolation import Interpolation
from pinnx.solvers.linear.directions.learned import DirectionModule, DirectionSpec
from pinnx.solvers.linear.directions.repetition import LEVELS, Repetition
from pinnx.solvers.linear.directions.smoother import Smoother
from pinnx.solvers.linear.stencil import GridOperator

#: An axis of fewer cells is not coarsened any more.
SHORTEST = 4

#: Numbers in all inverses of coarsest matrices together: more of them cost more than another, smaller grid.
DENSE = 1 << 18

#: Eigenvalues of the coarsest matrix, scaled to a diagonal of ones, that float32 cannot tell from zero.
CUTOFF = 1e-6


@final
@dataclass(frozen=True)
class VCycle(DirectionSpec):
    """A V-cycle whose smoother and transfers are learned functions of the matrix, the same on all levels and axes.

    Each row's own weights, seen through two networks of a few neurons per cell, give the diagonal of the smoother
    (`Smoother`) and the interpolation (`Interpolation`); the matrices of the coarser grids are exact Galerkin products
    PᵀAP; restriction is Pᵀ and post-smoothing equals pre-smoothing, so that the cycle is symmetric, and positive
    definite, by construction. In the form of MgNO (He, Liu & Xu, ICLR 2024, arXiv 2310.19809), with its convolutions
    replaced by weights made from the matrix: obstacles, mixed walls and jumps are seen where they are. Works in 1 to 3
    dimensions, on grids of any size; many systems are treated at once. Untrained, it is a classical cycle.
    """

    kind: ClassVar[str] = "v-cycle"
    linear: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True
    homogeneous: ClassVar[bool] = True

    dimension: int = option(0, "axes of the grids; 0: any", between(0, 3))
    degree: int = option(2, "degree of the smoothing polynomial: products with A per smoothing, plus one", at_least(1))
    hidden: int = option(5, "neurons per cell of the two small networks", at_least(1))
    coarsest: int = option(
        512,
        "unknowns of the largest grid that is solved directly; fewer where many systems are solved together",
        at_least(8),
    )

    def __post_init__(self) -> None:
        check_limits(self)

    def build_module(self, generator: torch.Generator) -> VCycleNetwork:
        return VCycleNetwork(self, generator)


class VCycleNetwork(DirectionModule):
    """The weights of `VCycle`: 67 with its defaults."""

    def __init__(self, spec: VCycle, generator: torch.Generator):
        super().__init__()
        self.coarsest = spec.coarsest
        self.interpolation = Interpolation(spec.hidden, generator)
        self.smoother = Smoother(spec.degree, spec.hidden, generator)
        self.correction = nn.Parameter(torch.zeros(()))

    def prepare(self, operator: GridOperator) -> Callable[[Tensor], Tensor]:
        hierarchy = self.hierarchy(operator)
        mask = None if bool(operator.mask.all()) else operator.mask.flatten(1)
        return _Differentiable(hierarchy, mask) if torch.is_grad_enabled() else _Fast(hierarchy, mask)

    def hierarchy(self, operator: GridOperator) -> Hierarchy:
        """Set up all levels for an operator; differentiable."""
        matrix, alive, levels = from_operator(operator, self.correction.dtype), operator.mask, []
        repetition = None if torch.is_grad_enabled() else Repetition.of(operator)
        if repetition is not None:
            small = from_operator(repetition.small, self.correction.dtype)
            first, small, alive = self._coarsen(small, repetition.small.mask, 0, LEVELS)
            for level in first:
                levels.append(repetition.level(level, matrix if not levels else repetition.bands(level.matrix)))
            matrix, alive = repetition.bands(small), repetition.repeated(alive)
        largest = max(8, min(self.coarsest, math.isqrt(DENSE // operator.systems)))
        others, matrix, _ = self._coarsen(matrix, alive, largest)
        inverse = _inverse(matrix)
        return Hierarchy((*levels, *others), inverse, self.smoother.coefficients(), self.correction.exp())

    def _coarsen(
        self, matrix: Bands, alive: Tensor, largest: int, most: int | None = None
    ) -> tuple[list[Level], Bands, Tensor]:
        """Levels until no more than so many unknowns are left, or so many levels made; the grid that is left."""
        levels: list[Level] = []
        while math.prod(matrix.grid) > largest and max(matrix.grid) >= SHORTEST and len(levels) != most:
            fine, transfers = matrix, []
            for axis, cells in enumerate(fine.grid, start=1):
                if cells >= SHORTEST:
                    transfer, alive = self.interpolation.transfer(matrix, axis, alive)
                    matrix = transfer.galerkin(matrix)
                    transfers.append(transfer)
            levels.append(Level(fine, self.smoother.scaling(fine).flatten(1), tuple(transfers)))
        return levels, matrix, alive


def _inverse(matrix: Bands) -> Tensor:
    """Of the coarsest matrices; eigenvalues that rounding may have made zero or negative count as `CUTOFF`."""
    scale = matrix.diagonal.flatten(1).rsqrt().double()
    dense = matrix.dense().double() * scale.unsqueeze(1) * scale.unsqueeze(2)
    shifted = dense + CUTOFF * torch.eye(dense.shape[1], dtype=dense.dtype, device=dense.device)
    factors, failed = torch.linalg.cholesky_ex(shifted)
    if bool((failed > 0).any()) or not bool((factors.diagonal(dim1=1, dim2=2).amin(1) ** 2 > CUTOFF).all()):
        values, vectors = torch.linalg.eigh(dense.detach())
        inverse = (vectors / values.clamp_min(CUTOFF).unsqueeze(1)) @ vectors.mT
    else:
        inverse = torch.cholesky_inverse(factors)
    return (inverse * scale.unsqueeze(1) * scale.unsqueeze(2)).to(matrix.diagonal.dtype)


class _Differentiable:
    def __init__(self, hierarchy: Hierarchy, mask: Tensor | None):
        self.cycle, self.mask = hierarchy.cycle, mask

    def __call__(self, residuals: Tensor) -> Tensor:
        if self.mask is None:
            return self.cycle(residuals)
        return torch.where(self.mask, self.cycle(residuals * self.mask), residuals)


class _Fast:
    def __init__(self, hierarchy: Hierarchy, mask: Tensor | None):
        self.hierarchy, self.mask, self.cycle = hierarchy, mask, FastCycle(hierarchy)

    def __call__(self, residuals: Tensor) -> Tensor:
        if self.mask is None:
            return self.cycle(residuals)
        return torch.where(self.mask, self.cycle(residuals * self.mask), residuals)

    def select(self, index: Tensor) -> _Fast:
        """The cycle of some of the systems."""
        if self.hierarchy.inverse.shape[0] == 1:
            return self
        return _Fast(self.hierarchy.select(index), None if self.mask is None else self.mask[index])
