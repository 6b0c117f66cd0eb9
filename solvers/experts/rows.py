"""What must vanish: residuals at points, with the atoms of the unknowns as affine forms of the coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from pinnx.errors import InputError, ShapeError, UnsupportedError
from pinnx.expr import Atom, Expr, Points, atoms, with_explicit_values

Role = Literal["equation", "condition", "interface"]


@final
@dataclass(frozen=True)
class Rows:
    """Residuals of a batch of B instances at n points that all of them share.

    Every atom of an unknown u = c + Σ_j ω_j b_j is affine in the coefficients ω (N,): atom(u) = offset + form · ω,
    where offset is the atom of c, and column j of form that of b_j. Several unknowns may share the coefficients.

    Attributes:
        residual: the expression that vanishes for the solution, in atoms of the unknowns and of inputs.
        points: n points.
        forms: per atom of an unknown (B, n, N), or (B, n, d, N) for a gradient; the layer is differentiable in them.
        offsets: per atom (B, n), or (B, n, d); those that are missing are zero.
        given: values of the atoms of inputs, (B, n), or (B, n, d) for a gradient.
        weight: factor of the squared residual: a number, (n,) or (B, n). Minimized is the sum over all `Rows` of
            the mean over their points.
        role: "equation"; "condition" for initial and boundary data, which independent experts may see everywhere;
            "interface" for points on the faces between blocks, whose residual is not used.

    Raises:
        InputError: an atom of the residual has no form, or the residual is a vector.
        ShapeError: shapes do not agree.
    """

    residual: Expr
    points: Points
    forms: Mapping[Atom, Tensor]
    offsets: Mapping[Atom, Tensor] = field(default_factory=dict)
    given: Mapping[Any, Tensor] = field(default_factory=dict)
    weight: Tensor | float = 1.0
    role: Role = "equation"

    def __post_init__(self) -> None:
        object.__setattr__(self, "residual", with_explicit_values(self.residual))
        if self.residual.rank:
            raise UnsupportedError(f"a residual must be a scalar, got the vector {self.residual}")
        if not self.forms:
            raise InputError("rows need the form of at least one atom of an unknown")
        missing = [] if self.role == "interface" else [a for a in self.atoms if a not in self.forms]
        if missing:
            known = ", ".join(str(atom) for atom in self.forms)
            raise InputError(f"no form for {', '.join(map(str, missing))} of the residual {self.residual}; got {known}")
        self._check_shapes()

    @property
    def batch(self) -> int:
        """Number B of instances."""
        return next(iter(self.forms.values())).shape[0]

    @property
    def coefficients(self) -> int:
        """Number N of basis functions."""
        return next(iter(self.forms.values())).shape[-1]

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """The atoms of unknowns in the residual."""
        return atoms(self.residual)

    def at(self, places: Tensor) -> Rows:
        """The rows at some of the points, (k,) integers; a weight that varies with the point goes with them."""
        weight = self.weight
        if isinstance(weight, Tensor) and weight.ndim:
            weight = weight[..., places]

        def some(values: Mapping[Any, Tensor]) -> dict[Any, Tensor]:
            return {atom: value[:, places] for atom, value in values.items()}

        return replace(
            self,
            points=self.points.rows(places),
            forms=some(self.forms),
            offsets=some(self.offsets),
            given=some(self.given),
            weight=weight,
        )

    def instances(self, index: Tensor) -> Rows:
        """The rows of some of the instances.

        Args:
            index: which, (b,) integers.
        """
        weight = self.weight
        if isinstance(weight, Tensor) and weight.ndim == 2 and len(weight) > 1:
            weight = weight[index]

        def some(values: Mapping[Any, Tensor]) -> dict[Any, Tensor]:
            return {atom: value[index] if len(value) > 1 else value for atom, value in values.items()}

        forms = {atom: form[index] for atom, form in self.forms.items()}
        return replace(self, forms=forms, offsets=some(self.offsets), given=some(self.given), weight=weight)

    def _check_shapes(self) -> None:
        n, batch, count = len(self.points), self.batch, self.coefficients
        for atom, form in self.forms.items():
            expected = (batch, n, *(("d",) if atom.rank else ()), count)
            _check(form, expected, f"the form of {atom}")
        for name, values in (("offset", self.offsets), ("value", self.given)):
            for atom, tensor in values.items():
                _check(tensor, (batch, n, *(("d",) if atom.rank else ())), f"the {name} of {atom}")
        stray = [atom for atom in self.offsets if atom not in self.forms]
        if stray:
            raise InputError(f"an offset of {stray[0]}, which has no form")
        weight = self.weight
        if isinstance(weight, Tensor) and weight.ndim:
            _check(weight, (n,) if weight.ndim == 1 else (batch, n), "the weight")


def _check(tensor: Tensor, expected: tuple[int | str, ...], name: str) -> None:
    """Compare a shape with the one expected; the batch axis, the first of at least two, may also be 1."""
    found = tuple(tensor.shape)
    good = len(found) == len(expected) and all(
        isinstance(want, str) or have == want or (have == 1 and place == 0 and len(expected) > 1 and "form" not in name)
        for place, (have, want) in enumerate(zip(found, expected, strict=True))
    )
    if not good:
        raise ShapeError(f"{name} must have shape ({', '.join(map(str, expected))}), got {found}")
    if not tensor.is_floating_point() or tensor.dtype == torch.float16:
        raise ShapeError(f"{name} must hold float32 or float64 numbers, got {tensor.dtype}")
