"""Solves with the full Hessian of a sum of squares, by conjugate gradients with its Gauss-Newton part in front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.expr import Atom
from pinnx.solvers.experts.elimination import Factor
from pinnx.solvers.experts.sharing import Sharing
from pinnx.solvers.experts.structure import Structure
from pinnx.solvers.experts.tables import Table, scatter, total


class Curvature:
    """The Hessian JᵀJ + Σ r ∇²r of half the sum of squares, as an operator that never forms it."""

    def __init__(self, tables: Sequence[Table], structure: Structure, penalty: Tensor, omega: Tensor, sharing: Sharing):
        self.structure, self.penalty, self.sharing = structure, penalty, sharing
        self._parts: list[tuple[Table, Tensor, dict[Atom, Tensor], dict[Atom, Tensor]]] = []
        for table in tables:
            leaves = {atom: value.detach().requires_grad_() for atom, value in table.values(omega).items()}
            residual, slopes = table.slopes(leaves, differentiable=True)
            self._parts.append((table, residual.detach(), leaves, slopes))

    def __call__(self, vector: Tensor) -> Tensor:
        """The product with a vector (B, E, N)."""
        result = torch.zeros_like(vector)
        for table, residual, leaves, slopes in self._parts:
            moved = table.values(vector, offsets=False)
            bent: Sequence[Tensor | None] = [None] * len(leaves)
            with torch.enable_grad():  # a backward pass runs without
                along = total([_pointwise(slopes[atom], moved[atom]) for atom in moved])
                if along.requires_grad and not table.linear:
                    bent = torch.autograd.grad(
                        along, list(leaves.values()), residual, retain_graph=True, allow_unused=True
                    )
            along = along.detach()
            cotangents = {}
            for (atom, slope), second in zip(slopes.items(), bent, strict=True):
                first = slope.detach() * (along if slope.ndim == along.ndim else along[..., None])
                cotangents[atom] = first if second is None else first + second
            result = result + scatter(table.pull_back(cotangents), table.experts, self.structure.experts)
        return self.sharing.total(result) + self.penalty * vector


@final
@dataclass(frozen=True)
class Preconditioner:
    """RᵀR of a Jacobian.

    Attributes:
        factor: R, of scaled columns.
        scale: lengths of the columns, (B, E, N).
        structure: of the mixture.
    """

    factor: Factor
    scale: Tensor
    structure: Structure

    def solve(self, right: Tensor) -> Tensor:
        """(RᵀR)⁻¹ right, (B, E, N)."""
        return self.factor.solve(right / self.scale) / self.scale


def solve_hessian(
    product: Callable[[Tensor], Tensor],
    near: Preconditioner,
    right: Tensor,
    *,
    tolerance: float = 1e-13,
    iterations: int = 60,
) -> tuple[Tensor, Tensor]:
    """H⁻¹ v, component by component.

    Args:
        product: H times a vector (B, E, N).
        near: JᵀJ, which H is close to.
        right: v, (B, E, N).
        tolerance: of the residual, relative, in the norm that `near` induces.
        iterations: at most; one is enough where H = JᵀJ.

    Returns:
        The solution, and for which components it is one, (B, C): those that met no negative curvature and converged.
    """
    structure = near.structure

    def inner(left: Tensor, other: Tensor) -> Tensor:
        return structure.per_part((left * other).sum(-1))

    def spread(values: Tensor) -> Tensor:
        return values[:, structure.component, None]

    solution, residual = torch.zeros_like(right), right
    ready = near.solve(residual)
    direction, energy = ready, inner(residual, ready)
    first, sound = energy, torch.ones_like(energy, dtype=torch.bool)
    for _ in range(iterations):
        moved = product(direction)
        curvature = inner(direction, moved)
        open_ = energy > tolerance**2 * first
        sound &= (curvature > 0) | ~open_
        going = open_ & (curvature > 0)
        if not bool(going.any()):
            break
        length = torch.where(going, energy / curvature, torch.zeros_like(energy))
        solution = solution + spread(length) * direction
        residual = residual - spread(length) * moved
        ready = near.solve(residual)
        fresh = inner(residual, ready)
        direction = ready + spread(torch.where(going, fresh / energy, torch.zeros_like(energy))) * direction
        energy = torch.where(going, fresh, torch.zeros_like(fresh))
    return solution, sound & (energy <= tolerance**2 * first)


def _pointwise(slope: Tensor, moved: Tensor) -> Tensor:
    """The product, summed over the components of a vector atom: (B, n)."""
    return slope * moved if slope.ndim == 2 else (slope * moved).sum(-1)
