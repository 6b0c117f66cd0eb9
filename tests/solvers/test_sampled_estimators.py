"""Every estimator has the expectation that it states: unbiased in values and parameter gradients, atom by atom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from pinnx.expr import Atom, Directional, Evaluator, Gradient, Matrix, Partial, Points, SecondOrder, Value
from pinnx.networks.base import Network
from pinnx.solvers.derivatives import Auto, Autodiff, DerivativeEstimator, Hutchinson, Sdgd, Smoothing, Taylor
from pinnx.testing import EstimatorConformance

NO_RANDOMNESS = torch.Generator()


def tensor(array) -> Tensor:
    return torch.as_tensor(np.asarray(array), dtype=torch.float64)


def exact(network: Network, points: Points, atom: Atom) -> Tensor:
    return Autodiff().estimate(network, points, [atom], NO_RANDOMNESS)[atom]


class Smoothed(Network):
    """The network averaged over N(0, C), by Gauss-Hermite quadrature in the space of the points.

    Args:
        network: f.
        scales: standard deviations of the noise, one per column of the points; C is diagonal.
        order: nodes per column.
    """

    def __init__(self, network: Network, scales: Tensor, order: int = 10):
        super().__init__()
        self.network = network
        nodes, weights = np.polynomial.hermite_e.hermegauss(order)
        grids = [(nodes, weights / weights.sum()) if scale > 0 else ([0.0], [1.0]) for scale in scales.tolist()]
        self.shifts = tensor(list(product(*(nodes for nodes, _ in grids)))) * scales
        self.weights = tensor(list(product(*(weights for _, weights in grids)))).prod(1)

    def first_affine(self) -> None:
        return None

    def tail(self, hidden: Tensor) -> Tensor:
        (row,) = hidden  # automatic differentiation asks for one point at a time
        return (self.weights @ self.network(row + self.shifts))[None]


def stein_truth(options: Smoothing, network: Network, points: Points, atom: Atom) -> Tensor:
    """The derivative of the smoothed network; that of trace(A · Hessian) is smoothed by noise of covariance σ²A."""
    d = points.x.shape[1]
    time = options.sigma if options.sigma_time is None else options.sigma_time
    scales = torch.cat([torch.full((d,), options.sigma), torch.tensor([time])]).double()
    if isinstance(atom, SecondOrder) and atom.matrix is not None:
        scales[:d] *= atom.matrix.at(points).sqrt()
    return exact(Smoothed(network, scales), points, atom)


def segments(order: int = 12) -> Iterator[tuple[float, float]]:
    """Nodes in (-1, 1), and weights that sum to two."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    yield from zip(nodes.tolist(), weights.tolist(), strict=True)


def moved(points: Points, group: str, shift: Tensor) -> Points:
    rows = points.tensor.clone()
    rows[:, points.coordinates.columns(group)] += shift
    return Points(rows, points.coordinates)


def row_basis(columns: Tensor) -> Tensor:
    """Orthonormal rows (r, d) that span those of W (h, d), in the convention of Cholesky's factor, held constant."""
    gram = columns.detach() @ columns.detach().T
    return torch.linalg.solve(torch.linalg.cholesky(gram), columns.detach())


def difference_truth(options: Smoothing, network: Network, points: Points, atom: Atom) -> Tensor:
    """Integrals of exact derivatives over the segments that the differences span (Taylor's and Peano's formulas)."""
    sigma = options.sigma
    time = sigma if options.sigma_time is None else options.sigma_time
    if isinstance(atom, (Value, Gradient)):
        return exact(network, points, atom)
    if isinstance(atom, Partial):
        shifts = [(weight, moved(points, "t", tensor([[s * time]]))) for s, weight in segments()]
        return sum((weight / 2 * exact(network, there, atom) for weight, there in shifts), torch.zeros(len(points)))
    if isinstance(atom, Directional):
        vector = Evaluator(points)(atom.vector)
        unit = vector / vector.norm(dim=-1, keepdim=True)
        shifts = [(weight, moved(points, "x", s * sigma * unit)) for s, weight in segments()]
        slopes = [(weight / 2, exact(network, there, Gradient(atom.of, group="x"))) for weight, there in shifts]
        return sum((weight * (slope * vector).sum(1) for weight, slope in slopes), torch.zeros(len(points)))
    assert isinstance(atom, SecondOrder)
    return sign_average(options, network, points, atom)


def sign_average(options: Smoothing, network: Network, points: Points, atom: SecondOrder) -> Tensor:
    """The mean over all sign vectors ε of ∫ (1 − |s|) vᵀ H(x + sσv) v ds over (−1, 1), v = A^{1/2} Qᵀ ε."""
    affine = network.first_affine()
    assert affine is not None
    d = points.x.shape[1]
    root = torch.ones(d, dtype=torch.float64) if atom.matrix is None else atom.matrix.at(points).sqrt()
    columns = affine[0][:, :d] * root
    reduce = options.space == "rows" and d > len(columns)
    basis = (row_basis(columns) if reduce else torch.eye(d, dtype=torch.float64)) * root
    total = torch.zeros(len(points), dtype=torch.float64)
    signs = list(product([-1.0, 1.0], repeat=len(basis)))
    for sign in signs:
        v = tensor(sign) @ basis
        along = SecondOrder(atom.of, group="x", matrix=Matrix(torch.outer(v, v)))
        for s, weight in segments():
            s, weight = (s + 1) / 2, weight / 2  # over (0, 1): the integrand's kink lies between the halves
            for side in (-1.0, 1.0):
                there = moved(points, "x", side * s * options.sigma * v)
                total = total + weight * (1 - s) * exact(network, there, along) / len(signs)
    return total


class TestExact(EstimatorConformance):
    def estimators(self):
        return [Autodiff(), Taylor(), Auto()]


class TestStochasticTaylor(EstimatorConformance):
    def estimators(self):
        laws, spaces, noises = ("rademacher", "gaussian"), ("rows", "full"), ("shared", "per-point")
        options = list(product(laws, spaces, noises))
        return [Sdgd(samples=1), *(Hutchinson(samples=1, law=a, space=b, noise=c) for a, b, c in options)]


class TestSmoothing(EstimatorConformance):
    """With noise as large as the waves of the network: what the formulas neglect, if anything, would show."""

    dimensions: ClassVar = (2, 3)
    width: ClassVar = 2

    def estimators(self):
        spaces, noises, baselines = ("rows", "full"), ("shared", "per-point"), ("center", "leave-one-out")
        large = Smoothing(sigma=0.5, sigma_time=0.3, samples=1, weights="difference")
        stein = replace(large, weights="stein", samples=2)
        return [
            *(replace(large, space=a, noise=b) for a, b in product(spaces, noises)),
            *(replace(stein, space=a, noise=b, baseline=c) for a, b, c in product(spaces, noises, baselines)),
        ]

    def truth(
        self, estimator: DerivativeEstimator, network: Network, points: Points, atoms: Sequence[Atom]
    ) -> Mapping[Atom, Tensor]:
        assert isinstance(estimator, Smoothing)
        formula = stein_truth if estimator.weights == "stein" else difference_truth
        return {atom: formula(estimator, network, points, atom) for atom in atoms}
