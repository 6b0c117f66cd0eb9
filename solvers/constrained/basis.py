"""A coordinate network with N outputs as a basis: its forms at points, and the function that coefficients make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.expr import Atom, Points, Unknown
from pinnx.networks.base import Network, NetworkSpec
from pinnx.solvers.derivatives.base import DerivativeEstimator


def require_not_stochastic(estimator: DerivativeEstimator) -> None:
    """Refuse estimates that are drawn at random.

    Raises:
        UnsupportedError: these are.
    """
    if estimator.stochastic:
        raise UnsupportedError(
            f"the derivatives {estimator.kind!r} are estimates, and a constraint must hold exactly: use auto, "
            "taylor or autodiff"
        )


def output(unknown: Unknown, column: int, size: int) -> Unknown:
    """The output of a network that holds basis function `column`, of N = `size`, of an unknown."""
    return Unknown(f"{unknown.name}{column}", unknown.index * size + column)


def basis_atoms(atoms: Sequence[Atom], size: int) -> tuple[Atom, ...]:
    """The atoms of all N = `size` basis functions, one after the other, atom by atom."""
    return tuple(atom.on(output(_unknown(atom), column, size)) for atom in atoms for column in range(size))


def basis_forms(
    estimator: DerivativeEstimator, network: Network, points: Points, atoms: Sequence[Atom], size: int
) -> dict[Atom, Tensor]:
    """The forms of atoms in the coefficients of N = `size` basis functions.

    Returns:
        For each atom (1, n, N), or (1, n, d, N) for a gradient; differentiable in the parameters.
    """
    requests = basis_atoms(atoms, size)
    values = estimator.estimate(network, points, requests, torch.Generator(points.tensor.device))
    columns = [values[request] for request in requests]
    return {atom: torch.stack(columns[place * size : (place + 1) * size], -1)[None] for place, atom in enumerate(atoms)}


@final
class Combination(Network):
    """Σ_j ω_j b_j for each unknown: an ordinary network, which every estimator differentiates.

    Args:
        basis: gives (n, m N) for m unknowns.
        omega: coefficients (N,), shared by the unknowns.
        unknowns: their number m.
    """

    omega: Tensor

    def __init__(self, basis: Network, omega: Tensor, unknowns: int):
        super().__init__()
        self.basis, self.unknowns = basis, unknowns
        self.register_buffer("omega", omega)

    def first_affine(self) -> tuple[Tensor, Tensor] | None:
        return self.basis.first_affine()

    def tail(self, hidden: Tensor) -> Tensor:
        # one linear map, not a sum over an axis: Taylor series pass through linear maps
        weight = torch.block_diag(*[self.omega[None]] * self.unknowns)
        return torch.nn.functional.linear(self.basis.tail(hidden), weight)


@final
@dataclass(frozen=True)
class CombinationSpec(NetworkSpec):
    """What a `Combination` is built from, so that a solution can be saved; no kind of a case file.

    Attributes:
        basis: the options of the network.
        size: number N of basis functions.
    """

    kind: ClassVar[str] = "combination"
    basis: NetworkSpec
    size: int

    def build(self, inputs: int, outputs: int, *, generator: torch.Generator, dtype: torch.dtype) -> Combination:
        network = self.basis.build(inputs, outputs * self.size, generator=generator, dtype=dtype)
        omega = torch.zeros(self.size, dtype=dtype, device=generator.device)
        return Combination(network, omega, outputs)


def _unknown(atom: Atom) -> Unknown:
    assert isinstance(atom.of, Unknown)
    return atom.of
