"""Gates: known functions that weigh the experts at each point, and sum to 1."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from pinnx.expr import Atom, Directional, Evaluator, Expr, Gradient, Known, Points, Unknown, Value, linear_terms
from pinnx.solvers.experts.couplings.base import Coupling
from pinnx.solvers.experts.grouping import Recipe
from pinnx.solvers.experts.partition import Partition
from pinnx.trial import Affine


class Gates(Coupling):
    """u = Σ_e g_e Σ_j ω_ej b_j, solved jointly: atoms of the products follow from the product rule, exactly."""

    @abstractmethod
    def gate(self, partition: Partition, expert: int) -> Known:
        """g_e, twice continuously differentiable."""

    def requests(self, atoms: Sequence[Atom], points: Points) -> tuple[Atom, ...]:
        gate = Known("g", lambda p: p.tensor.sum(1))
        needed = [base for atom in atoms for base in _terms(atom, gate)]
        return tuple(dict.fromkeys([*atoms, *needed]))

    def recipes(
        self, partition: Partition, points: Points, members: Tensor, atoms: Sequence[Atom]
    ) -> dict[Atom, Recipe]:
        collected: dict[Atom, dict[Atom, Tensor]] = {atom: {} for atom in atoms}
        for expert in range(len(partition)):
            rows, slots = (members == expert).nonzero(as_tuple=True)
            if not len(rows):
                continue
            gate, here = self.gate(partition, expert), points.rows(rows).to(torch.float64)
            evaluate = Evaluator(here)
            for atom in atoms:
                for base, expr in _terms(atom, gate).items():
                    value = evaluate(expr).detach()
                    value = value if value.ndim else value.expand(len(here))
                    known = collected[atom]
                    if base not in known:
                        known[base] = value.new_zeros(*members.shape, *value.shape[1:])
                    known[base][rows, slots] = value
        return {atom: tuple(parts.items()) for atom, parts in collected.items()}


def smooth_step(s: Tensor) -> Tensor:
    """0 up to s = 0, 1 from s = 1 on, and a polynomial of degree 7 between: three times continuously differentiable."""
    s = s.clamp(0.0, 1.0)
    return s**4 * (35 - 84 * s + 70 * s**2 - 20 * s**3)


def _terms(atom: Atom, gate: Known) -> dict[Atom, Expr]:
    """The atoms of f that make an atom of gate · f, and their coefficients; for a gradient a vector, to be summed over
    its components or to multiply a value."""
    f = atom.of
    assert isinstance(f, Unknown)
    if isinstance(atom, Gradient):
        return {atom: Value(gate), Value(f): atom.on(gate)}
    terms, _ = linear_terms(Affine(gate).rewrite(atom))
    result: dict[Atom, Expr] = {}
    for base, coefficient in terms.items():
        if isinstance(base, Directional) and base != atom:  # from the mixed term of a second-order atom
            result[Gradient(f, group=base.group)] = coefficient * base.vector
        else:
            result[base] = coefficient
    return result
