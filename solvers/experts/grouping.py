"""Which rows go together: points sorted by the experts that they touch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor

from pinnx.errors import InputError
from pinnx.expr import Atom, Coefficient, Evaluator, Expr, Number, Points, has_unknown
from pinnx.expr.nodes import ConstantVector
from pinnx.solvers.experts.gathering import taken
from pinnx.solvers.experts.rows import Rows
from pinnx.solvers.experts.sharing import Sharing
from pinnx.solvers.experts.tables import Part, Table


@final
@dataclass(frozen=True)
class Groups:
    """G groups of at most P points, each of which touches m experts.

    Attributes:
        experts: (G, m).
        index: the points of each group, (G, P); where a group has fewer, one of them again.
        real: where `index` is no such repetition, (G, P) bool.
        slots: place of each expert in the membership of each point, (G, P, m).
    """

    experts: Tensor
    index: Tensor
    real: Tensor
    slots: Tensor

    def share(self, sharing: Sharing, coefficients: int) -> tuple[Groups, Part]:
        """This process's share: some of the groups, or where they are few some points of each.

        Args:
            sharing: this process among the others.
            coefficients: number N of each expert's.
        """
        groups, size = self.index.shape
        if sharing.count == 1:
            return self, Part(self.experts, slice(0, groups), min(size, self.experts.shape[1] * coefficients + 1))
        width = self.experts.shape[1] * coefficients + 1
        if groups >= sharing.count or size < sharing.count:
            own = sharing.share(groups)
            mine = Groups(self.experts[own], self.index[own], self.real[own], self.slots[own])
            return mine, Part(self.experts, own, min(size, width))
        own, each = sharing.share(size), min(-(-size // sharing.count), width)
        mine = Groups(self.experts, self.index[:, own], self.real[:, own], self.slots[:, own])
        return mine, Part(self.experts, slice(0, groups), each * sharing.count, each * sharing.rank)

    @cached_property
    def shared(self) -> bool:
        """Whether all groups hold the same points in order."""
        return bool((self.index == torch.arange(self.index.shape[1], device=self.index.device)).all())


@final
@dataclass(frozen=True)
class Sorted:
    """Points sorted by groups.

    Attributes:
        groups: of one size each.
        points: number n of points.
    """

    groups: tuple[Groups, ...]
    points: int

    @cached_property
    def index(self) -> Tensor:
        """The points of all groups one after the other, (k,)."""
        return torch.cat([each.index.flatten() for each in self.groups])

    @cached_property
    def back(self) -> Tensor:
        """The place of each point in `index`, repetitions apart, (n,); -1 for a point of no group."""
        result = self.index.new_full((self.points,), -1)
        real = self._real.nonzero()[:, 0]
        result[self.index[real]] = real
        return result

    @cached_property
    def owners(self) -> Tensor:
        """The point of each place of `index`, or -1 at a repetition, (k,)."""
        return torch.where(self._real, self.index, -1)

    @cached_property
    def once(self) -> bool:
        """Whether no point belongs to two groups."""
        return bool(self.index[self._real].bincount().le(1).all())

    @cached_property
    def _real(self) -> Tensor:
        return torch.cat([each.real.flatten() for each in self.groups])

    @cached_property
    def whole(self) -> bool:
        """Whether every group holds all points in order."""
        return len(self.groups) == 1 and self.groups[0].shared and self.groups[0].index.shape[1] == self.points

    def split(self, values: Tensor) -> list[Tensor]:
        """What belongs to the points, (B, n, …), as (B, G, P, …) for each of the groups."""
        shapes = [each.index.shape for each in self.groups]
        if self.whole:
            return [values[:, None].expand(-1, shapes[0][0], *values.shape[1:])]
        sorted_values = taken(values, self.index, self.back) if self.once else values[:, self.index]
        parts = sorted_values.split([each.index.numel() for each in self.groups], dim=1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """(B, G, P, …) for each of the groups as (B, n, …), zero at points of no group; not for groups that share
        points."""
        flat = [part.flatten(1, 2) for part in parts]
        return taken(torch.cat(flat, 1), self.back, self.owners)

    def of_process(self, sharing: Sharing, coefficients: int) -> tuple[Sorted, list[Part]]:
        """This process's share of all groups."""
        if sharing.count == 1:
            return self, [each.share(sharing, coefficients)[1] for each in self.groups]
        shares = [each.share(sharing, coefficients) for each in self.groups]
        return Sorted(tuple(own for own, _ in shares), self.points), [part for _, part in shares]


def group(members: Tensor) -> tuple[Groups, ...]:
    """Sort points by the experts that they touch.

    Args:
        members: (n, m), the experts of each point; -1 fills up.
    """
    ordered, slots = members.cpu().sort(dim=1, descending=True)
    signatures, inverse = ordered.unique(dim=0, return_inverse=True)
    sizes = torch.bincount(inverse, minlength=len(signatures))
    by_signature = inverse.argsort(stable=True).split(sizes.tolist())
    touched = (signatures >= 0).sum(1)
    # groups of one table are filled up to the largest: they must not differ much in size
    classes: dict[tuple[int, int], list[int]] = {}
    for number, (count, size) in enumerate(zip(touched.tolist(), sizes.tolist(), strict=True)):
        classes.setdefault((count, (4 * size).bit_length()), []).append(number)
    result = []
    for (count, _), numbers in classes.items():
        if count == 0:
            continue
        longest = max(int(sizes[number]) for number in numbers)
        index = torch.stack([_filled(by_signature[number], longest) for number in numbers])
        real = torch.stack([torch.arange(longest) < sizes[number] for number in numbers])
        found = Groups(signatures[numbers, :count], index, real, slots[index][..., :count])
        result.append(Groups(*(getattr(found, name).to(members.device) for name in Groups.__dataclass_fields__)))
    return tuple(result)


def everywhere(points: int, experts: int, device: torch.device) -> Groups:
    """All points, for each expert by itself."""
    index = torch.arange(points, device=device).expand(experts, points)
    numbers = torch.arange(experts, device=device)[:, None]
    return Groups(numbers, index, torch.ones_like(index, dtype=torch.bool), torch.zeros_like(index)[..., None])


#: How an atom of gate · f is made of atoms of f: pairs of such an atom, and its coefficient per point and slot, (n, m),
#: or (n, m, d) for a sum over a gradient's components; no coefficient stands for 1.
Recipe = tuple[tuple[Atom, Tensor | None], ...]


def tables(
    residual: Expr,
    rows: Rows,
    placed: Sorted,
    weight: Tensor,
    recipes: Mapping[Atom, Recipe],
    sharing: Sharing,
    *,
    points: Points | None = None,
    signs: tuple[float, ...] = (),
) -> list[Table]:
    """The rows of some groups.

    Args:
        residual: the expression.
        rows: bring forms, offsets and given values.
        placed: the points of the rows, sorted.
        weight: factor of each squared residual, (1 or B, n).
        recipes: how each atom of the mixture is made of the forms.
        sharing: this process among the others.
        points: those of the rows, where the expression needs more of them than the rows have.
        signs: factor of the form of each slot; all 1 by default.
    """
    own, parts = placed.of_process(sharing, rows.coefficients)
    bases = dict.fromkeys(base for recipe in recipes.values() for base, _ in recipe)
    sorted_forms = {base: own.split(rows.forms[base].double()) for base in bases}
    points = rows.points if points is None else points
    result = []
    for number, (groups, part) in enumerate(zip(own.groups, parts, strict=True)):
        everything, index = own.whole and len(groups.index) == 1, groups.index.flatten()

        def at(values: Tensor, index: Tensor = index, everything: bool = everything) -> Tensor:
            return (values if everything else values[:, index]).double()

        here = {base: split[number] for base, split in sorted_forms.items()}
        jump = bool(signs)  # what both sides have in common cancels
        result.append(
            Table(
                residual=residual,
                points=(points if everything else points.rows(index)).to(torch.float64),
                experts=groups.experts,
                forms={atom: _slots(recipe, here, groups, signs) for atom, recipe in recipes.items()},
                offsets={} if jump else {atom: at(rows.offsets[atom]) for atom in recipes if atom in rows.offsets},
                given={} if jump else {atom: at(value) for atom, value in rows.given.items()},
                weight=at(weight).view(len(weight), *groups.index.shape) * groups.real,
                part=part,
            )
        )
    return result


def known_parts(expr: Expr, points: Points) -> tuple[Expr, Points]:
    """An expression whose parts that depend on the point alone are read from the points.

    A solve evaluates the expression many times, a training at the same points in every step; these parts, which may
    hold derivatives of known functions, are evaluated once.

    Args:
        expr: the expression.
        points: n points.

    Returns:
        The expression, and the points in float64 with further tensors in `extra`.
    """
    points = points.to(torch.float64)
    evaluate, extra = Evaluator(points), dict(points.extra)

    def visit(part: Expr) -> Expr:
        if isinstance(part, (Number, ConstantVector)):
            return part
        value = None
        if not has_unknown(part):
            with contextlib.suppress(InputError):  # inputs of the instances have no value here
                value = evaluate(part)
        if value is None:
            return part.rebuild(tuple(visit(child) for child in part.children)) if part.children else part
        if value.requires_grad:  # a parameter that is being trained must stay in sight
            return part
        name = f"known part {len(extra)}"
        extra[name] = value.expand(len(points), *value.shape[1:]) if value.ndim else value.expand(len(points))
        return Coefficient(name, lambda some: some.extra[name], rank=part.rank)

    changed = visit(expr)
    return changed, Points(points.tensor, points.coordinates, extra)


def mixed(
    rows: Rows, placed: Sorted, recipes: Mapping[Atom, Recipe], omega: Tensor, offsets: bool = True
) -> dict[Atom, Tensor]:
    """Atoms of the mixture at the points of rows, (B, n) or (B, n, d), differentiable in forms and coefficients.

    Args:
        rows: bring forms and offsets.
        placed: their points, sorted by the experts that the mixture consists of there.
        recipes: of the atoms that are asked for.
        omega: (B, E, N).
        offsets: whether to add the offsets.
    """
    bases = dict.fromkeys(base for recipe in recipes.values() for base, _ in recipe)
    sorted_forms = {base: placed.split(rows.forms[base].double()) for base in bases}
    parts: dict[Atom, list[Tensor]] = {atom: [] for atom in recipes}
    for number, groups in enumerate(placed.groups):
        local = omega[:, groups.experts].mT[:, :, None]  # (B, G, 1, N, m)
        values = {}
        for base, split in sorted_forms.items():
            form = split[number]  # a row of the product for each point, and for each component of a gradient
            values[base] = (form.flatten(2, -2)[:, :, None] @ local)[:, :, 0].unflatten(2, form.shape[2:-1])
        for atom, recipe in recipes.items():
            terms = [_weighted(values[base], _places(coefficient, groups)) for base, coefficient in recipe]
            parts[atom].append(torch.stack(terms).sum(0) if len(terms) > 1 else terms[0])
    result = {}
    for atom, found in parts.items():
        total = found[0][:, 0] if placed.whole else placed.join(found)
        result[atom] = total + rows.offsets[atom].double() if offsets and atom in rows.offsets else total
    return result


def same(atoms: Mapping[Atom, Any]) -> dict[Atom, Recipe]:
    """Recipes of a mixture without gates."""
    return {atom: ((atom, None),) for atom in atoms}


def _places(coefficient: Tensor | None, groups: Groups) -> Tensor | None:
    """A coefficient per point and member as one per row and slot of some groups: (G, P, m) or (G, P, m, d)."""
    if coefficient is None:
        return None
    return coefficient[groups.index[..., None], groups.slots]


def _slots(recipe: Recipe, forms: Mapping[Atom, Tensor], groups: Groups, signs: tuple[float, ...]) -> Tensor:
    """The form of an atom of the mixture in the coefficients of all slots: (B, G, P, m N), or (B, G, P, d, m N)."""
    known = [(forms[base], _places(coefficient, groups)) for base, coefficient in recipe]
    slots = []
    for slot in range(groups.experts.shape[1]):
        terms = [form if factor is None else _scaled(form, factor[:, :, slot]) for form, factor in known]
        total = terms[0] if len(terms) == 1 else torch.stack(terms).sum(0)
        slots.append(total * signs[slot] if signs and signs[slot] != 1 else total)
    return slots[0] if len(slots) == 1 else torch.cat(slots, dim=-1)


def _scaled(form: Tensor, factor: Tensor) -> Tensor:
    """A form (B, G, P, N) or (B, G, P, d, N) times a factor (G, P) or (G, P, d)."""
    if form.ndim == 4:  # a scalar atom; its coefficient may be a vector, for a gradient of the gate
        return factor[..., None] * form if factor.ndim == 2 else factor[..., :, None] * form[..., None, :]
    return factor[..., None, None] * form if factor.ndim == 2 else (factor[..., None] * form).sum(-2)


def _weighted(values: Tensor, factor: Tensor | None) -> Tensor:
    """Values (B, G, P, m) or (B, G, P, d, m) times a factor (G, P, m) or (G, P, m, d), summed over the slots m."""
    if factor is None:
        return values.sum(-1)
    if values.ndim == 4:
        return (values * factor).sum(-1) if factor.ndim == 3 else (values[..., None] * factor).sum(-2)
    return (values * factor[:, :, None]).sum(-1) if factor.ndim == 3 else (values.mT * factor).sum((-1, -2))


def _filled(index: Tensor, size: int) -> Tensor:
    return torch.cat([index, index[:1].expand(size - len(index))])
