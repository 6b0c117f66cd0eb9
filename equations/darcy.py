"""Flow through a porous medium with a random permeability: a linear family, without time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from pinnx.domain import Box
from pinnx.equations.smooth_fields import cosine_series_2d
from pinnx.expr import Expr, Symbol, Unknown, laplacian, partial, x
from pinnx.family import Family, Grid, GridCondition, Instances, space_axis
from pinnx.options import at_least, check_limits, option, positive
from pinnx.problem import Equation, Problem

MODES = 6
"""Cosines along each axis of the logarithm of a permeability."""
REFERENCE_CELLS = 192
"""Cells of the reference along each axis, at least."""


@final
@dataclass(frozen=True)
class Darcy(Equation):
    """-∇·(a∇u) = 1 in the unit square, u = 0 on its sides, for random permeabilities a.

    log a is a smooth Gaussian random field with correlation length 0.25 and the standard deviation `contrast`. (The
    published benchmark takes two values of a with jumps, at which the equation does not hold pointwise.)
    """

    inputs: ClassVar[tuple[str, ...]] = ("a",)
    references: ClassVar[tuple[str, ...]] = (
        "Z. Li, N. Kovachki, K. Azizzadenesheli, B. Liu, K. Bhattacharya, A. Stuart, A. Anandkumar. Fourier neural "
        "operator for parametric partial differential equations. ICLR 2021. arXiv 2010.08895",
        "G. Négiar, M. W. Mahoney, A. Krishnapriyan. Learning differentiable solvers for systems with hard "
        "constraints. ICLR 2023. arXiv 2207.08675",
    )

    nodes: int = option(65, "nodes along each axis, the ends included", at_least(5))
    contrast: float = option(1.0, "standard deviation of log a", positive)

    def __post_init__(self) -> None:
        check_limits(self)

    def residual(self, u: Symbol, a: Symbol) -> Expr:
        """-aΔu - ∇a·∇u - 1."""
        along = partial(a, x[0]) * partial(u, x[0]) + partial(a, x[1]) * partial(u, x[1])
        return -(a * laplacian(u)) - along - 1.0

    def problem(self) -> Problem:
        return Problem(equation=self, domain=Box(0.0, 1.0, dimension=2), instances=DarcyFamily(self))


@final
@dataclass(frozen=True)
class DarcyFamily(Family):
    """Permeabilities, and the reference: the five-point method of finite volumes, solved directly.

    Attributes:
        equation: with the sizes.
    """

    equation: Darcy

    @cached_property
    def grid(self) -> Grid:  # type: ignore[override]
        """The square."""
        return Grid((space_axis(0, 0.0, 1.0, self.equation.nodes), space_axis(1, 0.0, 1.0, self.equation.nodes)))

    @property
    def unknowns(self) -> tuple[str, ...]:
        return self.equation.unknowns

    def offset(self, instances: Instances) -> Tensor:
        """Zero."""
        return torch.zeros(len(instances), 1, *self.grid.shape, dtype=torch.float64)

    def data_conditions(self) -> tuple[GridCondition, ...]:
        """Zeros on the sides."""
        return (GridCondition("boundary", 1.0 * Unknown("u"), self.grid.known()),)

    def features(self, instances: Instances) -> Tensor:
        """The logarithm of a, of unit variance."""
        return instances.inputs["a"].log()[:, None] / self.equation.contrast

    def parameters(self, generator: torch.Generator) -> Tensor:
        return torch.randn(MODES**2, generator=generator, dtype=torch.float64)

    def realize(self, parameters: Tensor) -> Instances:
        along = self.grid.axes[0].positions()
        return Instances(parameters, inputs={"a": self._permeability(parameters, (along, along))})

    def solve(self, instance: Instances) -> Tensor:
        cells = self.equation.nodes - 1
        refinement = math.ceil(REFERENCE_CELLS / cells)
        fine = cells * refinement
        at_nodes = torch.linspace(0.0, 1.0, fine + 1, dtype=torch.float64)
        halfway = (at_nodes[1:] + at_nodes[:-1]) / 2
        across_x = self._permeability(instance.parameters, (halfway, at_nodes[1:-1]))[0].numpy()
        across_y = self._permeability(instance.parameters, (at_nodes[1:-1], halfway))[0].numpy()
        found = np.pad(finite_volumes(across_x, across_y, np.ones((fine - 1, fine - 1))), 1)
        return torch.from_numpy(found[::refinement, ::refinement].copy())[None, None]

    def _permeability(self, parameters: Tensor, positions: tuple[Tensor, Tensor]) -> Tensor:
        """A at the product of positions (n,) and (m,): (B, n, m)."""
        coefficients = parameters.unflatten(1, (MODES, MODES))
        return (self.equation.contrast * cosine_series_2d(coefficients, positions, length=0.25)).exp()


def finite_volumes(across_x: np.ndarray, across_y: np.ndarray, forcing: np.ndarray) -> np.ndarray:
    """-∇·(a∇u) = f on the unit square with u = 0 on its sides, at the inner nodes of n × n cells.

    Args:
        across_x: a halfway between neighbors along x, (n, n - 1).
        across_y: a halfway between neighbors along y, (n - 1, n).
        forcing: f at the inner nodes, (n - 1, n - 1).

    Returns:
        u at the inner nodes, (n - 1, n - 1); the method is of second order.
    """
    n = len(across_x)
    difference = sparse.eye_array(n, n - 1) - sparse.eye_array(n, n - 1, k=-1)
    unit = sparse.eye_array(n - 1)
    along_x, along_y = sparse.kron(difference, unit), sparse.kron(unit, difference)
    flux_x, flux_y = sparse.diags_array(across_x.ravel()), sparse.diags_array(across_y.ravel())
    matrix = along_x.T @ flux_x @ along_x + along_y.T @ flux_y @ along_y
    return splu(sparse.csc_array(matrix)).solve(forcing.ravel() / n**2).reshape(n - 1, n - 1)
