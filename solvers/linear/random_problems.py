"""Random systems: obstacles, mixed boundary conditions and jumps of the coefficient, each system with its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pinnx.errors import InputError
from pinnx.solvers.linear.stencil import GridOperator, grid_operator

#: Draws of one system's obstacles before giving up.
_ATTEMPTS = 200


def random_obstacle_problem(
    grid: Sequence[int],
    systems: int,
    *,
    generator: torch.Generator,
    obstacle_fraction: tuple[float, float] = (0.2, 0.3),
    contrast: float = 1e3,
    regions: int = 6,
    obstacles: str = "mixed",
    dtype: torch.dtype = torch.float64,
) -> GridOperator:
    """A batch of positive definite systems -div(c ∇u) on a grid of cells with unit spacing.

    Each system has boxes and balls of random size as obstacles until they cover a part of the cells drawn uniformly
    from `obstacle_fraction`; on each side Dirichlet or Neumann conditions by the toss of a coin, at least one side
    Dirichlet; obstacle walls of one kind; and a coefficient that is 1 outside a few regions and contrast^U, U uniform
    in [0, 1], inside. Cells that nothing would hold, such as the inside of a ring of Neumann walls, become obstacles.

    Args:
        grid: cells along each of one to three axes.
        systems: their number.
        generator: draws everything.
        obstacle_fraction: the least and largest part of cells that are obstacles.
        contrast: largest ratio of two coefficients.
        regions: number of regions with other coefficients.
        obstacles: "dirichlet", "neumann", or "mixed": drawn per system.
        dtype: of the weights.

    Raises:
        InputError: an argument is out of range, or the fraction cannot be met on so small a grid.
    """
    low, high = obstacle_fraction
    if not 0 <= low <= high < 1:
        raise InputError(f"obstacle_fraction must be 0 <= low <= high < 1, got {obstacle_fraction}")
    if obstacles not in ("dirichlet", "neumann", "mixed"):
        raise InputError(f"obstacles must be 'dirichlet', 'neumann' or 'mixed', got {obstacles!r}")
    if not 1 <= contrast < math.inf or systems < 1:
        raise InputError(f"contrast and systems must be at least 1, got {contrast} and {systems}")
    grid = tuple(grid)
    drawn = [_system(grid, (low, high), obstacles, generator) for _ in range(systems)]
    masks, sides, holds = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    exponents = torch.stack([_exponents(grid, regions, generator) for _ in range(systems)])
    coefficient = contrast**exponents
    return grid_operator(grid, coefficient=coefficient, mask=masks, sides=sides, obstacles=holds, dtype=dtype)


def random_right_hand_sides(operator: GridOperator, columns: int, *, generator: torch.Generator) -> Tensor:
    """Standard normal right-hand sides, zero in obstacles: (columns, n); columns = systems where there are several."""
    b = torch.randn(columns, operator.shape[0], generator=generator, dtype=torch.float64).to(operator.dtype)
    return b * operator.mask.flatten(1)


def _system(
    grid: tuple[int, ...], limits: tuple[float, float], obstacles: str, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Mask, sides (axes, 2) and whether obstacles are Dirichlet, of one system."""
    for _ in range(_ATTEMPTS):
        sides = torch.rand(len(grid), 2, generator=generator) < 0.5
        if not bool(sides.any()):
            sides[int(torch.randint(len(grid), (), generator=generator)), 0] = True
        hold = torch.rand((), generator=generator) < 0.5 if obstacles == "mixed" else torch.tensor(obstacles[0] == "d")
        target = limits[0] + (limits[1] - limits[0]) * float(torch.rand((), generator=generator))
        mask = torch.ones(grid, dtype=torch.bool)
        while float((~mask).double().mean()) < target:
            mask &= ~_shape(grid, generator, largest=0.25)
        operator = grid_operator(grid, mask=mask, sides=sides[None], obstacles="dirichlet" if hold else "neumann")
        labels = operator.null_labels()
        if labels is not None:
            mask &= labels.reshape(grid) == 0
        if bool(mask.any()) and limits[0] <= float((~mask).double().mean()) <= limits[1]:
            return mask, sides, hold
    raise InputError(f"no obstacles cover {limits[0]} to {limits[1]} of a grid of {grid} cells in {_ATTEMPTS} attempts")


def _exponents(grid: tuple[int, ...], regions: int, generator: torch.Generator) -> Tensor:
    """Zero outside the regions, a uniform number inside each: (*grid)."""
    exponents = torch.zeros(grid, dtype=torch.float64)
    for _ in range(regions):
        inside = _shape(grid, generator, largest=0.5)
        exponents[inside] = float(torch.rand((), generator=generator))
    return exponents


def _shape(grid: tuple[int, ...], generator: torch.Generator, largest: float) -> Tensor:
    """A box or an ellipsoid whose extents are uniform up to a part `largest` of the grid's, as a boolean grid."""
    draws = torch.rand(2, len(grid), generator=generator, dtype=torch.float64)
    ball = bool(torch.rand((), generator=generator) < 0.5)
    distances = []
    for size, place, extent in zip(grid, *draws.tolist(), strict=True):
        radius = max(0.5, 0.5 * largest * extent * size)
        centers = torch.arange(size, dtype=torch.float64) + 0.5
        distances.append((centers - place * size) / radius)
    axes = torch.meshgrid(*distances, indexing="ij")
    if ball:
        return sum((axis**2 for axis in axes), torch.zeros(grid, dtype=torch.float64)) <= 1
    return torch.stack([axis.abs() <= 1 for axis in axes]).all(0)
