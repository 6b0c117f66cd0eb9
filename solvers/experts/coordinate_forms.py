"""Forms from a coordinate network: each output is a basis function, with derivatives as exact as the estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pinnx.errors import InputError, UnsupportedError
from pinnx.expr import Atom, Points, Unknown
from pinnx.networks.base import Network
from pinnx.solvers.derivatives.base import DerivativeEstimator


def network_forms(
    network: Network,
    points: Points,
    atoms: Sequence[Atom],
    coefficients: int,
    estimator: DerivativeEstimator,
) -> dict[Atom, Tensor]:
    """The forms of atoms of u_i = Σ_j ω_j f_{iN+j} at scattered points, differentiable in the network's parameters.

    Args:
        network: maps (n, D) to (n, m N): N outputs for each of m unknowns, which share the coefficients.
        points: n points, in the network's dtype.
        atoms: of the unknowns.
        coefficients: number N.
        estimator: of the derivatives; an exact one.

    Returns:
        For each atom (1, n, N), or (1, n, d, N) for a gradient.

    Raises:
        UnsupportedError: the estimator is stochastic, or cannot serve the network or an atom.
        InputError: there are fewer outputs than unknowns × N.
    """
    if estimator.stochastic:
        raise UnsupportedError(
            f"a constraint needs exact derivatives, and {estimator.kind!r} draws them at random: use 'auto', 'taylor' "
            "or 'autodiff'"
        )
    outputs = network(points.tensor[:1]).shape[1]
    needed = coefficients * (1 + max((_unknown(atom).index for atom in atoms), default=0))
    if outputs < needed:
        raise InputError(
            f"{coefficients} basis functions per unknown need {needed} outputs of the network, got {outputs}"
        )
    requests = [
        atom.on(replace(_unknown(atom), index=coefficients * _unknown(atom).index + column))
        for atom in atoms
        for column in range(coefficients)
    ]
    chosen, _ = estimator.choose(network, requests)
    unused = torch.Generator(points.tensor.device)  # an exact estimator draws nothing
    values = chosen.estimate(network, points, requests, unused)
    stacked = [
        torch.stack([values[request] for request in requests[start : start + coefficients]], dim=-1)
        for start in range(0, len(requests), coefficients)
    ]
    return {atom: form[None] for atom, form in zip(atoms, stacked, strict=True)}


def _unknown(atom: Atom) -> Unknown:
    assert isinstance(atom.of, Unknown)
    return atom.of
