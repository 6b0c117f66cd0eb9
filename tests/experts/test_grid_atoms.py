"""Atoms on grids against exact derivatives: spectral ones to round-off, differences at their measured order."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pinnx.errors import ShapeError, UnsupportedError
from pinnx.expr import (
    Atom,
    Coefficient,
    Input,
    Matrix,
    Points,
    Unknown,
    biharmonic,
    directional,
    dt,
    grad,
    hessian,
    laplacian,
    partial,
    t,
    trace,
    value,
    x,
)
from pinnx.expr.calculus import differentiate
from pinnx.family import Grid, space_axis, time_axis
from pinnx.solvers.experts.grid_atoms import TIME_SCHEMES, forms

u, a = Unknown("u"), Input("a")
PERIODIC = ("periodic", "periodic")
TORUS = Grid((space_axis(0, 0.0, 1.0, 16, PERIODIC), space_axis(1, -1.0, 1.0, 15, PERIODIC), time_axis(1.0, 4)))
FULL = Matrix(torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64))
FLOW = Coefficient("b", lambda p: torch.stack([p.x[:, 1], -p.x[:, 0] * (1 + p.t)], 1), rank=1)
SPACE_ATOMS: list[Atom] = [
    value(u),
    grad(u),
    laplacian(u),
    trace(FULL, hessian(u)),
    trace(lambda p: torch.diag_embed(1 + p.x.square()), hessian(u)),
    partial(u, x[0], x[1]),
    partial(u, x[0]),
    directional(u, FLOW),
    directional(u, torch.tensor([0.3, -2.0], dtype=torch.float64)),
]


def function(row: Tensor) -> Tensor:
    """Periodic on the torus, resolved by its grid."""
    first, second, time = row
    return (4 * math.pi * first + 1).sin() * (1 + (3 * math.pi * second).cos()) * (1 + time) + second.new_tensor(0.7)


def rough(row: Tensor) -> Tensor:
    """Smooth, and periodic in nothing."""
    return (2.1 * row[0] - 0.4).exp() * (1.3 * row[1] + 0.2).sin() * (1 + row[2]).reciprocal()


def values(grid: Grid, f: Callable[[Tensor], Tensor]) -> Tensor:
    return grid.unflat(torch.func.vmap(f)(grid.points().tensor))[None, None]


def truth(atom: Atom, points: Points, f: Callable[[Tensor], Tensor]) -> Tensor:
    vector = None
    if hasattr(atom, "vector"):
        vector = atom.vector.function(points) if isinstance(atom.vector, Coefficient) else atom.vector.value[None]
    return differentiate(f, atom, points, vector)


def flat(grid: Grid, form: Tensor) -> Tensor:
    """(1, *grid, 1) as (n,), (1, *grid, d, 1) as (n, d)."""
    return form[0, ..., 0].flatten(0, grid.dimension - 1)


@pytest.mark.parametrize("atom", [*SPACE_ATOMS, biharmonic(u), partial(u, x[0], x[0], x[0], x[1])], ids=str)
def test_periodic_axes_are_exact(atom: Atom) -> None:
    found = flat(TORUS, forms(values(TORUS, function), [atom], TORUS)[atom])
    expected = truth(atom, TORUS.points(), function)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11 * float(expected.abs().max()))


def measured_order(atom: Atom, sizes: tuple[int, int], grid: Callable[[int], Grid], f=rough, **options: str) -> float:
    errors = []
    for n in sizes:
        on = grid(n)
        error = flat(on, forms(values(on, f), [atom], on, **options)[atom]) - truth(atom, on.points(), f)
        if atom.of == u and options.get("time", "centered") != "centered":
            error = on.unflat(error)[..., 1:]  # the beginning, where no equation is asked for
        errors.append(float(error.abs().max()))
    return math.log(errors[0] / errors[1]) / math.log((sizes[1] - 1) / (sizes[0] - 1))


def box(n: int) -> Grid:
    return Grid((space_axis(0, 0.0, 1.0, n), space_axis(1, -1.0, 1.0, n, ("free", "dirichlet")), time_axis(1.0, 3)))


def cells(n: int) -> Grid:
    ends = ("free", "free")
    return Grid(
        (space_axis(0, 0.0, 1.0, n - 1, ends, "cell"), space_axis(1, 0.0, 1.0, n - 1, ends, "cell"), time_axis(1.0, 3))
    )


@pytest.mark.parametrize("grid", [box, cells])
@pytest.mark.parametrize("atom", SPACE_ATOMS[1:], ids=str)
def test_differences_are_of_second_order_up_to_the_ends(atom: Atom, grid: Callable[[int], Grid]) -> None:
    assert measured_order(atom, (33, 65), grid) == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("atom", [laplacian(u), partial(u, x[0]), partial(u, x[0], x[1])], ids=str)
def test_compact_differences_serve_periodic_axes(atom: Atom) -> None:
    def torus(n: int) -> Grid:
        axes = space_axis(0, 0.0, 1.0, n - 1, PERIODIC), space_axis(1, -1.0, 1.0, n - 1, PERIODIC)
        return Grid((*axes, time_axis(1.0, 3)))

    assert measured_order(atom, (65, 129), torus, function, space="compact") == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("grading", [1.0, 2.0])
@pytest.mark.parametrize(("time", "order"), [("backward", 1), ("centered", 2), ("bdf2", 1)])
def test_time_schemes_have_their_order(time: str, order: int, grading: float) -> None:
    def line(n: int) -> Grid:
        return Grid((space_axis(0, 0.0, 1.0, 3), space_axis(1, 0.0, 1.0, 3), time_axis(1.0, n, grading)))

    # The first step of bdf2 is of first order; the graded first steps are short.
    expected = order if grading == 1 or time != "bdf2" else 2
    assert measured_order(dt(u), (41, 81), line, time=time) == pytest.approx(expected, abs=0.2)


def test_bdf2_is_of_second_order_after_its_first_step() -> None:
    errors = []
    for n in (41, 81):
        grid = Grid((space_axis(0, 0.0, 1.0, 3), space_axis(1, 0.0, 1.0, 3), time_axis(1.0, n)))
        error = forms(values(grid, rough), [dt(u)], grid, "bdf2")[dt(u)][..., 0]
        errors.append(float((error[0] - grid.unflat(truth(dt(u), grid.points(), rough)))[..., 2:].abs().max()))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.15)


@pytest.mark.parametrize("time", TIME_SCHEMES)
def test_mixed_derivatives_of_space_and_time(time: str) -> None:
    atom = partial(u, x[1], t)
    grid = Grid((space_axis(0, 0.0, 1.0, 4, PERIODIC), space_axis(1, 0.0, 1.0, 5), time_axis(2.0, 6)))
    found = forms(values(grid, lambda row: 3 * row[1] * row[2]), [atom], grid, time)[atom]
    torch.testing.assert_close(found, torch.full_like(found, 3.0))


def test_second_differences_see_odd_even_noise() -> None:
    """The twice applied first difference does not."""
    grid = Grid((space_axis(0, 0.0, 1.0, 17),))
    noise = (-1.0) ** torch.arange(17, dtype=torch.float64)[None, None]
    atom = partial(u, x[0], x[0])
    found = forms(noise, [atom], grid)[atom][0, 1:-1, 0]
    torch.testing.assert_close(found.abs(), torch.full_like(found, 4 * 16.0**2))


@pytest.mark.parametrize("time", TIME_SCHEMES)
def test_forms_are_linear_and_their_gradients_exact(time: str) -> None:
    generator = torch.Generator().manual_seed(3_017_922)
    grid = Grid((space_axis(0, 0.0, 1.0, 4, PERIODIC), space_axis(1, 0.0, 1.0, 5), time_axis(1.0, 4, 1.5)))
    fields = torch.randn(2, 3, *grid.shape, generator=generator, dtype=torch.float64, requires_grad=True)
    atoms = [*SPACE_ATOMS, dt(u)]

    def every(tensor: Tensor) -> Tensor:
        return torch.cat([form.flatten() for form in forms(tensor, atoms, grid, time).values()])

    there = every(fields)
    weights = torch.randn(there.shape, generator=generator, dtype=torch.float64)
    other = torch.randn(fields.shape, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(there @ weights, fields)  # of a linear map: its transpose
    torch.testing.assert_close((gradient * other).sum(), every(other) @ weights)
    omega = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    combined = torch.einsum("bn,bn...->b...", omega, fields)[:, None]
    for atom in atoms:
        whole = forms(combined, [atom], grid, time)[atom][..., 0]
        parts = torch.einsum("b...n,bn->b...", forms(fields, [atom], grid, time)[atom], omega)
        torch.testing.assert_close(parts, whole)


def test_directions_may_hold_inputs() -> None:
    """grad(a)·grad(u) for an input a, the same as the sum of the products."""
    generator = torch.Generator().manual_seed(77_120_003)
    grid = Grid((space_axis(0, 0.0, 1.0, 6), space_axis(1, 0.0, 1.0, 7)))
    fields = torch.randn(2, 3, *grid.shape, generator=generator, dtype=torch.float64)
    coefficient = torch.randn(2, 1, *grid.shape, generator=generator, dtype=torch.float64)
    slope = forms(coefficient, [grad(a)], grid)[grad(a)]
    given = {grad(a): slope[..., 0].flatten(1, 2)}
    atom = directional(u, grad(a))
    found = forms(fields, [atom], grid, given=given)[atom]
    expected = (slope * forms(fields, [grad(u)], grid)[grad(u)]).sum(-2)
    torch.testing.assert_close(found, expected)


def test_single_precision_stays_single() -> None:
    for atom, form in forms(values(TORUS, function).float(), [*SPACE_ATOMS, dt(u)], TORUS).items():
        assert form.dtype == torch.float32, atom


@pytest.mark.parametrize(
    ("atom", "options", "says"),
    [
        (partial(u, x[0], x[0], x[0]), {}, "order two at most"),
        (partial(u, t, t), {"time": "bdf2"}, "take time = 'centered'"),
        (partial(u, x[2]), {}, "without the coordinate"),
        (grad(u, "y"), {}, "without the coordinates 'y'"),
        (biharmonic(u), {}, "order two at most"),
        (dt(u), {"time": "forward"}, "no scheme 'forward'"),
    ],
)
def test_what_a_grid_cannot_serve_is_refused(atom: Atom, options: dict[str, str], says: str) -> None:
    with pytest.raises(UnsupportedError, match=says):
        forms(values(box(5), rough), [atom], box(5), **options)


def test_fields_off_the_grid_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(B, N, 5, 5, 3\), got \(1, 5, 5, 3\)"):
        forms(torch.zeros(1, 5, 5, 3), [value(u)], box(5))
