"""Every estimator has the expectation that it states: unbiased in values and parameter gradients, atom by atom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from pinnx.expr import (
    Atom,
    Coordinates,
    Directional,
    Evaluator,
    Gradient,
    Matrix,
    Partial,
    Points,
    SecondOrder,
    Unknown,
    Value,
    atoms,
    directional,
    laplacian,
    x,
)
from pinnx.networks import Mlp
from pinnx.networks.base import Network
from pinnx.solvers.derivatives import (
    Auto,
    Autodiff,
    DerivativeEstimator,
    Hutchinson,
    Sdgd,
    Smoothing,
    Taylor,
    smoothing,
)
from pinnx.solvers.derivatives.row_space import Frame, row_space_frame
from pinnx.solvers.derivatives.sampled import SampledEstimator
from pinnx.solvers.derivatives.stochastic import StochasticTaylor
from pinnx.testing import EstimatorConformance

NO_RANDOMNESS = torch.Generator()
SEED = 6_402_211


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

    def __init__(self, network: Network, scales: Tensor, order: int = 12):
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


def stein_truth(options: Smoothing, network: Network, points: Points, atom: Atom, *, timed: bool = True) -> Tensor:
    """The derivative of the smoothed network; that of trace(A · Hessian) is smoothed by noise of covariance σ²A.

    `timed`: whether dt is among the atoms asked for, and the network smoothed in time.
    """
    d = points.x.shape[1]
    time = options.sigma if options.sigma_time is None else options.sigma_time
    scales = torch.zeros(points.tensor.shape[1], dtype=torch.float64)
    scales[:d] = options.sigma
    scales[d:] = time if timed else 0.0
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
        unit = vector / vector.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        shifts = [(weight, moved(points, "x", s * sigma * unit)) for s, weight in segments()]
        slopes = [(weight / 2, exact(network, there, Gradient(atom.of, group="x"))) for weight, there in shifts]
        return sum((weight * (slope * vector).sum(1) for weight, slope in slopes), torch.zeros(len(points)))
    assert isinstance(atom, SecondOrder)
    return direction_average(options, network, points, atom)


def sphere(rank: int) -> list[tuple[float, tuple[float, ...]]]:
    """Weights and nodes of means over one half of the sphere of radius √r, for functions that are even."""
    assert rank == 3
    heights = [(z, weight) for z, weight in segments(10) if z > 0]
    angles = [2 * np.pi * k / 16 for k in range(16)]
    return [
        (weight / 16, (*(3**0.5 * (1 - z * z) ** 0.5 * part for part in (np.cos(a), np.sin(a))), 3**0.5 * z))
        for (z, weight), a in product(heights, angles)
    ]


def direction_average(options: Smoothing, network: Network, points: Points, atom: SecondOrder) -> Tensor:
    """The mean over the directions ε of ∫ (1 − |s|) vᵀ H(x + sσv) v ds over (−1, 1), v = A^{1/2} Qᵀ ε."""
    affine = network.first_affine()
    assert affine is not None
    d = points.x.shape[1]
    root = torch.ones(d, dtype=torch.float64) if atom.matrix is None else atom.matrix.at(points).sqrt()
    columns = affine[0][:, :d] * root
    reduce = options.space == "rows" and d > len(columns)
    basis = (row_basis(columns) if reduce else torch.eye(d, dtype=torch.float64)) * root
    shifts, weights = [], []
    for s, weight in segments():
        s, weight = (s + 1) / 2, weight / 2  # over (0, 1): the integrand's kink lies between the halves
        shifts += [s, -s]
        weights += [weight * (1 - s)] * 2
    total = torch.zeros(len(points), dtype=torch.float64)
    signs = [(0.5 ** len(basis), sign) for sign in product([-1.0, 1.0], repeat=len(basis))]
    for share, direction in signs if options.law == "rademacher" or len(basis) == 2 else sphere(len(basis)):
        v = tensor(direction) @ basis
        along = SecondOrder(atom.of, group="x", matrix=Matrix(torch.outer(v, v)))
        rows = torch.cat([moved(points, "x", s * options.sigma * v).tensor for s in shifts])
        curvatures = exact(network, Points(rows, points.coordinates), along).reshape(len(shifts), -1)
        total = total + share * tensor(weights) @ curvatures
    return total


class TestExact(EstimatorConformance):
    def estimators(self):
        return [Autodiff(), Taylor(), Auto()]


class TestStochasticTaylor(EstimatorConformance):
    """In more dimensions than the first layer is wide."""

    dimensions: ClassVar = (5,)
    spaces: ClassVar[tuple[Literal["rows", "full"], ...]] = ("rows", "full")

    def estimators(self):
        options = product(("orthogonal", "rademacher", "gaussian"), self.spaces, ("shared", "per-point"))
        return [Sdgd(samples=1), *(Hutchinson(samples=1, law=a, space=b, noise=c) for a, b, c in options)]


class TestStochasticTaylorInFewDimensions(TestStochasticTaylor):
    """Where the row space is the whole space."""

    dimensions: ClassVar = (2,)
    spaces: ClassVar = ("rows",)


class TestSmoothing(EstimatorConformance):
    """With noise as large as the waves of the network: what the formulas neglect, if anything, would show."""

    dimensions: ClassVar = (3,)
    width: ClassVar = 2
    spaces: ClassVar[tuple[Literal["rows", "full"], ...]] = ("rows", "full")

    def estimators(self):
        noises, baselines = ("shared", "per-point"), ("center", "leave-one-out")
        large = Smoothing(sigma=0.5, sigma_time=0.3, samples=1, weights="difference")
        stein = replace(large, weights="stein", samples=2)
        return [
            *(replace(large, space=a, noise=b) for a, b in product(self.spaces, noises)),
            *(replace(large, law="rademacher", space=a) for a in self.spaces),
            *(replace(stein, space=a, noise=b, baseline=c) for a, b, c in product(self.spaces, noises, baselines)),
        ]

    def truth(
        self, estimator: DerivativeEstimator, network: Network, points: Points, atoms: Sequence[Atom]
    ) -> Mapping[Atom, Tensor]:
        assert isinstance(estimator, Smoothing)
        formula = stein_truth if estimator.weights == "stein" else difference_truth
        return {atom: formula(estimator, network, points, atom) for atom in atoms}


class TestSmoothingInFewDimensions(TestSmoothing):
    """Where the row space is the whole space."""

    dimensions: ClassVar = (2,)
    spaces: ClassVar = ("rows",)


# --- planted errors: the tests above have the power to find them ------------------------------------------------------


class Stronger(TestSmoothing):
    __test__ = False
    repetitions: ClassVar[int] = 1000
    gradient_repetitions: ClassVar[int] = 400


STEIN = Smoothing(sigma=0.5, sigma_time=0.3, samples=1, weights="stein", baseline="center")
LAPLACIAN = laplacian(Unknown("u"))
WEIGHTS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "half": lambda q, sigma: (q.square().sum(-1) - q.shape[-1]) / (4 * sigma**2),
    "no rank": lambda q, sigma: q.square().sum(-1) / (2 * sigma**2),
    "dimension in place of rank": lambda q, sigma: (q.square().sum(-1) - 3) / (2 * sigma**2),
}


@pytest.mark.parametrize("wrong", WEIGHTS)
def test_a_wrong_weight_of_stein_is_found(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    worst = Stronger().deviations(STEIN, 3)
    assert max(worst.values()) < 4
    monkeypatch.setattr(smoothing, "stein_weight", WEIGHTS[wrong])
    worst = Stronger().deviations(STEIN, 3)
    second = {atom: z for atom, z in worst.items() if isinstance(atom, SecondOrder)}
    assert len(second) == 2
    assert min(second.values()) > 20
    assert max(z for atom, z in worst.items() if atom not in second) < 4


def test_the_leave_one_out_baseline_forgives_a_weight_of_the_wrong_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left after the others' mean is free of the values' mean: only the covariance with the weight counts."""
    monkeypatch.setattr(smoothing, "stein_weight", WEIGHTS["no rank"])
    worst = Stronger().deviations(replace(STEIN, samples=2, baseline="leave-one-out"), 3)
    assert max(worst.values()) < 4


@pytest.mark.parametrize(
    "estimator",
    [STEIN, Smoothing(sigma=0.5, sigma_time=0.3, samples=1), Hutchinson(samples=1), Sdgd(samples=1)],
    ids=lambda estimator: f"{estimator.kind}-{getattr(estimator, 'weights', '')}",
)
def test_half_of_any_atom_is_found(estimator: SampledEstimator, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = type(estimator).draw

    def half(*args) -> dict[Atom, Tensor]:
        return {atom: values / 2 for atom, values in draw(*args).items()}

    monkeypatch.setattr(type(estimator), "draw", half)
    kit = Stronger() if isinstance(estimator, Smoothing) else TestStochasticTaylor()
    worst = kit.deviations(estimator, 3)
    assert len(worst) == 7
    assert min(worst.values()) > 20


def test_a_row_space_that_is_not_differentiated_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right in value, wrong in the gradient of the first layer."""

    def detached(columns: Tensor) -> Frame:
        frame = row_space_frame(columns)
        return replace(frame, factor=frame.factor.detach())

    monkeypatch.setattr(smoothing, "row_space_frame", detached)
    assert max(Stronger().deviations(STEIN, 3).values()) < 4
    assert Stronger().gradient_deviations(STEIN, 3)[LAPLACIAN] > 20  # type: ignore[index]


def test_a_vector_cut_to_the_row_space_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The derivative along b does not need the part of b outside the row space; its gradient in the weights does."""
    monkeypatch.setattr(smoothing._Draw, "_hidden_slopes", lambda self, *arguments: torch.zeros_like(self.center))
    worst = Stronger().deviations(STEIN, 3)
    assert max(worst.values()) < 4
    gradients = Stronger().gradient_deviations(STEIN, 3)
    first = {atom: z for atom, z in gradients.items() if isinstance(atom, (Directional, Gradient))}
    assert len(first) == 3
    assert min(first.values()) > 20


@pytest.mark.parametrize(
    ("estimator", "factor"),
    [(Hutchinson(samples=4, law="rademacher"), (4 / 5) ** 0.5), (Sdgd(samples=4), (4 / 5) ** 0.5)],
    ids=["hutchinson", "sdgd"],
)
def test_a_scale_by_the_number_of_samples_is_found(
    estimator: StochasticTaylor, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of published code: too small by samples / d."""
    directions = type(estimator).directions
    monkeypatch.setattr(type(estimator), "directions", lambda *args: factor * directions(*args))
    assert TestStochasticTaylor().deviations(estimator, 5)[LAPLACIAN] > 20  # type: ignore[index]


def test_normal_directions_are_not_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The expectation that the differences state holds for random signs; with normal directions it is another."""
    monkeypatch.setattr(
        Tensor, "bernoulli_", lambda self, p, generator: self.normal_(generator=generator).add_(1).div_(2)
    )
    worst = Stronger().deviations(Smoothing(sigma=0.8, samples=1, law="rademacher"), 3)
    assert worst[LAPLACIAN] > 20  # type: ignore[index]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_frames_of_rows_that_depend_on_each_other(rank: int) -> None:
    """Neurons that see the same combination of coordinates: slopes along S give those along any vector still."""
    generator = torch.Generator().manual_seed(SEED)
    mix, rows, g, b = (
        torch.randn(*shape, dtype=torch.float64, generator=generator)
        for shape in ((3, rank), (rank, 7), (4, 3), (4, 7))
    )
    columns = (mix @ rows).requires_grad_()
    frame = row_space_frame(columns)
    slopes = g @ frame.factor
    torch.testing.assert_close(frame.along(slopes, b, g), ((g @ columns) * b).sum(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(frame.lift(slopes, g), g @ columns, rtol=1e-6, atol=1e-6)
    (slope,) = torch.autograd.grad(frame.lift(slopes, g).square().sum(), columns)
    assert bool(slope.isfinite().all())


@pytest.mark.parametrize("gap", [0.0, 1e-7, 1e-5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neurons_that_see_nearly_the_same_do_not_amplify_the_noise(gap: float, dtype: torch.dtype) -> None:
    """Stein's derivatives along a vector, and their gradient in the weights, whatever the first layer's condition."""
    generator = torch.Generator().manual_seed(SEED)
    network = Mlp(width=8, depth=2).build(20, 1, generator=generator, dtype=dtype)
    points = Points(torch.randn(3, 20, generator=generator, dtype=dtype), Coordinates.of(x=20))
    with torch.no_grad():
        weight = network.first_affine()[0]  # type: ignore[index]
        weight[4:] = weight[:4] + gap * torch.randn(4, 20, generator=generator, dtype=dtype)
    (atom,) = atoms(directional(Unknown("u"), x))
    results = []
    for estimator in (Autodiff(), Smoothing(samples=20_000, weights="stein", sigma=0.05)):
        value = estimator.estimate(network, points, [atom], generator)[atom]
        (slope,) = torch.autograd.grad(value.sum(), weight)
        results.append((value.detach(), slope))
    (truth, true_slope), (value, slope) = results
    assert float((value - truth).norm() / truth.norm()) < 0.1
    assert float((slope - true_slope).norm() / true_slope.norm()) < 0.1


# --- differences tend to the exact derivatives ------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("weights", ["difference", "stein"])
def test_the_bias_of_smoothing_is_of_second_order(weights: Literal["difference", "stein"], dimension: int) -> None:
    """By regression over σ, of the expectations that the tests above confirm."""
    kit, formula = TestSmoothing(), stein_truth if weights == "stein" else difference_truth
    network, points = kit.make_network(dimension), kit.make_points(dimension)
    wanted = [atom for atom in kit.atoms(dimension) if isinstance(atom, (Directional, SecondOrder, Partial))]
    sigmas = [0.01, 0.02, 0.04]
    for atom in wanted:
        truth = exact(network, points, atom)
        options = [Smoothing(sigma=sigma, weights=weights) for sigma in sigmas]
        errors = [float((formula(each, network, points, atom) - truth).norm().detach()) for each in options]
        slope = np.polyfit(np.log(sigmas), np.log(errors), 1)[0]
        assert 1.95 < slope < 2.05, str(atom)


# --- asked for less ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["difference", "stein"])
def test_values_alone_are_those_of_the_network(weights: Literal["difference", "stein"]) -> None:
    """A soft condition u = g has no derivative: nothing is smoothed, whatever the number of groups."""
    kit, u = TestSmoothing(), Value(Unknown("u"))
    network, points = kit.make_network(3), kit.make_points(3)
    estimator = Smoothing(weights=weights, samples=6)
    drawn = estimator.draw(network, points, [u], torch.Generator(), [2, 2, 2])
    torch.testing.assert_close(drawn[u], network(points.tensor).T)
    assert estimator.evaluations([u], 6) == 1


def test_a_small_memory_gives_the_same_estimates_and_gradients() -> None:
    kit = TestSmoothing()
    network, points = kit.make_network(3), kit.make_points(3)
    wanted = kit.atoms(3)
    for weights in ("difference", "stein"):
        results = []
        for memory in (1.0, 1e-7):
            estimator = Smoothing(samples=16, sigma=0.3, weights=weights, memory=memory)
            values = estimator.estimate(network, points, wanted, torch.Generator().manual_seed(90_211))
            total = sum((value.square().sum() for value in values.values()), torch.zeros(()))
            results.append([*values.values(), *torch.autograd.grad(total, list(network.parameters()))])
        torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-12)
