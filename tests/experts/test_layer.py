"""The constraint layer by itself: statuses, options, shapes, one constraint, coordinate networks, the heat study."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pinnx.errors import InputError, ShapeError, UnsupportedError
from pinnx.expr import Atom, Coordinates, Custom, Points, Unknown, Value, atoms, dt, laplacian, partial, sin, value, x
from pinnx.networks import Mlp
from pinnx.solvers.derivatives import Autodiff, Hutchinson, Taylor
from pinnx.solvers.experts import (
    Ending,
    Independent,
    Interface,
    LeastSquaresOptions,
    Mixture,
    Partition,
    Rows,
    Windows,
    network_forms,
    solve_coefficients,
)

u = Unknown()
GENERATOR_SEED = 614_203


def random(*shape: int, seed: int = GENERATOR_SEED) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def line(n: int = 30) -> Points:
    return Points(random(n, 1), Coordinates.of(x=1))


def quadratic(batch: int = 3, n: int = 30, count: int = 4) -> Rows:
    """(A ω)² + A ω - 0.3 = 0 at random points, which has no solution."""
    return Rows(value(u) ** 2 + value(u) - 0.3, line(n), {Value(u): random(batch, n, count) / 2})


def test_the_gradient_of_a_scalar_problem_is_the_formula() -> None:
    """min ½ Σ (a_i ω - y_i)² has ω = a·y / a·a, and dω/da = (y - 2 ω a) / a·a."""
    a, y = random(1, 20, 1).requires_grad_(), random(20, seed=77_041)
    rows = Rows(value(u) - sin(x[0]), line(20), {Value(u): a}, {Value(u): (line(20).x[:, 0].sin() - y)[None]})
    solved = solve_coefficients([rows], LeastSquaresOptions())
    flat = a.detach().flatten()
    omega = float(flat @ y / flat.square().sum())
    assert float(solved.omega.detach()) == pytest.approx(omega, rel=1e-12)
    solved.omega.sum().backward()
    assert a.grad is not None
    torch.testing.assert_close(a.grad.flatten(), (y - 2 * omega * flat) / flat.square().sum(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("factorization", ["qr", "gram"])
@pytest.mark.parametrize("ridge", [0.0, 1e-2])
def test_gradients_with_every_option(factorization: str, ridge: float) -> None:
    """Both ways to condense rows, and the ridge, whose size depends on the forms itself."""
    rows, weights, way = quadratic(), random(3, 4, seed=8_812), random(3, 30, 4, seed=41_009)
    options = LeastSquaresOptions(tolerance=1e-13, factorization=factorization, ridge=ridge)  # type: ignore[arg-type]

    def loss(form: Tensor) -> Tensor:
        return (solve_coefficients([replace(rows, forms={Value(u): form})], options).omega * weights).sum()

    form = rows.forms[Value(u)].clone().requires_grad_()
    (exact,) = torch.autograd.grad(loss(form), form)
    h = 1e-4
    moved = [float(loss(form.detach() + s * h * way)) for s in (1, -1, 2, -2)]
    difference = (8 * (moved[0] - moved[1]) - (moved[2] - moved[3])) / (12 * h)
    assert float((exact * way).sum()) == pytest.approx(difference, abs=1e-7 * float((exact * way).abs().sum()))


def test_offsets_weights_and_inputs_carry_gradients() -> None:
    batch, n, count = 2, 25, 3
    form, offset, weight = random(batch, n, count), random(batch, n, seed=5_501), random(batch, n, seed=9_207).exp()

    def loss(offset: Tensor, weight: Tensor) -> Tensor:
        rows = Rows(value(u) + 0.2 * value(u) ** 3, line(n), {Value(u): form}, {Value(u): offset}, weight=weight)
        return solve_coefficients([rows], LeastSquaresOptions(tolerance=1e-13)).omega.sin().sum()

    leaves = [offset.requires_grad_(), weight.requires_grad_()]
    exact = torch.autograd.grad(loss(*leaves), leaves)
    for place, slope in enumerate(exact):
        way = random(batch, n, seed=31_337 + place)
        moved = [
            float(loss(*(leaf.detach() + s * 1e-5 * way * (k == place) for k, leaf in enumerate(leaves))))
            for s in (1, -1)
        ]
        assert float((slope * way).sum()) == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-6)


def test_instances_are_solved_each_by_itself() -> None:
    rows = quadratic(batch=5)
    together = solve_coefficients([rows], LeastSquaresOptions())
    for instance in range(5):
        alone = solve_coefficients([rows.instances(torch.tensor([instance]))], LeastSquaresOptions())
        torch.testing.assert_close(together.omega[instance], alone.omega[0], rtol=1e-9, atol=1e-10)
        assert int(together.iterations[instance]) == int(alone.iterations[0])


def test_what_stops_early_says_so_and_keeps_its_best() -> None:
    rows = Rows(value(u) ** 2 + value(u) - 0.3, line(), {Value(u): random(2, 30, 4)}, {Value(u): random(2, 30)})
    start = 5 * random(2, 4, seed=66_123)
    stopped = solve_coefficients([rows], LeastSquaresOptions(max_iterations=1), start=start)
    done = solve_coefficients([rows], LeastSquaresOptions(), start=start)
    assert done.counts == {"converged": 2}
    assert {status.ending for status in stopped.statuses} <= {Ending.NOT_CONVERGED, Ending.CONVERGED}
    assert bool((stopped.residual_norm >= done.residual_norm - 1e-12).all())


def test_too_few_rows_are_rank_deficient() -> None:
    rows = Rows(value(u) - 1.0, line(3), {Value(u): random(2, 3, 4)})
    solved = solve_coefficients([rows], LeastSquaresOptions())
    assert [status.ending for status in solved.statuses] == [Ending.RANK_DEFICIENT] * 2
    assert "use more points" in solved.statuses[0].message
    assert float(solved.residual_norm.max()) < 1e-9  # the rows can be met all the same
    ridged = solve_coefficients([rows], LeastSquaresOptions(ridge=1e-6))
    assert bool(ridged.ok.all())


def test_the_statuses_of_a_mixture_name_the_experts() -> None:
    """A block without points leaves its coefficients open, and nobody else's."""
    cut = Partition.uniform((0.0,), (1.0,), 3)
    points = Points(torch.linspace(0.0, 0.6, 40, dtype=torch.float64)[:, None], Coordinates.of(x=1))
    rows = Rows(value(u) - sin(x[0]), points, {Value(u): random(1, 40, 3)})
    solved = Mixture(cut, Independent()).solve([rows], LeastSquaresOptions())
    assert solved.statuses[0].ending is Ending.RANK_DEFICIENT
    assert "of expert 2 " in solved.statuses[0].message


@pytest.mark.parametrize("factorization", ["qr", "gram"])
def test_every_way_to_fail_in_one_batch(factorization: str) -> None:
    """Each instance says its own reason; the sound one is solved, bit for bit the same whatever the others hold."""
    rows = quadratic(batch=4)
    form = rows.forms[Value(u)].clone()
    form[1] = torch.nan
    form[2, :, 1] = 2 * form[2, :, 0]
    mixed = replace(rows, forms={Value(u): form.requires_grad_()})
    options = LeastSquaresOptions(max_iterations=1, factorization=factorization)  # type: ignore[arg-type]
    start = torch.cat([solve_coefficients([quadratic(batch=4)], LeastSquaresOptions()).omega[:3], random(1, 4) * 1e3])
    solved = solve_coefficients([mixed], options, start=start)
    assert [status.ending for status in solved.statuses] == [
        Ending.CONVERGED,
        Ending.NOT_FINITE,
        Ending.RANK_DEFICIENT,
        Ending.NOT_CONVERGED,
    ]
    for status, says in zip(solved.statuses, ("converged in", "not finite", "use more points", "raise"), strict=True):
        assert says in status.message
    assert solved.counts == dict.fromkeys(("converged", "not converged", "rank-deficient", "not finite"), 1)
    others = replace(rows, forms={Value(u): torch.cat([form[:1], random(3, 30, 4, seed=2_903)]).detach()})
    again = solve_coefficients([others], options, start=start)
    torch.testing.assert_close(solved.omega[0], again.omega[0], rtol=1e-12, atol=1e-14)
    solved.omega.sum().backward()
    assert form.grad is not None
    assert bool(form.grad.isfinite().all())
    assert not bool(form.grad[1:3].any())


def test_one_expert_that_fails_leaves_the_others_of_its_instance() -> None:
    cut = Partition.uniform((0.0,), (1.0,), 3)
    form = random(1, 60, 3)
    points = Points(torch.linspace(0.0, 1.0, 60, dtype=torch.float64)[:, None], Coordinates.of(x=1))
    rows = Rows(value(u) + value(u) ** 3 - sin(x[0]), points, {Value(u): form})
    sound = Mixture(cut, Independent()).solve([rows], LeastSquaresOptions())
    assert bool(sound.ok.all())
    form = form.clone()
    form[:, points.tensor[:, 0] > 0.7] = torch.inf
    broken = Mixture(cut, Independent()).solve([replace(rows, forms={Value(u): form})], LeastSquaresOptions())
    assert broken.statuses[0].ending is Ending.NOT_FINITE
    assert "of expert 2:" in broken.statuses[0].message
    torch.testing.assert_close(broken.omega[:, :2], sound.omega[:, :2], rtol=1e-8, atol=1e-10)


def test_experts_that_are_done_leave_the_iteration() -> None:
    """Blocks of very different size stand in different tables, of which some hold no open block after a while."""
    cut = Partition(((0.0, 0.1, 0.3, 1.0),), (False,))
    points = Points(torch.linspace(0.0, 1.0, 200, dtype=torch.float64)[:, None], Coordinates.of(x=1))
    rows = Rows(value(u) ** 3 + value(u) - sin(x[0]), points, {Value(u): random(2, 200, 3)})
    mixture, options = Mixture(cut, Independent()), LeastSquaresOptions()
    solved = mixture.solve([rows], options)
    for far in range(3):
        start = solved.omega.clone()
        start[:, far] += 3.0
        again = mixture.solve([rows], options, start=start)
        assert bool(again.ok.all())
        torch.testing.assert_close(again.omega, solved.omega, rtol=1e-6, atol=1e-7)


def test_a_custom_residual_works_on_batches() -> None:
    form = {Value(u): random(3, 30, 4) / 2}
    plain = Rows(value(u) ** 2 + value(u) - 0.3, line(), form)
    custom = Rows(Custom(lambda v: v * v + v - 0.3, (Value(u),)), line(), form)
    options = LeastSquaresOptions()
    expected, found = solve_coefficients([plain], options), solve_coefficients([custom], options)
    torch.testing.assert_close(found.omega, expected.omega, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("estimator", [Taylor(), Autodiff()], ids=lambda e: e.kind)
def test_forms_of_a_coordinate_network(estimator: Taylor | Autodiff) -> None:
    """The atoms of Σ ω_j f_j are those of the combination of the network's outputs."""
    coordinates = Coordinates.of(x=1, t=0)
    points = Points(random(12, 2), coordinates)
    network = Mlp(width=9, depth=2).build(2, 5, generator=torch.Generator().manual_seed(3_907), dtype=torch.float64)
    omega = random(5, seed=21_553)
    wanted: list[Atom] = [Value(u), laplacian(u), dt(u), partial(u, x[0])]  # type: ignore[list-item]
    forms = network_forms(network, points, wanted, 5, estimator)

    class Combined(type(network)):  # type: ignore[misc]
        def tail(self, hidden: Tensor) -> Tensor:
            return super().tail(hidden) @ omega[:, None]

    network.__class__ = Combined
    expected = Autodiff().estimate(network, points, wanted, torch.Generator())
    for atom in wanted:
        torch.testing.assert_close(forms[atom][0] @ omega, expected[atom], rtol=1e-9, atol=1e-10)


def test_forms_of_a_network_refuse_what_cannot_be() -> None:
    network = Mlp(width=4, depth=1).build(1, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    with pytest.raises(UnsupportedError, match="draws them at random"):
        network_forms(network, line(), [Value(u)], 3, Hutchinson(samples=4))
    with pytest.raises(InputError, match="need 4 outputs of the network, got 3"):
        network_forms(network, line(), [Value(u)], 4, Autodiff())


def test_scattered_points_with_every_coupling() -> None:
    """A Poisson problem at random points: one network's outputs as the basis, four blocks against one constraint."""
    coordinates, generator = Coordinates.of(x=2), torch.Generator().manual_seed(70_877)
    inside = Points(torch.rand(600, 2, generator=generator, dtype=torch.float64), coordinates)
    edge = torch.rand(80, 2, generator=generator, dtype=torch.float64)
    edge[torch.arange(80), torch.arange(80) % 2] = (torch.arange(80) // 2 % 2).double()
    border, cut = Points(edge, coordinates), Partition.uniform((0.0, 0.0), (1.0, 1.0), 2)
    network = Mlp(width=60, depth=1, input_scale=4.0).build(2, 24, generator=generator, dtype=torch.float64)
    expr = laplacian(u) + 2 * math.pi**2 * sin(math.pi * x[0]) * sin(math.pi * x[1])
    errors = {}
    one = Partition.uniform((0.0, 0.0), (1.0, 1.0), 1)
    for coupling in (Interface(weight=10.0), Windows(), Independent()):
        mixture = Mixture(one if isinstance(coupling, Independent) else cut, coupling)

        def rows(expr, points, role, mixture=mixture):  # type: ignore[no-untyped-def]
            wanted = mixture.requests([*atoms(expr), Value(u)], points)
            if role != "equation":
                wanted = mixture.requests([Value(u), laplacian(u)], points)
            forms = network_forms(network, points, wanted, 24, Taylor())
            return Rows(expr, points, forms, role=role, weight=10.0 if role == "condition" else 1.0)

        system = [rows(expr, inside, "equation"), rows(value(u), border, "condition")]
        if isinstance(coupling, Interface):
            with pytest.raises(InputError, match="face_points"):
                mixture.solve(system, LeastSquaresOptions())
            system.append(rows(value(u), cut.face_points(24, coordinates), "interface"))
        solved = mixture.solve(system, LeastSquaresOptions(ridge=1e-12))
        found = mixture.atoms(system[0], solved.omega, [Value(u)])[Value(u)][0].detach()
        exact = (math.pi * inside.x).sin().prod(1)
        errors[coupling.kind] = float((found - exact).norm() / exact.norm())
    single = errors.pop("independent")
    assert max(errors.values()) < min(0.1, 0.7 * single), (errors, single)


def test_mistakes_are_refused() -> None:
    with pytest.raises(InputError, match="no form for"):
        Rows(value(u) + partial(u, x[0]), line(), {Value(u): random(1, 30, 2)})
    with pytest.raises(ShapeError, match=r"must have shape \(1, 30, 2\)"):
        Rows(value(u) + partial(u, x[0]), line(), {Value(u): random(1, 30, 2), partial(u, x[0]): random(1, 29, 2)})  # type: ignore[dict-item]
    with pytest.raises(ShapeError, match="start must have shape"):
        solve_coefficients([quadratic()], LeastSquaresOptions(), start=torch.zeros(3, 5))
    with pytest.raises(ShapeError, match="the same instances"):
        solve_coefficients([quadratic(), quadratic(batch=2)], LeastSquaresOptions())
    with pytest.raises(ValueError, match="tolerance must be greater than 0"):
        LeastSquaresOptions(tolerance=0.0)


def test_partition_counts_and_places_blocks() -> None:
    cut = Partition(((0.0, 0.3, 1.0), (0.0, 1.0, 2.0, 5.0)), periodic=(True, False))
    assert (len(cut), cut.shape, cut.position(4), cut.index((1, 1))) == (6, (2, 3), (1, 1), 4)
    points = Points(torch.tensor([[0.1, 0.5], [0.3, 1.0], [0.9, 4.9]], dtype=torch.float64), Coordinates.of(x=1, t=0))
    assert cut.locate(points).tolist() == [0, 4, 5]
    assert (cut.neighbor(0, 0, -1), cut.neighbor(0, 1, -1), cut.neighbor(4, 1, 1)) == (3, None, 5)
    assert len(cut.faces()) == 2 * 3 + 2 * 2
    faces = cut.face_points(4, Coordinates.of(x=1, t=0))
    assert len(faces) == 4 * len(cut.faces())
    with pytest.raises(InputError, match="increasing"):
        Partition(((0.0, 1.0, 1.0),))
    with pytest.raises(InputError, match="at least 1 block"):
        Partition.uniform((0.0,), (1.0,), 0)


@pytest.mark.parametrize("coupling", [Interface(), Windows()], ids=lambda c: c.kind)
def test_periodic_blocks_meet_at_the_ends(coupling: Interface | Windows) -> None:
    """u' + u = f on a circle, where only what joins the two ends forbids to add exp(-x)."""
    n, orders = 128, torch.arange(1, 5, dtype=torch.float64)
    along = (torch.arange(n, dtype=torch.float64) + 0.5) * 2 * math.pi / n
    points = Points(along[:, None], Coordinates.of(x=1))
    angle, one = along[:, None] * orders, torch.ones(n, 1, dtype=torch.float64)
    forms: dict[Atom, Tensor] = {
        Value(u): torch.cat([one, angle.sin(), angle.cos()], 1)[None],
        partial(u, x[0]): torch.cat([0 * one, orders * angle.cos(), -orders * angle.sin()], 1)[None],  # type: ignore[dict-item]
    }
    exact = 1 / (1.3 + along.sin())
    right = exact - along.cos() / (1.3 + along.sin()) ** 2
    offsets = {Value(u): -right[None]}  # the residual is linear: this moves f into it
    errors = {}
    for periodic in (True, False):
        cut = Partition.uniform((0.0,), (2 * math.pi,), 4, periodic=(periodic,))
        mixture, rows = Mixture(cut, coupling), Rows(partial(u, x[0]) + value(u), points, forms, offsets)
        solved = mixture.solve([rows], LeastSquaresOptions())
        found = mixture.atoms(rows, solved.omega, [Value(u)], offsets=False)[Value(u)][0]
        errors[periodic] = float((found - exact).norm() / exact.norm())
    assert errors[True] < 5e-3, errors
    assert errors[False] > 10 * errors[True], errors
