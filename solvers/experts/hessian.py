"""Solves with the full Hessian of a sum of squares, by conjugate gradients with its Gauss-Newton part in front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.expr import Atom
from pinnx.solvers.experts.elimination import ASSEMBLED, Factor
from pinnx.solvers.experts.sharing import Sharing
from pinnx.solvers.experts.structure import Structure
from pinnx.solvers.experts.tables import Piece, Table, scatter


class Curvature:
    """The Hessian JᵀJ + Σ r ∇²r of half the sum of squares, by groups of rows.

    A residual is a function of few atoms, and these are linear in the coefficients; so its second-order part is a sum
    of few products of forms, one for each pair of atoms whose mixed derivative does not vanish.

    Args:
        tables: of this process.
        pieces: the condensed rows of all processes at omega, with those of the ridge.
        omega: (B, E, N).
        structure: of the mixture.
        sharing: this process among the others.
    """

    def __init__(
        self, tables: Sequence[Table], pieces: Sequence[Piece], omega: Tensor, structure: Structure, sharing: Sharing
    ):
        self.experts, self.coefficients = omega.shape[1:]
        self._first = [(piece.experts, piece.rows[..., :-1]) for piece in pieces]
        self._second = []
        for table in tables:
            if table.linear:
                continue
            experts = table.part.experts
            size = experts.shape[1] * self.coefficients
            whole = omega.new_zeros(len(omega), len(experts), size, size)
            if not table.empty:
                whole[:, table.part.groups] = _second_order(table, omega)
            self._second.append((experts, sharing.total(whole)))
        # in one piece only what hangs together: what is not finite must not reach other experts as 0 times NaN
        small = structure.parts == 1 and self.experts * self.coefficients <= ASSEMBLED
        self._matrix = self._assembled(omega) if small else None

    def __call__(self, vector: Tensor) -> Tensor:
        """The product with a vector (B, E, N)."""
        if self._matrix is not None:
            return (self._matrix @ vector.flatten(1)[..., None]).view_as(vector)
        result = torch.zeros_like(vector)
        for experts, rows in self._first:
            moved = rows @ vector[:, experts].flatten(-2)[..., None]
            result = result + scatter((rows.mT @ moved)[..., 0], experts, self.experts)
        for experts, matrix in self._second:
            moved = (matrix @ vector[:, experts].flatten(-2)[..., None])[..., 0]
            result = result + scatter(moved, experts, self.experts)
        return result

    def _assembled(self, like: Tensor) -> Tensor:
        """The whole Hessian of few coefficients, (B, E N, E N): products by groups would be many small ones."""
        count, n = self.experts, self.coefficients
        blocks = like.new_zeros(len(like), count * count, n, n)
        products = [(experts, rows.mT @ rows) for experts, rows in self._first]
        for experts, matrix in products + self._second:
            pairs = experts[:, :, None] * count + experts[:, None, :]
            width = experts.shape[1]
            parts = matrix.unflatten(-1, (width, n)).unflatten(-3, (width, n)).transpose(-3, -2)
            blocks.index_add_(1, pairs.flatten(), parts.flatten(1, 3))
        return blocks.unflatten(1, (count, count)).transpose(2, 3).reshape(len(like), count * n, count * n)


def _second_order(table: Table, omega: Tensor) -> Tensor:
    """The sum over the rows of each group of r ∇²r, (B, G, m N, m N)."""
    leaves = {atom: value.detach().requires_grad_() for atom, value in table.values(omega).items()}
    residual, slopes = table.slopes(leaves, differentiable=True)
    batch, groups, size = table.shape
    factor = residual.detach().view(batch, groups, size) * table.weight
    channels = [(atom, i) for atom, value in leaves.items() for i in range(value.shape[-1] if value.ndim == 3 else 1)]
    width = next(iter(table.forms.values())).shape[-1]
    result = omega.new_zeros(batch, groups, width, width)
    for place, (atom, i) in enumerate(channels):
        if not slopes[atom].requires_grad:
            continue
        with torch.enable_grad():
            slope = _channel(slopes[atom], i).sum()
            bent = torch.autograd.grad(slope, list(leaves.values()), retain_graph=True, allow_unused=True)
        mixed = dict(zip(leaves, bent, strict=True))
        for other, j in channels[place:]:
            second = mixed[other]
            if second is None or not bool((second != 0).any()):
                continue
            curve = factor * _channel(second, j).view(batch, groups, size)
            product = _form(table, atom, i).mT @ (curve[..., None] * _form(table, other, j))
            result += product if (other, j) == (atom, i) else product + product.mT
    return result


def _channel(values: Tensor, index: int) -> Tensor:
    """A scalar atom's values, or a component of a vector's: (B, n)."""
    return values if values.ndim == 2 else values[..., index]


def _form(table: Table, atom: Atom, index: int) -> Tensor:
    form = table.forms[atom]
    return form if form.ndim == 4 else form[..., index, :]


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
