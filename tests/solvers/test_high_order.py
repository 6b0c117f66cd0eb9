"""Third and fourth derivatives: exact ones against automatic differentiation, random ones against the exact."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, linear, silu, softplus

from pinnx.domain import Box, Interval, Product
from pinnx.errors import InputError, UnsupportedError
from pinnx.expr import (
    Atom,
    Biharmonic,
    Coordinates,
    Expr,
    Known,
    Points,
    Unknown,
    atoms,
    biharmonic,
    dt,
    evaluate,
    grad,
    laplacian,
    partial,
    substitute,
    t,
    total,
    x,
)
from pinnx.networks import FourierMlp, Mlp, ModifiedMlp, ResidualMlp
from pinnx.networks.base import Network
from pinnx.problem import Condition, Equation, Problem
from pinnx.solvers.derivatives import Auto, Autodiff, Hutchinson, Sdgd, Smoothing, Taylor
from pinnx.solvers.derivatives import biharmonic as module
from pinnx.solvers.derivatives.derivative_series import derivatives_of
from pinnx.solvers.derivatives.high_order import divisors
from pinnx.solvers.pinn import Pinn
from pinnx.solvers.training.adam import Adam
from pinnx.solvers.training.schedules import Cosine
from pinnx.trial import Affine

SEED = 5_118_407
GENERATOR = torch.Generator().manual_seed(SEED)
U, V = Unknown("u"), Unknown("v", 1)
NETWORKS = {
    "tanh": Mlp(width=8, depth=2),
    "sin": Mlp(width=8, depth=3, activation="sin"),
    "gelu": Mlp(width=8, depth=2, activation="gelu"),
    "swish": Mlp(width=8, depth=2, activation="swish"),
    "fourier": FourierMlp(width=8, depth=2),
    "residual": ResidualMlp(width=8, depth=3),
    "modified": ModifiedMlp(width=6, depth=2),
}


def batch(d: int, n: int = 4) -> Points:
    return Points(torch.randn(n, d + 1, dtype=torch.float64, generator=GENERATOR), Coordinates.of(x=d, t=0))


def build(name: str, d: int) -> Network:
    network = NETWORKS[name].build(d + 1, 2, generator=GENERATOR, dtype=torch.float64)
    for parameter in network.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, dtype=torch.float64, generator=GENERATOR)
    return network


def wanted(d: int) -> tuple[Atom, ...]:
    """Derivatives of all orders up to four, of two unknowns, alone and beside each other."""
    last = x[d - 1]
    return atoms(
        partial(U, x[0], x[0], x[0]) + partial(V, x[0], x[0], last) + partial(U, x[0], last, t),
        partial(U, x[0], x[0], x[0], x[0]) + partial(V, x[0], x[0], last, last) + partial(U, x[0], x[0], x[0], t),
        partial(U, x[0], x[0]) + partial(V, t, t) + dt(U) + U,
        biharmonic(U) + laplacian(laplacian(V)) + laplacian(U) + laplacian(V) + total(grad(U)),
    )


def assert_equal(network: Network, points: Points, requests: tuple[Atom, ...]) -> None:
    """Values and parameter gradients of Taylor mode and of automatic differentiation."""
    exact = Autodiff().estimate(network, points, requests, GENERATOR)
    fast = Taylor().estimate(network, points, requests, GENERATOR)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for atom in requests:
        torch.testing.assert_close(fast[atom], exact[atom], rtol=1e-9, atol=1e-9, msg=str(atom))
        weights = torch.randn(exact[atom].shape, dtype=torch.float64, generator=GENERATOR)
        one, other = (
            torch.autograd.grad((values[atom] * weights).sum(), parameters, retain_graph=True, materialize_grads=True)
            for values in (exact, fast)
        )
        for left, right in zip(one, other, strict=True):
            torch.testing.assert_close(right, left, rtol=1e-9, atol=1e-9, msg=str(atom))


@pytest.mark.parametrize("d", [1, 3, 10])  # the last one above the width of the first layer
@pytest.mark.parametrize("name", NETWORKS)
def test_high_orders_equal_autodiff(name: str, d: int) -> None:
    if name in {"tanh", "modified"} or d == 3:  # autodiff is slow
        assert_equal(build(name, d), batch(d), wanted(d))


@pytest.mark.parametrize("function", [torch.tanh, torch.sin, torch.cos, torch.exp, torch.sigmoid, silu, gelu, softplus])
def test_the_series_of_an_activation(function) -> None:
    z = torch.linspace(-4, 4, 33, dtype=torch.float64, requires_grad=True)
    exact = function(z)
    for order, value in enumerate(derivatives_of(function, z, 4)):
        torch.testing.assert_close(value, exact, rtol=1e-10, atol=1e-12, msg=f"{function.__name__}, order {order}")
        (exact,) = torch.autograd.grad(exact.sum(), z, create_graph=True)


class Own(Network):
    """A network of a user's own, with every operation that jets of second order know."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 6, dtype=torch.float64)
        self.last = torch.nn.Linear(9, 2, dtype=torch.float64)

    def first_affine(self):
        return self.first.weight, self.first.bias

    def tail(self, hidden: Tensor) -> Tensor:
        low, high = torch.chunk(hidden, 2, dim=-1)
        mixed = softplus(low, 2.0) * high - torch.rsub(high, 1.0) + torch.sin(2.0 * low) / 3
        first, second, third = torch.split(torch.cat([mixed, -hidden], -1), 3, dim=-1)
        joined = torch.cat([first * torch.sigmoid(second), (1 - third) * 0.5, hidden[:, :3] - torch.cos(low)], dim=-1)
        return linear(joined, self.last.weight, self.last.bias)


def test_networks_of_a_users_own() -> None:
    torch.manual_seed(SEED)
    network, points = Own(), batch(3)
    assert Taylor().refusal(network, wanted(3)) is None
    assert_equal(network, points, wanted(3))


def test_what_is_carried_is_what_divides() -> None:
    xx, xt = (("x", 0),) * 2, (("t", 0), ("x", 0))
    assert divisors([xx]) == ((("x", 0),), xx)
    assert len(divisors([xx + xx, xt])) == 4 + 2
    assert len(divisors([(("x", 0),) * 2 + (("x", 1),) * 2])) == 8


def test_the_language() -> None:
    assert laplacian(laplacian(U)) == biharmonic(U) == Biharmonic(U)
    assert str(biharmonic(U)) == "biharmonic(u)"
    assert biharmonic(U).latex() == r"\Delta^{2} u"
    assert biharmonic(U).order == 4
    for wrong in (lambda: laplacian(2 * U), lambda: laplacian(laplacian(laplacian(U))), lambda: biharmonic(U, t)):
        with pytest.raises(InputError):
            wrong()


def test_known_functions_have_biharmonics() -> None:
    radius = Known(
        "r", lambda p: p.x.square().sum(-1) ** 3
    )  # Δ²r⁶ = 24 (d + 2)(d + 4) r² … by Δrⁿ = n (n + d − 2) rⁿ⁻²
    points = batch(5)
    truth = 6 * (5 + 4) * 4 * (5 + 2) * points.x.square().sum(-1)
    torch.testing.assert_close(evaluate(biharmonic(radius), points), truth, rtol=1e-10, atol=0)  # type: ignore[arg-type]


# --- random directions ------------------------------------------------------------------------------------------------

RANDOM = Hutchinson(samples=1, law="gaussian", noise="per-point", correction="unbiased")


def deviations(estimator: Hutchinson, d: int, count: int = 60_000) -> Tensor:
    """The mean of many estimates at one point less the exact biharmonic, in standard errors."""
    network, point = build("tanh", d), batch(d, 1)
    requests = atoms(biharmonic(U) + biharmonic(V))
    many = Points(point.tensor.expand(count, -1), point.coordinates)
    with torch.no_grad():
        exact = Taylor().estimate(network, point, requests, GENERATOR)
        drawn = estimator.draw(network, many, requests, GENERATOR, [1])
    return torch.stack(
        [(drawn[atom].mean() - exact[atom][0]) / (drawn[atom].std() / math.sqrt(count)) for atom in requests]
    )


@pytest.mark.parametrize("space", ["rows", "full"])
@pytest.mark.parametrize("d", [3, 12])
def test_normal_directions_estimate_the_biharmonic_without_bias(space, d: int) -> None:
    assert bool((deviations(replace(RANDOM, space=space), d).abs() < 4).all())


def test_random_signs_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted mistakes: directions of another law, and the factor 1/3 left out."""
    assert float(deviations(replace(RANDOM, law="rademacher"), 3).abs().max()) > 20
    wrong = module.sampled_biharmonic
    monkeypatch.setattr("pinnx.solvers.derivatives.stochastic.sampled_biharmonic", lambda *a: 3 * wrong(*a))
    assert float(deviations(RANDOM, 3).abs().max()) > 20


def test_groups_are_means_over_their_samples() -> None:
    network, point = build("tanh", 3), batch(3, 2)
    (atom,) = atoms(biharmonic(U))
    each, groups = (
        RANDOM.draw(network, point, [atom], torch.Generator().manual_seed(SEED), sizes)[atom]
        for sizes in ([1] * 5, [2, 3])
    )
    torch.testing.assert_close(groups, torch.stack([each[:2].mean(0), each[2:].mean(0)]))


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (Hutchinson(), "fourth moments of orthogonal"),
        (Hutchinson(law="rademacher"), "fourth moments of rademacher"),
        (Sdgd(), "every pair"),
        (Smoothing(), "second order only"),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_others_refuse_it_and_say_why(estimator, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        estimator.choose(build("tanh", 3), atoms(biharmonic(U)))


def test_stochastic_estimators_deliver_partials_exactly() -> None:
    network, points = build("tanh", 3), batch(3)
    requests = atoms(partial(U, x[0], x[0], x[1]) + partial(U, x[0], x[0], x[0], x[0]) + laplacian(U))
    exact = Taylor().estimate(network, points, requests, GENERATOR)
    drawn = Hutchinson(samples=3).draw(network, points, requests, GENERATOR, [3])
    for atom in requests[:2]:
        torch.testing.assert_close(drawn[atom][0], exact[atom])


# --- equations of a user's own ----------------------------------------------------------------------------------------


def in_time(equation: Equation, low: list[float], high: list[float]) -> Problem:
    """An equation with its exact solution given at the start and near both ends of an interval."""
    u, exact, times = Unknown("u"), equation.exact, Interval(0.0, 1.0)  # type: ignore[attr-defined]
    ends = {"start": Product(Box(low, high), Interval(0.0, 1e-9))}
    width = 0.1 * (high[0] - low[0])
    ends["left"] = Product(Box(low, [low[0] + width]), times)
    ends["right"] = Product(Box([high[0] - width], high), times)
    conditions = tuple(Condition(name, u - exact, domain, weight=10.0) for name, domain in ends.items())
    return Problem(equation, Product(Box(low, high), times), conditions=conditions, exact=exact, test_points=500)


class KuramotoSivashinsky(Equation):
    """u_t + u u_x + u_xx + u_xxxx = g, for u = sin(x + t)."""

    exact = Known("u*", lambda p: torch.sin(p.x[:, 0] + p.t))

    def operator(self, u: Expr):
        return dt(u) + u * partial(u, x[0]) + partial(u, x[0], x[0]) + partial(u, x[0], x[0], x[0], x[0])  # type: ignore[arg-type]

    def residual(self, u: Unknown):
        return self.operator(u) - self.source

    source = Known("g", lambda p: torch.cos(p.x[:, 0] + p.t) * (1 + torch.sin(p.x[:, 0] + p.t)))

    def problem(self) -> Problem:
        return in_time(self, [0.0], [math.pi])


class KortewegDeVries(Equation):
    """u_t + 6 u u_x + u_xxx = 0, for the soliton u = (c/2) sech²(√c/2 (x − c t)), c = 1."""

    exact = Known("u*", lambda p: 0.5 / torch.cosh((p.x[:, 0] - p.t) / 2) ** 2)

    def residual(self, u: Unknown):
        return dt(u) + 6 * u * partial(u, x[0]) + partial(u, x[0], x[0], x[0])

    def problem(self) -> Problem:
        return in_time(self, [-5.0], [5.0])


class Plate(Equation):
    """Δ²u = d² u in five dimensions, for u = sin(Σ x_i): u and Δu given on the boundary."""

    exact = Known("u*", lambda p: torch.sin(p.x.sum(-1)))

    def residual(self, u: Unknown):
        return biharmonic(u) - 25.0 * self.exact

    def problem(self) -> Problem:
        u, box = Unknown("u"), Box([0.0] * 5, [0.5] * 5)
        conditions = (
            Condition("deflection", u - self.exact, box.boundary(), weight=1000.0),
            Condition("moment", laplacian(u) + 5 * self.exact, box.boundary(), weight=10.0),
        )
        return Problem(self, box, conditions=conditions, exact=self.exact, test_points=500)


EQUATIONS = {"Kuramoto–Sivashinsky": KuramotoSivashinsky, "Korteweg–de Vries": KortewegDeVries, "plate": Plate}


@pytest.mark.parametrize("name", EQUATIONS)
def test_the_exact_solution_solves_the_equation(name: str) -> None:
    equation = EQUATIONS[name]()
    problem = equation.problem()
    points = problem.domain.sample(50, torch.Generator().manual_seed(SEED), dtype=torch.float64)
    (residual,) = equation.residuals()
    value = evaluate(substitute(residual, {U: equation.exact}), points)
    torch.testing.assert_close(value, torch.zeros(50, dtype=torch.float64), rtol=0, atol=1e-9)
    assert Auto().choose(build("tanh", problem.domain.coordinates.total - 1), atoms(residual))[0] == Taylor()


@pytest.mark.parametrize(
    ("name", "derivatives", "steps", "error"),
    [
        ("Kuramoto–Sivashinsky", Auto(), 250, 0.15),
        ("Korteweg–de Vries", Auto(), 250, 0.15),
        ("plate", Auto(), 250, 0.08),
        ("plate", Hutchinson(samples=16, law="gaussian", correction="unbiased-loss"), 250, 0.15),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_the_equations_are_solved(name: str, derivatives, steps: int, error: float) -> None:
    solver = Pinn(
        steps=steps,
        points=50,
        condition_points=50,
        precision="float64",
        derivatives=derivatives,
        optimizer=Adam(learning_rate=1e-2, schedule=Cosine()),
    )
    spec = Mlp(width=24, depth=2)
    training = solver.start(EQUATIONS[name]().problem(), spec, seed=SEED, device=torch.device("cpu"))
    for _ in range(steps):
        training.step()
    measured = training.evaluate()
    assert measured is not None
    print(measured)
    assert measured.relative_l2 < error


def test_a_biharmonic_behind_a_varying_factor_is_refused() -> None:
    trial = Affine(Known("a", lambda p: p.t), 0.0)
    with pytest.raises(UnsupportedError, match="soft ones"):
        trial.apply(biharmonic(U), U)
    assert atoms(Affine(1.0, 0.0, scale=2.0).apply(biharmonic(U), U)) == atoms(biharmonic(U))
