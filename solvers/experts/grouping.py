"""Which rows go together: points sorted by the experts that they touch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from pinnx.errors import InputError
from pinnx.expr import Atom, Coefficient, Evaluator, Expr, Number, Points, has_unknown
from pinnx.expr.nodes import ConstantVector
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
        width = self.experts.shape[1] * coefficients + 1
        if groups >= sharing.count or size < sharing.count:
            own = sharing.share(groups)
            mine = Groups(self.experts[own], self.index[own], self.real[own], self.slots[own])
            return mine, Part(self.experts, own, min(size, width))
        own, each = sharing.share(size), min(-(-size // sharing.count), width)
        mine = Groups(self.experts, self.index[:, own], self.real[:, own], self.slots[:, own])
        return mine, Part(self.experts, slice(0, groups), each * sharing.count, each * sharing.rank)

    def everything(self, points: int) -> bool:
        """Whether it is one group that holds so many points, all of them in order: nothing needs to be gathered."""
        if self.index.shape != (1, points):
            return False
        return bool((self.index[0] == torch.arange(points, device=self.index.device)).all())


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


def table(
    residual: Expr,
    rows: Rows,
    groups: Groups,
    weight: Tensor,
    recipes: Mapping[Atom, Recipe],
    sharing: Sharing,
    *,
    points: Points | None = None,
    signs: tuple[float, ...] = (),
) -> Table:
    """The rows of some groups.

    Args:
        residual: the expression.
        rows: bring forms, offsets and given values.
        groups: of the points of the rows.
        weight: factor of each squared residual, (1 or B, n).
        recipes: how each atom of the mixture is made of the forms.
        sharing: this process among the others.
        points: those of the rows, where the expression needs more of them than the rows have.
        signs: factor of the form of each slot; all 1 by default.
    """
    groups, part = groups.share(sharing, rows.coefficients)
    index = groups.index.flatten()
    everything = groups.everything(len(rows.points))

    def at(values: Tensor) -> Tensor:
        return (values if everything else values[:, index]).double()

    forms = {}
    for atom, recipe in recipes.items():
        slots = []
        for slot in range(groups.experts.shape[1]):
            parts = [_form(rows.forms[base], coefficient, groups, slot, everything) for base, coefficient in recipe]
            form = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
            slots.append(form * signs[slot] if signs and signs[slot] != 1 else form)
        forms[atom] = slots[0] if len(slots) == 1 else torch.cat(slots, dim=-1)
    weight = (weight if everything else weight[:, index]).view(len(weight), *groups.index.shape) * groups.real
    jump = bool(signs)  # what both sides have in common cancels
    points = rows.points if points is None else points
    return Table(
        residual=residual,
        points=(points if everything else points.rows(index)).to(torch.float64),
        experts=groups.experts,
        forms=forms,
        offsets={} if jump else {atom: at(rows.offsets[atom]) for atom in recipes if atom in rows.offsets},
        given={} if jump else {atom: at(value) for atom, value in rows.given.items()},
        weight=weight,
        part=part,
    )


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
    rows: Rows, members: Tensor, recipes: Mapping[Atom, Recipe], omega: Tensor, offsets: bool = True
) -> dict[Atom, Tensor]:
    """Atoms of the mixture at the points of rows, (B, n) or (B, n, d), differentiable in forms and coefficients.

    Args:
        rows: bring forms and offsets.
        members: the experts of each point, (n, m); -1 fills up.
        recipes: of the atoms that are asked for.
        omega: (B, E, N).
        offsets: whether to add the offsets.
    """
    result = {}
    for atom, recipe in recipes.items():
        total: Tensor | None = None
        for slot in range(members.shape[1]):
            here = members[:, slot]
            own = omega[:, here.clamp_min(0)]
            for base, coefficient in recipe:
                form = rows.forms[base].double()
                value = torch.einsum("bn...k,bnk->bn...", form, own)
                if coefficient is not None:
                    value = _weighted(value, coefficient[:, slot], atom)
                value = value * (here >= 0).view(-1, *(1,) * (value.ndim - 2))
                total = value if total is None else total + value
        assert total is not None
        result[atom] = total + rows.offsets[atom].double() if offsets and atom in rows.offsets else total
    return result


def same(atoms: Mapping[Atom, Any]) -> dict[Atom, Recipe]:
    """Recipes of a mixture without gates."""
    return {atom: ((atom, None),) for atom in atoms}


def _form(form: Tensor, coefficient: Tensor | None, groups: Groups, slot: int, everything: bool) -> Tensor:
    gathered = form[:, None] if everything else form[:, groups.index]
    gathered = gathered.double()
    if coefficient is None:
        return gathered
    place = groups.slots[..., slot]
    factor = coefficient[groups.index, place]
    if gathered.ndim == 4:  # a scalar atom; its coefficient may be a vector, for a gradient of the gate
        return factor[..., None] * gathered if factor.ndim == 2 else factor[..., :, None] * gathered[..., None, :]
    return factor[..., None, None] * gathered if factor.ndim == 2 else (factor[..., None] * gathered).sum(-2)


def _weighted(value: Tensor, coefficient: Tensor, atom: Atom) -> Tensor:
    if value.ndim == 2:
        return value * coefficient if coefficient.ndim == 1 else value[..., None] * coefficient
    return value * coefficient[:, None] if coefficient.ndim == 1 else (value * coefficient).sum(-1)


def _filled(index: Tensor, size: int) -> Tensor:
    return torch.cat([index, index[:1].expand(size - len(index))])
