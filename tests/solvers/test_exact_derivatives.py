"""Taylor mode and automatic differentiation agree in float64, in values and in parameter gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import gelu, linear, silu, softplus

from pinnx.errors import UnsupportedError
from pinnx.expr import (
    Atom,
    Coordinates,
    Matrix,
    Points,
    Unknown,
    atoms,
    directional,
    dot,
    dt,
    grad,
    hessian,
    laplacian,
    partial,
    t,
    total,
    trace,
    x,
)
from pinnx.networks import FourierMlp, Mlp, ModifiedMlp, ResidualMlp
from pinnx.networks.base import Network
from pinnx.solvers.derivatives import Auto, Autodiff, Taylor
from pinnx.solvers.derivatives.row_space import row_space_factor

GENERATOR = torch.Generator().manual_seed(3_356_120)
U, V = Unknown("u"), Unknown("v", 1)
NETWORKS = {
    "tanh": Mlp(width=8, depth=2, activation="tanh"),
    "sin": Mlp(width=8, depth=3, activation="sin"),
    "gelu": Mlp(width=8, depth=2, activation="gelu"),
    "swish": Mlp(width=8, depth=1, activation="swish"),
    "fourier": FourierMlp(width=8, depth=2),
    "residual": ResidualMlp(width=8, depth=4),
    "modified": ModifiedMlp(width=6, depth=2),
}


def requested(d: int) -> tuple[Atom, ...]:
    """Every kind of atom, of two unknowns."""
    a = torch.randn(d, d, dtype=torch.float64, generator=GENERATOR)
    vary = Matrix(lambda p: p.x[:, :, None] * a)
    return atoms(
        U * V,
        dt(U) + dt(V),
        laplacian(U) + laplacian(V),
        dot(x, grad(U)) + directional(V, torch.ones(d)),
        trace(a, hessian(U)) + trace(a @ a.T, hessian(V)),
        trace(a[0], hessian(U)) + trace(a[0].abs(), hessian(U)),
        trace(vary, hessian(U)) + trace(Matrix(lambda p: p.x, diagonal=True), hessian(V)),
        partial(U, x[0], x[0]) + partial(U, x[0], x[d - 1]) + partial(V, x[d - 1], t),
        total(grad(U)) + total(grad(V)),
    )


def points(d: int, n: int = 5) -> Points:
    return Points(torch.rand(n, d + 1, dtype=torch.float64, generator=GENERATOR), Coordinates.of(x=d, t=0))


@pytest.mark.parametrize("d", [1, 3, 12])  # below, below and above the width of the first layer
@pytest.mark.parametrize("name", NETWORKS)
def test_taylor_equals_autodiff(name: str, d: int) -> None:
    network = NETWORKS[name].build(d + 1, 2, generator=GENERATOR, dtype=torch.float64)
    batch, wanted = points(d), requested(d)
    exact = Autodiff().estimate(network, batch, wanted, GENERATOR)
    fast = Taylor().estimate(network, batch, wanted, GENERATOR)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for atom in wanted:
        torch.testing.assert_close(fast[atom], exact[atom], rtol=1e-10, atol=1e-10, msg=str(atom))
        weights = torch.randn(exact[atom].shape, dtype=torch.float64, generator=GENERATOR)
        gradients = [
            torch.autograd.grad((values[atom] * weights).sum(), parameters, retain_graph=True, materialize_grads=True)
            for values in (exact, fast)
        ]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-10, msg=str(atom))


def test_slots_of_an_exact_estimator_are_equal() -> None:
    network = NETWORKS["tanh"].build(4, 1, generator=GENERATOR, dtype=torch.float64)
    first, second = laplacian(U), type(laplacian(U))(U, slot=1)  # type: ignore[call-arg]
    for estimator in (Taylor(), Autodiff()):
        values = estimator.estimate(network, points(3), [first, second], GENERATOR)  # type: ignore[list-item]
        assert torch.equal(values[first], values[second])  # type: ignore[index]


def test_nothing_is_recorded_without_gradients() -> None:
    network = NETWORKS["tanh"].build(4, 1, generator=GENERATOR, dtype=torch.float64)
    wanted = atoms(laplacian(U), total(grad(U)))
    with_graph = Taylor().estimate(network, points(3), wanted, GENERATOR)
    with torch.no_grad():
        values = Taylor().estimate(network, points(3), wanted, GENERATOR)
    assert not any(value.requires_grad for value in values.values())
    assert all(value.requires_grad for value in with_graph.values())


@pytest.mark.parametrize("condition", [1.0, 1e-9], ids=["well-conditioned", "nearly dependent rows"])
def test_row_space_factor_keeps_the_gram_matrix_and_its_gradient(condition: float) -> None:
    weight = torch.randn(6, 40, dtype=torch.float64, generator=GENERATOR)
    weight[1] = weight[0] + condition * weight[1]
    weight.requires_grad_()
    probe = torch.randn(6, 6, dtype=torch.float64, generator=GENERATOR)
    factor = row_space_factor(weight)
    torch.testing.assert_close(factor @ factor.T, weight @ weight.T, rtol=1e-12, atol=1e-12)
    (gradient,) = torch.autograd.grad(((factor @ factor.T) * probe).sum(), weight)
    (truth,) = torch.autograd.grad(((weight @ weight.T) * probe).sum(), weight)
    torch.testing.assert_close(gradient, truth, rtol=1e-6 if condition < 1 else 1e-11, atol=1e-7)


class Own(Network):
    """A network of a user's own: Taylor mode must read it without being told."""

    def __init__(self, operation):
        super().__init__()
        self.first = torch.nn.Linear(4, 6, dtype=torch.float64)
        self.last = torch.nn.Linear(6, 1, dtype=torch.float64)
        self.operation = operation

    def first_affine(self):
        return self.first.weight, self.first.bias

    def tail(self, hidden):
        return self.last(self.operation(hidden))


@pytest.mark.parametrize(
    "operation",
    [
        lambda z: torch.tanh(z) * (1 - torch.sigmoid(z)) + 0.5,
        lambda z: torch.cat([torch.cos(z[:, :3]), silu(z[..., 3:])], dim=-1) - z,
        lambda z: torch.add(*(torch.cat([part, part], -1) for part in torch.chunk(torch.exp(z / 3), 2, dim=-1))),
        lambda z: softplus(z, 2.0) - gelu(z) * torch.sin(2.0 * z) + (-z),
        lambda z: torch.sub(1.0, torch.mul(torch.tanh(z), z)),
        lambda z: linear(torch.sin(z), torch.eye(6, dtype=torch.float64)),
        lambda z: torch.cat(torch.split(z * z, 2, dim=-1), dim=1),
    ],
)
def test_own_networks_of_known_operations(operation) -> None:
    network, batch = Own(operation), points(3)
    wanted = atoms(laplacian(U) + dt(U) + partial(U, x[0], x[1]))
    assert Taylor().refusal(network, wanted) is None
    exact = Autodiff().estimate(network, batch, wanted, GENERATOR)
    fast = Taylor().estimate(network, batch, wanted, GENERATOR)
    for atom in wanted:
        torch.testing.assert_close(fast[atom], exact[atom], rtol=1e-10, atol=1e-10)


def test_auto_says_what_it_chose_and_why() -> None:
    good = NETWORKS["tanh"].build(4, 1, generator=GENERATOR, dtype=torch.float64)
    chosen, note = Auto().choose(good, atoms(laplacian(U)))
    assert isinstance(chosen, Taylor)
    assert "taylor" in note
    assert isinstance(Auto().choose(good, atoms(partial(U, x[0], x[0], x[0], t)))[0], Taylor)
    fifth = atoms(partial(U, x[0], x[0], x[0], x[0], t))
    chosen, note = Auto().choose(good, fifth)
    assert isinstance(chosen, Autodiff)
    assert "of order 5" in note
    strange = Own(lambda z: torch.cumsum(z, dim=-1))
    chosen, note = Auto().choose(strange, atoms(laplacian(U)))
    assert isinstance(chosen, Autodiff)
    assert "cumsum" in note
    with pytest.raises(UnsupportedError, match="'taylor' cannot serve here, because .*order 5"):
        Taylor().choose(good, fifth)


def test_the_hidden_directions_do_not_grow_with_the_dimension() -> None:
    """The work behind the first layer is the same at d = 50 and d = 5000: as many directions as hidden units."""
    from pinnx.solvers.derivatives.taylor import Plan

    for d in (50, 5000):
        network = NETWORKS["tanh"].build(d, 1, generator=GENERATOR, dtype=torch.float32)
        batch = Points(torch.rand(2, d), Coordinates.of(x=d))
        affine = network.first_affine()
        assert affine is not None
        plan = Plan(affine[0], batch)
        plan.request(laplacian(U))  # type: ignore[arg-type]
        jet = plan.jet(linear(batch.tensor, *affine))
        assert tuple(jet.first.shape) == (8, 1, 8)
