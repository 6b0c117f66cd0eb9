"""Forms of a basis that is a function of the coordinates: exact derivatives, whatever the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.expr import Atom, Coordinates, Directional, Evaluator, Gradient, Points, Unknown, input_atoms
from pinnx.expr.evaluate import Values
from pinnx.family import Family
from pinnx.networks.base import Network
from pinnx.networks.grid import GridNetwork, PointwiseGridNetwork
from pinnx.solvers.derivatives.base import DerivativeEstimator

#: Ends of each axis that scale to -1 and 1.
Frame = tuple[tuple[float, float], ...]


@final
class _OfCoordinates(Network):
    """A perceptron of scaled coordinates and a code, as a function of the coordinates themselves and the code."""

    def __init__(self, body: Network, frame: Frame):
        super().__init__()
        self.body, self.frame = body, frame

    def first_affine(self) -> tuple[Tensor, Tensor] | None:
        affine = self.body.first_affine()
        if affine is None:
            raise UnsupportedError(f"the network {type(self.body).__name__} declares no first affine layer")
        weight, bias = affine
        scale = weight.new_tensor([2 / (high - low) for low, high in self.frame])
        shift = weight.new_tensor([-(high + low) / (high - low) for low, high in self.frame])
        own = weight[:, : len(self.frame)]
        return torch.cat([own * scale, weight[:, len(self.frame) :]], 1), bias + own @ shift

    def tail(self, hidden: Tensor) -> Tensor:
        return self.body.tail(hidden)


def require_exact(network: object, family: Family, *, exact_data: bool) -> None:
    """Say why a basis on a family of instances has no exact derivatives, if it has none.

    Args:
        network: on the grid.
        family: of instances.
        exact_data: whether initial and Dirichlet values hold by the trial solution.

    Raises:
        UnsupportedError: the network is no function of the coordinates, or the derivatives of u are not its own.
    """
    reason = None
    if not isinstance(network, PointwiseGridNetwork):
        reason = "the network maps fields to fields and is nothing between the nodes; encoded-mlp is a function"
    elif exact_data:
        reason = (
            "the factor of the trial solution lives on the nodes, where it drops to 0; solver.known_values = "
            '"rows" does without'
        )
    elif family.outputs != (unknowns := len(family.unknowns)):
        reason = (
            f"the network makes {family.outputs} of {unknowns} unknowns, and the others follow from the whole field"
        )
    elif wrapped := [axis.label for axis in family.grid.axes if axis.periodic]:
        reason = f"nothing makes a perceptron periodic along {', '.join(wrapped)}, where spectral derivatives do"
    if reason is not None:
        raise UnsupportedError(f'solver.basis_derivatives = "exact" cannot serve here: {reason}')


@final
@dataclass(frozen=True)
class Asked:
    """What is asked of a basis.

    Attributes:
        points: n points.
        atoms: of the unknowns.
        given: values of the atoms of inputs inside directions, (B, n) or (B, n, d).
    """

    points: Points
    atoms: Sequence[Atom]
    given: Values


def exact_forms(
    network: GridNetwork, features: Tensor, frame: Frame, asked: Asked, size: int, estimator: DerivativeEstimator
) -> dict[Atom, Tensor]:
    """The forms of atoms in the coefficients of N = `size` basis functions of each of B instances.

    Args:
        network: of the coordinates and a code; output j m + i is basis function j of unknown i.
        features: what the instances bring, (B, c, *grid).
        frame: of the coordinates.
        asked: atoms, and where.
        size: number N.
        estimator: of the derivatives, an exact one.

    Returns:
        For each atom (B, n, N), or (B, n, d, N) for a gradient; differentiable in the parameters.
    """
    assert isinstance(network, PointwiseGridNetwork)
    code, points = network.code(features), asked.points
    rows = (len(code), len(points))
    tensor = torch.cat([points.tensor.to(code).expand(*rows, -1), code[:, None].expand(*rows, -1)], -1).flatten(0, 1)
    whole = Points(tensor, Coordinates((*points.coordinates.groups, ("code", code.shape[1]))))
    # a direction that an instance brings is known at its own points only: the gradient serves it
    base = {atom: _base(atom) for atom in asked.atoms}
    outputs = 1 + max(_column(atom, 0, 1).index for atom in asked.atoms)
    requests = {
        atom: [atom.on(_column(atom, column, outputs)) for column in range(size)]
        for atom in dict.fromkeys(base.values())
    }
    every = [request for each in requests.values() for request in each]
    body = _OfCoordinates(network.body, frame)
    values = estimator.choose(body, every)[0].estimate(body, whole, every, torch.Generator(tensor.device))
    found = {
        atom: torch.stack([values[request] for request in each], -1).unflatten(0, rows)
        for atom, each in requests.items()
    }
    result = {}
    for atom, basis in base.items():
        form = found[basis]
        if basis != atom:
            assert isinstance(atom, Directional)
            direction = Evaluator(points, asked.given)(atom.vector).expand(*form.shape[:-1])
            form = (direction[..., None] * form).sum(-2)
        result[atom] = form
    return result


def _base(atom: Atom) -> Atom:
    if isinstance(atom, Directional) and input_atoms(atom.vector):
        return Gradient(atom.of, group=atom.group)
    return atom


def _column(atom: Atom, column: int, outputs: int) -> Unknown:
    """The output of the network that is a basis function of the atom's unknown."""
    assert isinstance(atom.of, Unknown)
    return Unknown(f"{atom.of.name}{column}", column * outputs + atom.of.index)
