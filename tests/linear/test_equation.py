"""Linear systems from expression trees: closed forms, the order of convergence, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from pinnx.domain import Ball, Box
from pinnx.equations.allen_cahn import AllenCahn
from pinnx.equations.heat import Heat
from pinnx.equations.poisson import Poisson
from pinnx.errors import InputError, PinnxError, UnsupportedError
from pinnx.expr import (
    Coefficient,
    Expr,
    Known,
    Points,
    Symbol,
    Unknown,
    dot,
    dt,
    grad,
    hessian,
    laplacian,
    partial,
    trace,
    x,
)
from pinnx.problem import Condition, Equation, Problem
from pinnx.solvers.linear import GridOperator, Multigrid, Reason, SparseOperator, equation_system, solve

BOX = Box(-0.5, 1.5, dimension=2)
EXACT = Known("exact", lambda points: (points.x[:, 0] * 1.3).sin() * (0.7 * points.x[:, 1]).exp())
TILTED = torch.tensor([[2.0, 0.6], [0.6, 1.0]], dtype=torch.float64)


@dataclass(frozen=True)
class Manufactured(Equation):
    """An operator, forced so that `EXACT` solves it."""

    kind: str

    def operator(self, u: Symbol) -> Expr:
        wind = Coefficient("w", lambda points: torch.stack([points.x[:, 1], -points.x[:, 0]], 1), rank=1)
        return {
            "reaction": lambda: -2.0 * laplacian(u) + 3.0 * u,
            "flipped": lambda: laplacian(u) - 0.5 * u,
            "varying reaction": lambda: -laplacian(u) + (1 + x[0] ** 2) * u,
            "wind": lambda: -laplacian(u) + dot(wind, grad(u)),
            "tilted": lambda: -trace(TILTED, hessian(u)),
            "partial": lambda: -partial(u, x[0], x[0]) - 2.0 * partial(u, x[1], x[1]) + partial(u, x[0]),
        }[self.kind]()

    def residual(self, u: Symbol) -> Expr:
        return self.operator(u) - self.operator(EXACT)

    def problem(self) -> Problem:
        boundary = Condition("boundary", 2.0 * (Unknown("u") - EXACT), BOX.boundary())
        return Problem(equation=self, domain=BOX, conditions=(boundary,), exact=EXACT)


def _error(equation: Equation, n: int) -> float:
    system = equation_system(equation, (n, n + 3))
    dense = system.operator.to_scipy().toarray()  # type: ignore[attr-defined]
    return float(np.abs(np.linalg.solve(dense, system.b.numpy()) - EXACT(system.points).numpy()).max())


@pytest.mark.parametrize("kind", ["reaction", "flipped", "varying reaction", "wind", "tilted", "partial"])
def test_second_order(kind: str) -> None:
    errors = [_error(Manufactured(kind), n) for n in (8, 17)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize(
    ("kind", "made"), [("reaction", GridOperator), ("flipped", GridOperator), ("tilted", SparseOperator)]
)
def test_solved_by_the_loop(kind: str, made: type) -> None:
    system = equation_system(Manufactured(kind), (24, 24))
    assert isinstance(system.operator, made)
    result = solve(system.operator, system.b, direction=Multigrid() if made is GridOperator else None)
    assert result.ok
    assert float((result.x - EXACT(system.points)).abs().max()) < 5e-3


def test_grid_operator_and_sparse_matrix_agree() -> None:
    """Both are made of the same tree: the second has a coefficient that varies by nothing."""
    one = equation_system(Manufactured("reaction"), (5, 6))

    @dataclass(frozen=True)
    class Same(Equation):
        def residual(self, u: Symbol) -> Expr:
            return Manufactured("reaction").residual(u) + 0.0 * partial(u, x[0])

        def problem(self) -> Problem:
            return Manufactured("reaction").problem()

    other = equation_system(Same(), (5, 6))
    assert isinstance(one.operator, GridOperator)
    assert np.allclose(one.operator.to_scipy().toarray(), other.operator.to_scipy().toarray())  # type: ignore[attr-defined]
    assert torch.allclose(one.b, other.b)


def test_poisson_of_the_package() -> None:
    """u = x1 x2 is reproduced exactly by second differences."""
    equation = Poisson(dimension=2, solution="products")
    system = equation_system(equation, (9, 7))
    exact = equation.problem().exacts[0](system.points)
    assert torch.allclose(solve(system.operator, system.b, rtol=1e-12).x, exact, atol=1e-10)


def test_unsymmetric_equations_get_their_status() -> None:
    system = equation_system(Manufactured("wind"), (8, 8))
    assert solve(system.operator, system.b).status[0].reason is Reason.NOT_SYMMETRIC


def test_given_boundary_values() -> None:
    def boundary(points: Points) -> Tensor:
        return 2 * points.x[:, 0] - points.x[:, 1]

    @dataclass(frozen=True)
    class Laplace(Equation):
        def residual(self, u: Symbol) -> Expr:
            return laplacian(u)

        def problem(self) -> Problem:
            return Problem(equation=self, domain=BOX)

    system = equation_system(Laplace(), (6, 6), boundary=boundary)
    assert torch.allclose(solve(system.operator, system.b, rtol=1e-12).x, boundary(system.points), atol=1e-9)
    with pytest.raises(UnsupportedError, match="boundary="):
        equation_system(Laplace(), (6, 6))


@dataclass(frozen=True)
class Other(Equation):
    kind: str

    def residual(self, u: Symbol) -> Expr:
        return {
            "third": lambda: partial(u, x[0], x[0], x[0]),
            "time": lambda: dt(u) - laplacian(u),
            "ball": lambda: laplacian(u),
            "sine": lambda: laplacian(u) * u,
        }[self.kind]()

    def problem(self) -> Problem:
        return Problem(equation=self, domain=Ball(2) if self.kind == "ball" else BOX)


@pytest.mark.parametrize(
    ("equation", "grid", "words"),
    [
        (AllenCahn(dimension=2), (5, 5), r"u\*\*3 is nonlinear"),
        (Other("sine"), (5, 5), "nonlinear"),
        (Heat(dimension=2), (5, 5), "derivative in time"),
        (Other("time"), (5, 5), "derivative in time"),
        (Other("third"), (5, 5), "order two at most"),
        (Other("ball"), (5, 5), "needs a Box"),
        (Poisson(dimension=4), (3,) * 4, "one to three dimensions"),
        (Poisson(dimension=2), (5,), "2 sizes"),
    ],
)
def test_refusals(equation: Equation, grid: tuple[int, ...], words: str) -> None:
    with pytest.raises(PinnxError, match=words) as caught:
        equation_system(equation, grid)
    assert isinstance(caught.value, InputError)
