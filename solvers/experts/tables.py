"""Rows sorted by the experts that they touch, and the pointwise algebra on them.

A row of a mixture touches few experts: one inside of a block, two at a face, those whose windows overlap. Rows that
touch the same experts form a group, and groups of one size a `Table`: dense tensors on which everything is batched,
while the Jacobian of all coefficients stays sparse by blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor

from pinnx.expr import Atom, Custom, Evaluator, Expr, Points, is_linear


@final
@dataclass(frozen=True)
class Piece:
    """Condensed rows of some experts, with the same squared norm for all coefficients as those they stand for.

    Attributes:
        experts: (G, m), the experts of each group.
        rows: (B, G, k, m N + 1): columns for the experts one after the other, then the residual.
    """

    experts: Tensor
    rows: Tensor


@final
@dataclass(frozen=True)
class Part:
    """Where the rows of this process stand among those of all processes, once they are condensed.

    Attributes:
        experts: of all groups, (G', m).
        groups: of this process.
        height: condensed rows per group, of all processes.
        first: the first condensed row of this process.
    """

    experts: Tensor
    groups: slice
    height: int
    first: int = 0


@final
@dataclass(frozen=True)
class Table:
    """G groups of P rows; each group touches m experts with N coefficients each.

    Attributes:
        residual: the expression.
        points: G·P points; repeated where a group has fewer.
        experts: (G, m).
        forms: per atom (B, G, P, m N), or (B, G, P, d, m N) for a gradient.
        offsets: per atom (B or 1, G·P), or (…, d).
        given: values of the atoms of inputs, likewise.
        weight: factor of each squared residual, (B or 1, G, P); zero where a point is only a repetition.
        part: which rows of all processes these are.
    """

    residual: Expr
    points: Points
    experts: Tensor
    forms: Mapping[Atom, Tensor]
    offsets: Mapping[Atom, Tensor]
    given: Mapping[Any, Tensor]
    weight: Tensor
    part: Part

    @property
    def empty(self) -> bool:
        """Whether no rows have fallen to this process."""
        return self.weight.numel() == 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, G, P."""
        form = next(iter(self.forms.values()))
        return form.shape[0], form.shape[1], form.shape[2]

    @cached_property
    def linear(self) -> bool:
        """Whether the residual is affine in the coefficients."""
        return is_linear(self.residual)

    @cached_property
    def _constant_slopes(self) -> dict[Atom, Tensor]:
        """The slopes of a linear residual, which are the same everywhere."""
        zeros = {atom: torch.zeros_like(form[..., 0]).flatten(1, 2) for atom, form in self.forms.items()}
        return self._slopes(zeros, differentiable=False)[1]

    def detached(self) -> Table:
        """The same numbers, without history."""
        return replace(
            self,
            forms=_detached(self.forms),
            offsets=_detached(self.offsets),
            given=_detached(self.given),
            weight=self.weight.detach(),
        )

    def instances(self, index: Tensor) -> Table:
        """The table of some instances, (b,) integers."""

        def some(values: Mapping[Any, Tensor]) -> dict[Any, Tensor]:
            return {key: value[index] if len(value) > 1 else value for key, value in values.items()}

        weight = self.weight[index] if len(self.weight) > 1 else self.weight
        forms = {atom: form[index] for atom, form in self.forms.items()}
        return replace(self, forms=forms, offsets=some(self.offsets), given=some(self.given), weight=weight)

    def some_groups(self, keep: Tensor) -> Table:
        """The table with some of its groups.

        Args:
            keep: which, among those of all processes, (G',) bool.
        """
        if bool(keep.all()):
            return self
        own = keep[self.part.groups].nonzero()[:, 0]
        start, size = int(keep[: self.part.groups.start].sum()), self.weight.shape[2]
        rows = (own[:, None] * size + torch.arange(size, device=own.device)).flatten()
        part = Part(self.part.experts[keep], slice(start, start + len(own)), self.part.height, self.part.first)
        return replace(
            self,
            points=self.points.rows(rows),
            experts=self.experts[own],
            forms={atom: form[:, own] for atom, form in self.forms.items()},
            offsets={atom: offset[:, rows] for atom, offset in self.offsets.items()},
            given={key: value[:, rows] for key, value in self.given.items()},
            weight=self.weight[:, own],
            part=part,
        )

    def local(self, omega: Tensor) -> Tensor:
        """The coefficients of each group's experts one after the other: (B, E, N) -> (B, G, m N)."""
        return omega[:, self.experts].flatten(-2)

    def values(self, omega: Tensor, *, offsets: bool = True) -> dict[Atom, Tensor]:
        """The atoms of the unknowns, (B, G·P) or (B, G·P, d) each.

        Args:
            omega: (B, E, N).
            offsets: whether to add the offsets.
        """
        local, result = self.local(omega), {}
        for atom, form in self.forms.items():
            vector = local if form.ndim == 4 else local[:, :, None]
            value = (
                torch.einsum("...pk,...k->...p", form, vector) if form.ndim == 4 else (form @ vector[..., None])[..., 0]
            )
            value = value.flatten(1, 2)
            result[atom] = value + self.offsets[atom] if offsets and atom in self.offsets else value
        return result

    def evaluate(self, values: Mapping[Atom, Tensor]) -> Tensor:
        """The residual, (B, G·P)."""
        batch, groups, size = self.shape
        known = {**self.given, **values}
        if any(isinstance(node, Custom) for node in self.residual.walk()):  # such functions expect one value per point
            keys = list(known)

            def single(*parts: Tensor) -> Tensor:
                return Evaluator(self.points, dict(zip(keys, parts, strict=True)))(self.residual)

            axes = tuple(0 if len(known[key]) > 1 or batch == 1 else None for key in keys)
            parts = [known[key] if axis == 0 else known[key][0] for key, axis in zip(keys, axes, strict=True)]
            result = torch.func.vmap(single, in_dims=axes)(*parts)
        else:
            result = Evaluator(self.points, known)(self.residual)
        return result.expand(batch, groups * size)

    def residuals(self, omega: Tensor) -> Tensor:
        """The residuals times the roots of their weights, (B, G, P)."""
        batch, groups, size = self.shape
        return self.evaluate(self.values(omega)).view(batch, groups, size) * self.weight.sqrt()

    def slopes(
        self, values: Mapping[Atom, Tensor], *, differentiable: bool = False
    ) -> tuple[Tensor, dict[Atom, Tensor]]:
        """The residual (B, G·P), and its derivative in every atom's value.

        Args:
            values: of the atoms of the unknowns.
            differentiable: whether the results keep their history, where there is any.
        """
        differentiable &= torch.is_grad_enabled() or any(value.requires_grad for value in values.values())
        if self.linear and not differentiable:
            return self.evaluate(values), self._constant_slopes
        return self._slopes(values, differentiable=differentiable)

    def _slopes(self, values: Mapping[Atom, Tensor], *, differentiable: bool) -> tuple[Tensor, dict[Atom, Tensor]]:
        with torch.enable_grad():
            leaves = {
                a: v if differentiable and v.requires_grad else v.detach().requires_grad_() for a, v in values.items()
            }
            residual = self.evaluate(leaves)
            if not residual.requires_grad:
                return residual, {atom: torch.zeros_like(value) for atom, value in values.items()}
            found = torch.autograd.grad(
                residual.sum(), list(leaves.values()), create_graph=differentiable, allow_unused=True
            )
        slopes = {
            atom: torch.zeros_like(value) if slope is None else slope
            for (atom, value), slope in zip(leaves.items(), found, strict=True)
        }
        return (residual if differentiable else residual.detach()), slopes

    def jacobian(self, omega: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted residuals (B, G, P), and their Jacobian (B, G, P, m N)."""
        batch, groups, size = self.shape
        residual, slopes = self.slopes(self.values(omega))
        root = self.weight.sqrt()
        result = total([_times(slopes[atom], form) for atom, form in self.forms.items()])
        return residual.view(batch, groups, size) * root, result * root[..., None]

    def gradient(self, omega: Tensor) -> Tensor:
        """Jᵀr of half the sum of squares, (B, G, m N), differentiable in forms, offsets and given values."""
        values = self.values(omega)
        residual, slopes = self.slopes(values, differentiable=True)
        return self.pull_back({a: s * _like(residual, s) for a, s in slopes.items()})

    def squares_and_gradient(self, omega: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sum of squares (B, G), and Jᵀr (B, G, m N), without history."""
        batch, groups, size = self.shape
        residual, slopes = self.slopes(self.values(omega))
        squares = (residual.view(batch, groups, size).square() * self.weight).sum(-1)
        return squares, self.pull_back({atom: slope * _like(residual, slope) for atom, slope in slopes.items()})

    def column_squares(self, omega: Tensor) -> Tensor:
        """The squared lengths of the columns of J, (B, G, m N), differentiable like `gradient`."""
        _, slopes = self.slopes(self.values(omega), differentiable=True)
        jacobian = total([_times(slopes[atom], form) for atom, form in self.forms.items()])
        return (jacobian.square() * self.weight[..., None]).sum(-2)

    def pull_back(self, cotangents: Mapping[Atom, Tensor]) -> Tensor:
        """Σ formᵀ (weight · cotangent), (B, G, m N), for cotangents of the atoms' values."""
        total: Tensor | None = None
        for atom, form in self.forms.items():
            cotangent = cotangents[atom]
            shaped = cotangent.view(*form.shape[:-1])
            weight = self.weight if shaped.ndim == 3 else self.weight[..., None]
            weighted = (shaped * weight).reshape(*form.shape[:2], 1, -1)
            term = (weighted @ form.reshape(*form.shape[:2], -1, form.shape[-1]))[:, :, 0]
            total = term if total is None else total + term
        assert total is not None
        return total


def scatter(local: Tensor, experts: Tensor, count: int) -> Tensor:
    """The sums over groups of what belongs to each expert: (B, G, m N) and (G, m) -> (B, E, N)."""
    batch, groups, _ = local.shape
    slots = local.reshape(batch, groups * experts.shape[1], -1)
    result = slots.new_zeros(batch, count, slots.shape[-1])
    return result.index_add(1, experts.flatten(), slots)


@final
@dataclass(frozen=True)
class Condensed:
    """The rows of a table at some coefficients.

    Attributes:
        rows: at most m N + 1 for each group, with the same products: (B, G, k, m N + 1), the residual last.
        cost: half the sum of squares, (B, G).
        gradient: Jᵀr, (B, G, m N).
        squares: of the lengths of the columns of J, (B, G, m N).
    """

    rows: Tensor
    cost: Tensor
    gradient: Tensor
    squares: Tensor


def condense(table: Table, omega: Tensor, factorization: str) -> Condensed:
    """Replace the rows of each group by few that stand for them.

    Args:
        table: without history.
        omega: (B, E, N).
        factorization: "qr" or "gram".
    """
    residual, jacobian = table.jacobian(omega)
    gradient = (residual[..., None, :] @ jacobian)[..., 0, :]
    rows = torch.cat([jacobian, residual[..., None]], dim=-1)
    if rows.shape[-2] > rows.shape[-1]:
        rows = torch.linalg.qr(rows, mode="r").R if factorization == "qr" else _by_gram(rows)
    return Condensed(rows, 0.5 * residual.square().sum(-1), gradient, jacobian.square().sum(-2))


def _by_gram(rows: Tensor) -> Tensor:
    """An upper triangle R with RᵀR = rowsᵀ rows, up to a relative perturbation of about 1e-14 that keeps it regular."""
    gram = rows.mT @ rows
    scale = gram.diagonal(dim1=-2, dim2=-1).sqrt()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    gram = gram / scale[..., :, None] / scale[..., None, :]
    gram.diagonal(dim1=-2, dim2=-1).add_(4e-16 * gram.shape[-1])
    factor, info = torch.linalg.cholesky_ex(gram, upper=True)
    if bool((info > 0).any()):
        gram.diagonal(dim1=-2, dim2=-1).add_(1e-13 * gram.shape[-1])
        factor, info = torch.linalg.cholesky_ex(gram, upper=True)
    return torch.where((info > 0)[..., None, None], torch.full_like(factor, torch.nan), factor) * scale[..., None, :]


def _detached(values: Mapping[Any, Tensor]) -> dict[Any, Tensor]:
    return {key: value.detach() for key, value in values.items()}


def _like(residual: Tensor, slope: Tensor) -> Tensor:
    return residual if slope.ndim == residual.ndim else residual[..., None]


def _times(slope: Tensor, form: Tensor) -> Tensor:
    """(B, G·P) or (B, G·P, d) times the form, summed over d: (B, G, P, m N)."""
    shaped = slope.view(*form.shape[:-1])
    return shaped[..., None] * form if form.ndim == 4 else (shaped[..., None, :] @ form)[..., 0, :]


def total(parts: Sequence[Tensor]) -> Tensor:
    """Their sum."""
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result
