"""Exact derivatives by collapsed Taylor mode in the row space of the first layer.

One pass gives all atoms. A Laplacian, or trace(A · Hessian), costs min(d, h) directions whatever the dimension d: the
only work that grows with d is W x and W Wᵀ, once per step for the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast, final

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.expr import (
    Atom,
    Biharmonic,
    Directional,
    Evaluator,
    Gradient,
    Matrix,
    Partial,
    Points,
    SecondOrder,
    Value,
)
from pinnx.expr.calculus import second_order_directions
from pinnx.networks.base import Network
from pinnx.solvers.derivatives.base import DerivativeEstimator
from pinnx.solvers.derivatives.biharmonic import BiharmonicJet
from pinnx.solvers.derivatives.high_order import (
    HIGHEST_ORDER,
    HigherJet,
    Monomial,
    directional_jet,
    divisors,
    partials_jet,
)
from pinnx.solvers.derivatives.jets import Jet, SecondOrderSum
from pinnx.solvers.derivatives.row_space import row_space_factor


@final
@dataclass(frozen=True)
class Taylor(DerivativeEstimator):
    """Exact derivatives up to fourth order, for networks that start with an affine layer."""

    kind: ClassVar[str] = "taylor"

    def refusal(self, network: Network, atoms: Sequence[Atom]) -> str | None:
        for atom in atoms:
            if isinstance(atom, Partial) and atom.order > HIGHEST_ORDER:
                return f"{atom} is of order {atom.order} and Taylor mode stops at {HIGHEST_ORDER}"
            if not isinstance(atom, (Value, Gradient, Directional, SecondOrder, Partial, Biharmonic)):
                return f"it does not know the atom {type(atom).__name__}"
        affine = network.first_affine()
        if affine is None:
            return f"the network {type(network).__name__} declares no first affine layer"
        return _tail_refusal(network, affine[0], high=any(atom.order > 2 for atom in atoms))

    def estimate(
        self, network: Network, points: Points, atoms: Sequence[Atom], generator: torch.Generator
    ) -> dict[Atom, Tensor]:
        affine = network.first_affine()
        if affine is None:
            raise UnsupportedError(f"the network {type(network).__name__} declares no first affine layer")
        with torch.set_grad_enabled(torch.is_grad_enabled() or any(isinstance(atom, Gradient) for atom in atoms)):
            hidden = torch.nn.functional.linear(points.tensor, *affine)
            distinct = list(dict.fromkeys(replace(atom, slot=0) for atom in atoms))
            plan = Plan(affine[0], points)
            # Higher orders first: lower ones may then share their directions.
            for atom in sorted(distinct, key=lambda atom: -atom.order):
                plan.request(atom)
            if plan.needs_reverse and not hidden.requires_grad:
                hidden.requires_grad_()
            jet = push(network, plan.jet(hidden))
            result = plan.read(jet, hidden)
        if not torch.is_grad_enabled():
            result = {atom: value.detach() for atom, value in result.items()}
        return {atom: result[replace(atom, slot=0)] for atom in atoms}


def _tail_refusal(network: Network, weight: Tensor, *, high: bool) -> str | None:
    """Try the tail on a jet of one point and one direction."""
    hidden = weight.new_zeros(1, weight.shape[0])
    probe = Jet(hidden, weight[:, 0].detach()[None, None], None, [SecondOrderSum(0, 1)])
    if high:
        probe.beside = (directional_jet(hidden, weight[:, 0].detach()[None, None], HIGHEST_ORDER),)
    try:
        with torch.no_grad():
            result = push(network, probe)
    except (UnsupportedError, TypeError, AttributeError) as error:
        return f"the network's tail uses an operation that Taylor mode does not know ({error})"
    return None if isinstance(result, Jet) else "the network's tail does not carry jets through to its output"


def push(network: Network, jet: Jet) -> Jet:
    """The jet behind the network's tail: torch's functions accept jets in the place of tensors."""
    final = cast("Jet", network.tail(cast("Tensor", jet)))
    final.beside = tuple(network.tail(cast("Tensor", other)) for other in jet.beside)
    return final


class Plan:
    """Collects the directions that a set of atoms needs, and reads the atoms off the final jet."""

    def __init__(self, weight: Tensor, points: Points):
        self.weight, self.points = weight, points
        self.known = Evaluator(points)
        self.blocks: list[Tensor] = []
        self.sums: list[SecondOrderSum] = []
        self.readers: dict[Atom, Callable[[Jet, Tensor], Tensor]] = {}
        self.needs_reverse = False
        self.beside: list[Callable[[Tensor], HigherJet]] = []
        self._partials: set[Monomial] = set()
        self._partials_place: int | None = None
        self._biharmonics: dict[str, int] = {}
        self._width = 0
        self._coordinate_blocks: dict[str, slice] = {}

    def request(self, atom: Atom) -> None:
        """Add the directions of one atom and remember how to read it."""
        output = getattr(atom.of, "index", 0)
        if isinstance(atom, Value):
            self.readers[atom] = lambda jet, hidden: jet.value[:, output]
        elif isinstance(atom, Gradient):
            self._gradient(atom, output)
        elif isinstance(atom, Directional):
            vector = self.known(atom.vector)
            self._first_order(atom, vector @ self.columns(atom.group).T, output)
        elif isinstance(atom, Biharmonic):
            self.biharmonic(atom, output)
        elif isinstance(atom, SecondOrder):
            self.second_order(atom, output)
        elif isinstance(atom, Partial) and (atom.order > 2 or atom.columns in divisors(self._partials)):
            self._high_order(atom, output)
        elif isinstance(atom, Partial) and atom.order == 1:
            self._first_order(atom, self._column(*atom.columns[0])[None], output)
        elif isinstance(atom, Partial) and atom.order == 2:
            self._mixed(atom, output)
        else:
            raise UnsupportedError(f"Taylor mode cannot deliver {atom}")

    def jet(self, hidden: Tensor) -> Jet:
        """The jet after the first affine layer."""
        blocks = self.blocks
        if len({block.shape[1] for block in blocks}) > 1:
            blocks = [block.expand(-1, len(self.points), -1) for block in blocks]
        directions = torch.cat(blocks) if blocks else hidden.new_zeros(0, 1, hidden.shape[1])
        jet = Jet(hidden, directions, None, self.sums)
        jet.beside = tuple(start(hidden) for start in self.beside)
        return jet

    def read(self, jet: Jet, hidden: Tensor) -> dict[Atom, Tensor]:
        """The values of all atoms requested."""
        return {atom: self.shaped(atom, reader(jet, hidden)) for atom, reader in self.readers.items()}

    def shaped(self, atom: Atom, value: Tensor) -> Tensor:
        """What is the same at every point, repeated for all of them."""
        return value.expand(len(self.points), *value.shape[1:])

    def columns(self, group: str) -> Tensor:
        """The first layer's weights of a coordinate group, (h, d)."""
        return self.weight[:, self.points.coordinates.columns(group)]

    def _column(self, group: str, index: int) -> Tensor:
        return self.columns(group)[:, index]

    def add(self, block: Tensor) -> slice:
        """Append directions (k, 1, h) or (k, n, h)."""
        self.blocks.append(block)
        self._width += block.shape[0]
        return slice(self._width - block.shape[0], self._width)

    def _first_order(self, atom: Atom, direction: Tensor, output: int) -> None:
        index = self.add(direction[None]).start
        self.readers[atom] = lambda jet, hidden: jet.first[index, :, output]

    def _gradient(self, atom: Gradient, output: int) -> None:
        if atom.group in self._coordinate_blocks:
            block = self._coordinate_blocks[atom.group]
            self.readers[atom] = lambda jet, hidden: jet.first[block, :, output].T
            return
        self.needs_reverse = True
        columns = self.columns(atom.group)

        def read(jet: Jet, hidden: Tensor) -> Tensor:
            value = jet.value[:, output].sum()
            (gradient,) = torch.autograd.grad(value, hidden, create_graph=True)
            return gradient @ columns

        self.readers[atom] = read

    def second_order(self, atom: SecondOrder, output: int) -> None:
        """Add the directions of a second-order operator."""
        columns = self.columns(atom.group)
        if atom.matrix is None and atom.group in self._biharmonics:
            place = self._biharmonics[atom.group]
            self.readers[atom] = lambda jet, hidden: jet.beside[place].laplacian[:, output]
            return
        if atom.matrix is None and columns.shape[1] <= columns.shape[0]:
            block = self.add(columns.T[:, None])
            self._coordinate_blocks[atom.group] = block
            self._sum(atom, block, None, output)
            return
        directions, weights = self._factor(columns, atom.matrix)
        self._sum(atom, self.add(directions), weights, output)

    def _factor(self, columns: Tensor, matrix: Matrix | None) -> tuple[Tensor, Tensor | None]:
        """Directions (k, 1 or n, h) in the hidden layer, and weights, of trace(A · Hessian)."""
        size = columns.shape[1]
        if matrix is None:
            return row_space_factor(columns).T[:, None], None
        if matrix.diagonal and not matrix.varies:
            weights = matrix.at(self.points)
            scaled = columns * weights.abs().sqrt()
            if bool((weights >= 0).all()) and size > columns.shape[0]:
                return row_space_factor(scaled).T[:, None], None
            return scaled.T[:, None], weights.sign()
        directions, weights = second_order_directions(matrix, self.points, size)
        if directions.ndim == 3:
            return torch.einsum("nkd,hd->knh", directions, columns), weights
        return (directions @ columns.T)[:, None], weights

    def _sum(self, atom: Atom, block: slice, weights: Tensor | None, output: int) -> None:
        index = len(self.sums)
        self.sums.append(SecondOrderSum(block.start, block.stop, weights))
        self.readers[atom] = lambda jet, hidden: jet.second[index, :, output]

    def biharmonic(self, atom: Biharmonic, output: int) -> None:
        """Add the jet of a biharmonic operator, in the row space where that is smaller."""
        columns = self.columns(atom.group)
        place = self._biharmonics.get(atom.group)
        if place is None:
            tall = columns.shape[1] <= columns.shape[0]
            directions = (columns if tall else row_space_factor(columns)).T
            place = self._biharmonics[atom.group] = self.travel_beside(
                lambda hidden: BiharmonicJet.start(hidden, directions)
            )
        self.readers[atom] = lambda jet, hidden: jet.beside[place].fourth[:, output]

    def travel_beside(self, start: Callable[[Tensor], HigherJet]) -> int:
        """Send a jet of higher order through the network; returns its place among those of the final jet."""
        self.beside.append(start)
        return len(self.beside) - 1

    def _high_order(self, atom: Partial, output: int) -> None:
        """All mixed partials come from one jet, which is made once all are known."""
        if self._partials_place is None:
            self._partials_place = self.travel_beside(lambda hidden: partials_jet(hidden, self._column, self._partials))
        self._partials.add(atom.columns)
        place = self._partials_place
        self.readers[atom] = lambda jet, hidden: jet.beside[place].derivative(atom.columns)[..., output]

    def _mixed(self, atom: Partial, output: int) -> None:
        """u_ij by polarization: a quarter of the difference of two second directional derivatives."""
        left, right = (self._column(*column) for column in atom.columns)
        if atom.columns[0] == atom.columns[1]:
            self._sum(atom, self.add(left[None, None]), None, output)
            return
        block = self.add(torch.stack([left + right, left - right])[:, None])
        self._sum(atom, block, left.new_tensor([0.25, -0.25]), output)
