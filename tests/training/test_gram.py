"""The layer-wise Gram matrix is J Jᵀ of the explicit Jacobian, for every layer, atom and term."""

from __future__ import annotations

import pytest
import torch

import pinnx.solvers.natural.layers as layers
from pinnx.equations import AllenCahn, Burgers, ClassicalBurgers, FokkerPlanck, Heat, LogFokkerPlanck, Poisson
from pinnx.equations import HamiltonJacobiBellman as Hjb
from pinnx.expr import Custom, Known, Matrix, dot, grad, hessian, laplacian, partial, sin, trace, x
from pinnx.networks import FourierMlp, Mlp, ModifiedMlp, ResidualMlp
from pinnx.networks.base import Network, NetworkSpec
from pinnx.solvers.derivatives import Autodiff
from pinnx.solvers.natural import Alone, LayerwiseJacobian, Slots
from pinnx.trial import Affine
from tests.solvers.toys import Coupled, Decay
from tests.training.kit import CPU, Stated, batch_of, explicit_jacobian, least_squares

EXACT = 1e-10


def assert_same(least, batch) -> None:
    residuals, dense = explicit_jacobian(least, batch)
    linear = least.linearize(batch, torch.Generator())
    jacobian = linear.jacobian
    generator = torch.Generator().manual_seed(7_717)
    rows = torch.randn(dense.shape[0], generator=generator, dtype=torch.float64)
    direction = torch.randn(dense.shape[1], generator=generator, dtype=torch.float64)
    for found, expected in (
        (linear.residuals, residuals),
        (jacobian.gram(), dense @ dense.T),
        (jacobian.adjoint(rows), dense.T @ rows),
        (jacobian.apply(direction), dense @ direction),
        (jacobian.rows(), dense),
    ):
        assert float((found - expected).abs().max()) <= EXACT * float(expected.abs().max())


SPECS = {
    "mlp": Mlp(width=6, depth=3),
    "scaled": Mlp(width=6, depth=2, input_scale=3.0, activation="sin"),
    "shallow": Mlp(width=9, depth=1, activation="gelu"),
    "fourier": FourierMlp(width=6, features=4),
    "residual": ResidualMlp(width=6, depth=3, activation="swish"),
    "modified": ModifiedMlp(width=5, depth=3),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("dimension", [3, 20], ids=["narrow", "wide"])  # fewer and more inputs than neurons
def test_every_layer(spec, dimension: int) -> None:
    for problem in (AllenCahn(dimension).problem(), Heat(dimension).problem()):
        least = least_squares(problem, spec)
        assert least.layerwise, least.note
        assert_same(least, batch_of(problem))


FIXED = torch.tensor([1.0, -2.0, 0.5, 0.3, -0.7], dtype=torch.float64)
ATOMS = {
    "value": lambda u: u**3 - sin(u),
    "first partial": lambda u: partial(u, x[1]) * u,
    "mixed partial": lambda u: partial(u, x[0], x[2]) + u,
    "pure partial": lambda u: partial(u, x[1], x[1]),
    "gradient": lambda u: dot(grad(u), grad(u)),
    "gradient and laplacian": lambda u: laplacian(u) + dot(grad(u), grad(u)) * u,
    "fixed direction": lambda u: dot(FIXED, grad(u)) + u,
    "varying direction": lambda u: dot(Known("q", lambda p: (p.x**2).sum(-1)) * FIXED, grad(u)),
    "diagonal": lambda u: trace(Matrix(FIXED, diagonal=True), hessian(u)),
    "constant matrix": lambda u: trace(Matrix(FIXED[:, None] * FIXED + torch.eye(5, dtype=torch.float64)), hessian(u)),
    "varying matrix": lambda u: trace(Matrix(lambda p: 1 + p.x**2, diagonal=True), hessian(u)),
    "custom": lambda u: Custom(lambda a, b: torch.exp(a) * b, (u, laplacian(u))),
}


@pytest.mark.parametrize("function", ATOMS.values(), ids=ATOMS)
@pytest.mark.parametrize("width", [4, 7], ids=["fewer-neurons", "more-neurons"])
def test_every_atom(function, width: int) -> None:
    trial = Affine(Known("a", lambda p: 1 - p.x.square().sum(-1)), Known("c", lambda p: p.x[:, 0] ** 2), scale=1.7)
    for stated in (Stated(function, 5), Stated(function, 5, trial=trial)):
        least = least_squares(stated.problem(), Mlp(width=width, depth=2))
        assert least.layerwise, least.note
        assert_same(least, batch_of(stated.problem()))


@pytest.mark.parametrize(
    "equation",
    [
        Burgers(3),
        ClassicalBurgers(),
        Coupled(),
        Decay(hard=False),
        FokkerPlanck(12, drift="anisotropic"),
        Hjb(3),
        Hjb(12),
        LogFokkerPlanck(3),
        Poisson(3),
        Stated(lambda u: laplacian(u) + u, 4, (lambda u: u - 1.0, lambda u: dot(grad(u), grad(u)) - u)),
    ],
    ids=lambda equation: type(equation).__name__,
)
def test_every_mix_of_terms(equation) -> None:
    problem = equation.problem()
    least = least_squares(problem)
    assert least.layerwise, least.note
    assert_same(least, batch_of(problem))


def test_all_ways_of_summing_agree(monkeypatch) -> None:
    """Pairs of slots, rows in one piece, and rows a neuron at a time."""
    problem = Heat(5).problem()
    least, batch = least_squares(problem, Mlp(width=7, depth=3)), batch_of(problem)
    jacobian = least.linearize(batch, torch.Generator()).jacobian
    assert isinstance(jacobian, LayerwiseJacobian)
    grams = []
    for way in ("pairs", "rows", "chunks"):
        gram = torch.zeros(sum(map(len, batch)), sum(map(len, batch)), dtype=torch.float64)
        monkeypatch.setattr(layers, "CHUNK_ELEMENTS", 1 if way == "chunks" else 2**23)
        for layer in jacobian.layers:
            if layer.weight is None:
                continue
            if way == "pairs":
                layers._add_pairs(gram, layer.groups, Alone(layer.sizes), 1.0)
            else:
                layer._add_rows(gram, layer.groups, layer.inputs, Alone(layer.sizes))
        grams.append(gram)
    for gram in grams[1:]:
        assert torch.allclose(gram, grams[0], rtol=1e-12, atol=1e-13)


def test_a_planted_mistake_is_found() -> None:
    """Without the derivatives' slots, or with a bias on them, the matrices differ by far more than rounding."""
    problem = AllenCahn(4).problem()
    least, batch = least_squares(problem), batch_of(problem)
    _, dense = explicit_jacobian(least, batch)
    expected = dense @ dense.T
    for change in (
        lambda group: [slots for slots in group if slots.biased],
        lambda group: [Slots(slots.inputs, slots.cotangents, biased=True) for slots in group],
        lambda group: [Slots(slots.inputs, slots.cotangents[:, :1].expand_as(slots.cotangents)) for slots in group],
    ):
        jacobian = least.linearize(batch, torch.Generator()).jacobian
        assert isinstance(jacobian, LayerwiseJacobian)
        for layer in jacobian.layers:
            layer.groups = [change(group) for group in layer.groups]
        assert float((jacobian.gram() - expected).abs().max()) > 1e-3 * float(expected.abs().max())


class Gained(Network):
    """A network with a parameter outside of all affine layers."""

    def __init__(self, network: Network):
        super().__init__()
        self.network, self.gain = network, torch.nn.Parameter(torch.tensor(1.3, dtype=torch.float64))

    def first_affine(self):
        return self.network.first_affine()

    def tail(self, hidden):
        return self.network.tail(hidden) * self.gain


class GainedMlp(NetworkSpec):
    """Builds it."""

    kind = "gained"

    def build(self, inputs, outputs, *, generator, dtype):
        return Gained(Mlp(width=6, depth=2).build(inputs, outputs, generator=generator, dtype=dtype))


def test_other_networks_and_derivatives_fall_back_to_the_whole_jacobian() -> None:
    problem = Decay(hard=False).problem()
    least = least_squares(problem, GainedMlp())
    assert not least.layerwise
    assert "parameters outside of its affine layers" in least.note
    assert_same(least, batch_of(problem, points=19))
    least = least_squares(problem, derivatives=Autodiff())
    assert "the derivatives 'autodiff' do not push jets" in least.note
    assert_same(least, batch_of(problem))


def test_memory_does_not_grow_with_the_parameters() -> None:
    """d = 5000: the Jacobian of 30 residuals alone would take 30 · 5000 · 64 · 8 bytes = 77 MB, the row space 11 MB."""
    problem = AllenCahn(5000, frequency=1.0).problem()
    least = least_squares(problem, Mlp(width=64, depth=2))
    batch = batch_of(problem, points=30)
    linear = least.linearize(batch, torch.Generator())
    jacobian = linear.jacobian
    assert isinstance(jacobian, LayerwiseJacobian)
    held = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for layer in jacobian.layers
        for group in layer.groups
        for slots in group
        for tensor in (slots.inputs, slots.cotangents)
    }
    assert sum(held.values()) < 0.25 * 30 * least_parameters(least) * 8
    assert linear.residuals.device == CPU


def least_parameters(least) -> int:
    return sum(parameter.numel() for parameter in least.parameters)
