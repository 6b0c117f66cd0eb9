"""The solver hard-constraint on families of instances."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from pinnx.equations import Darcy, DiffusionSorption, NavierStokes
from pinnx.errors import DivergedError, InputError, UnsupportedError
from pinnx.expr import Unknown, Value
from pinnx.family import HELD_OUT, relative_l2
from pinnx.networks import EncodedMlp, Fno, Mlp
from pinnx.run.making import make_data
from pinnx.solvers.constrained.operator import Operator, Setting, partition_of
from pinnx.solvers.derivatives import Hutchinson
from pinnx.solvers.experts import Independent, Interface, LeastSquaresOptions, Windows
from pinnx.solvers.hard_constraint import HardConstraint
from pinnx.solvers.training.adam import Adam
from pinnx.solvers.training.lbfgs import Lbfgs
from pinnx.solvers.training.schedules import Linear
from tests.constrained.toy_family import Ring, exact_basis

CPU = torch.device("cpu")
FRAME = ((0.0, 1.0), (0.0, 1.0))
COUPLINGS = [Independent(), Interface(), Windows()]
NETWORK = Fno(width=6, modes=3, layers=2, projection=8)


RING = Ring()


def setting(equation=RING, method="mixture", coupling=COUPLINGS[2], **changes) -> Setting:
    return Setting(equation, method, coupling, (2, 1), LeastSquaresOptions(), **changes)


def training(equation=RING, network=NETWORK, **options):
    given = {"basis": 5, "steps": 6, "blocks": (2, 1), "instances_per_step": 2, "test_instances": 2, **options}
    return HardConstraint(**given).start(equation.problem(), network, seed=70843, device=CPU)


@pytest.mark.parametrize("steepening", [0.0, 0.4])
@pytest.mark.parametrize(
    ("method", "coupling"),
    [("single", Windows()), *(("mixture", coupling) for coupling in COUPLINGS)],
    ids=["single", "independent", "interface", "windows"],
)
def test_a_basis_that_holds_the_solution_gives_it(method, coupling, steepening):
    """Both schemes are exact for this solution, linear in time and of one wave: what is found must be it."""
    operator = Operator(setting(Ring(steepening=steepening), method, coupling), FRAME)
    instances = operator.family.numbered(range(3), 9107)
    basis = exact_basis(operator.family, instances)
    rows, omega, solved = operator.solve(basis, instances, torch.Generator())
    assert all(status.ok for status in solved.statuses), solved.statuses
    values = operator.grid.unflat(operator.mixture.atoms(rows[-1], omega, [Value(Unknown("u"))])[Value(Unknown("u"))])
    reference = operator.family.reference(instances)[:, 0]
    # windows are no functions of differences in time: their product with t is not resolved exactly
    torch.testing.assert_close(values, reference, rtol=1e-7, atol=1e-7)
    for residual in operator.residuals(rows, omega):
        assert residual.abs().max() < 1e-7


def test_data_as_rows_leave_the_trial_solution_out():
    operator = Operator(setting(method="single", exact_data=False), FRAME)
    assert [each.name for each in operator.field_rows.stated] == ["residual", "initial"]
    instances = operator.family.numbered([4], 9107)
    points = operator.grid.points()
    angle = 2 * math.pi * points.x[:, 0]
    fields = [angle.sin(), angle.cos(), points.t * angle.sin(), points.t * angle.cos()]
    basis = operator.grid.unflat(torch.stack(fields))[None, :, None]
    _, omega, _ = operator.solve(basis, instances, torch.Generator())
    p, q = instances.parameters[0]
    torch.testing.assert_close(omega[0, 0], torch.stack([p, q, p, q]), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("method", ["soft", "single", "independent", "interface", "windows"])
def test_the_gradient_of_the_loss_agrees_with_differences(method):
    """Through the coefficients, at a nonzero residual of a nonlinear equation, in the direction of the gradient."""
    couplings = dict(zip(("independent", "interface", "windows"), COUPLINGS, strict=True))
    run = training(
        Ring(steepening=0.5),
        method="mixture" if method in couplings else method,
        coupling=couplings.get(method, Windows()),
        constraint=LeastSquaresOptions(ridge=1e-3 if method == "independent" else 0.0, tolerance=1e-13),
    )

    def loss() -> torch.Tensor:
        return torch.stack(list(run.loss(torch.Generator().manual_seed(5150)).terms.values())).sum()

    gradients = torch.autograd.grad(loss(), run.trainable)
    norm = torch.nn.utils.get_total_norm(gradients)
    step, start = 1e-6, [parameter.detach().clone() for parameter in run.trainable]
    found = []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, old, gradient in zip(run.trainable, start, gradients, strict=True):
                parameter.copy_(old + sign * step * gradient / norm)
            found.append(loss())
    torch.testing.assert_close((found[0] - found[1]) / (2 * step), norm, rtol=2e-6, atol=0)


def test_training_never_asks_for_a_solution_and_lowers_the_loss():
    run = training(Ring(reference_works=False), steps=12, method="single", instances=2)
    losses = [run.step()["loss"] for _ in range(12)]
    assert losses[-1] < losses[0]
    with pytest.raises(AssertionError, match="asked for a solution"):
        run.evaluate()


@pytest.mark.parametrize("method", ["soft", "single", "mixture"])
def test_going_on_from_a_state_gives_the_same_steps(method):
    run, other = training(method=method), training(method=method)
    for _ in range(2):
        run.step()
    other.load_state_dict(copy.deepcopy(run.state_dict()))
    assert [run.step() for _ in range(2)] == [other.step() for _ in range(2)]
    assert run.evaluate() == other.evaluate()
    assert run.network_evaluations == other.network_evaluations


def test_with_a_fixed_loss_a_line_search_can_be_used():
    run = training(method="single", optimizer=Lbfgs(iterations=4), instances=3)
    losses = [run.step()["loss"] for _ in range(3)]
    assert losses[2] < losses[1] < losses[0]


def test_errors_stand_on_instances_that_are_never_trained_on():
    run = training(method="single", instances=2)
    family = run.family
    trained = family.numbered(range(2), run.seed).parameters
    held_out = run.held_out()[0].parameters
    torch.testing.assert_close(held_out, family.numbered(range(2), run.seed + HELD_OUT).parameters)
    assert not torch.isclose(trained[:, None], held_out[None]).any()
    drawn = run._drawn(torch.Generator().manual_seed(3)).parameters
    assert torch.isclose(drawn[:, None], trained[None]).all(-1).any(1).all()


def test_held_out_instances_can_come_from_a_file(tmp_path):
    make_data(Ring(), tmp_path / "held_out.h5", 2, 70843 + HELD_OUT)
    make_data(Ring(), tmp_path / "trained.h5", 2, 70843)
    make_data(Ring(times=7), tmp_path / "other.h5", 2, 5)
    from_file = training(method="single", test_data=tmp_path / "held_out.h5")
    assert from_file.evaluate() == training(method="single").evaluate()
    with pytest.raises(InputError, match="that are trained on"):
        training(method="single", test_data=tmp_path / "trained.h5").evaluate()
    with pytest.raises(InputError, match="times is 7 there, 5 here"):
        training(method="single", test_data=tmp_path / "other.h5").evaluate()


def test_errors_and_baselines_are_means_over_instances():
    run = training(method="single")
    instances, reference = run.held_out()
    fields = run.solution().solve(instances)
    assert run.evaluate().relative_l2 == pytest.approx(float(relative_l2(fields.values, reference).mean()))
    baselines = run.baselines()
    assert {"offset", "persistence", "mean", "linear"} <= set(baselines)
    assert baselines["linear"].relative_l2 < 1e-10  # solutions are linear in the two parameters
    moving = (reference - reference[..., :1]).square().sum((1, 2, 3)) / reference.square().sum((1, 2, 3))
    assert baselines["persistence"].relative_l2 == pytest.approx(float(moving.sqrt().mean()))


def test_blocks_points_tolerance_and_grid_may_change_after_training():
    run = training(method="mixture", network=EncodedMlp(width=8, depth=2, cells=2))
    run.step()
    solution = run.solution()
    parameters = run.held_out()[0].parameters
    assert solution.solve(parameters).omega.shape == (2, 2, 5)
    assert solution.solve(parameters, blocks=(3, 2)).omega.shape == (2, 6, 5)
    assert solution.solve(parameters, method="single").omega.shape == (2, 1, 5)
    assert solution.solve(parameters, points=30).statuses[0].ok
    loose = solution.solve(parameters, constraint=LeastSquaresOptions(tolerance=1e-2))
    assert len(loose.statuses) == 2
    fine = solution.solve(parameters, equation=Ring(nodes=24, times=9))
    assert fine.values.shape == (2, 1, 24, 9)
    coarse = solution.solve(parameters)
    torch.testing.assert_close(fine.values[..., ::2, ::2], coarse.values, rtol=0.3, atol=0.3)
    with pytest.raises(InputError, match="unknown change; did you mean 'blocks'"):
        solution.solve(parameters, block=3)


def test_what_lies_beyond_the_trained_times_has_no_rows_but_blocks_of_its_own():
    run = training(Ring(times=9), method="mixture", blocks=(2, 2), train_until=0.5)
    points = run.operator.field_rows.stated[0].points
    assert float(points.t.max()) == 0.5
    solution = run.solution()
    assert solution.operator().partition.edges == ((0.0, 0.5, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0))
    assert solution.solve(run.held_out()[0]).omega.shape[1] == 8
    assert float(solution.operator().field_rows.stated[0].points.t.max()) == 1.0
    # the network sees later times beyond what it was trained on, not on another scale
    torch.testing.assert_close(solution.operator().coordinates[1].amax(), torch.tensor(3.0).double())


@pytest.mark.parametrize("method", ["soft", "single"])
def test_beyond_the_trained_times_one_constraint_stays_one(method):
    run = training(Ring(times=9), method=method, train_until=0.5)
    fields = run.solution().solve(run.held_out()[0])
    assert int(fields.blocks.max()) == 0
    assert run.evaluate().relative_l2 > 0


def test_one_bad_instance_does_not_stop_the_others(monkeypatch):
    run, other = (training(method="single", instances_per_step=3) for _ in range(2))
    instances = run.family.numbered([0, 1, 2], 9)
    bad = copy.deepcopy(instances)
    bad.inputs["g"][1] = math.nan
    monkeypatch.setattr(run, "_drawn", lambda generator: bad)
    monkeypatch.setattr(other, "_drawn", lambda generator: instances.rows(torch.tensor([0, 2])))
    found, expected = run.step(), other.step()
    assert found["constraint_failures"] == 1
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-12)
    assert found["gradient_norm"] == pytest.approx(expected["gradient_norm"], rel=1e-9)
    bad.inputs["g"][:] = math.nan
    with pytest.raises(DivergedError, match="no instance is solved"):
        run.step()


def test_what_does_not_fit_is_refused_with_the_reason():
    with pytest.raises(UnsupportedError, match="one that sees the instance: fno or encoded-mlp"):
        training(network=Mlp())
    with pytest.raises(InputError, match=r"solver\.train_until.*a time of the grid \(it runs from 0\.0 to 1\.0\)"):
        training(train_until=2.0)
    with pytest.raises(InputError, match=r"solver\.blocks.*one number for each of the axes x1, t"):
        training(method="mixture", blocks=(2, 2, 2))
    run = training(method="soft", basis=1)
    with pytest.raises(InputError, match='trained with method = "soft" cannot serve "single"'):
        run.solution().operator(method="single")


def test_equal_blocks_keep_their_length_beyond_training():
    grid = Ring().problem().instances.grid
    assert partition_of(grid, (1, 3), 0.6, None).edges[1] == pytest.approx((0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
    assert partition_of(grid, (1, 3), 0.6, 0.6).edges[1] == pytest.approx((0.0, 0.2, 0.4, 1.0))
    assert replace(setting(), until=0.5).until == 0.5


def exact_training(equation, **options):
    network = EncodedMlp(width=9, depth=2, code=3, cells=3)
    return training(equation, network, known_values="rows", basis_derivatives="exact", blocks=(1, 2), **options)


@pytest.mark.parametrize("equation", [DiffusionSorption(nodes=9, times=7, grading=2.0), Darcy(nodes=7)], ids=["t", "x"])
def test_exact_derivatives_of_the_basis_are_those_of_autodiff(equation):
    """Of the network itself in the coordinates, by nested differentiation in float64, on nodes of any spacing."""
    run = exact_training(equation, method="single", basis=4, instances_per_step=2)
    operator, instances = run.operator, run.family.numbered([0, 1], 71_203)
    forms, network = operator.basis(run.network, instances, 4), run.network
    code, points = network.code(operator.features(instances)), operator.grid.points()
    ends = torch.tensor(operator.frame, dtype=torch.float64).T
    assert set(forms) == set(operator.field_rows.atoms)
    for b in range(2):
        at = points.tensor.clone().requires_grad_()
        scaled = 2 * (at - ends[0]) / (ends[1] - ends[0]) - 1
        values = network.body(torch.cat([scaled, code[b].expand(len(at), -1)], 1))
        for j in range(4):
            slope = torch.autograd.grad(values[:, j].sum(), at, create_graph=True)[0]
            second = [torch.autograd.grad(s.sum(), at, create_graph=True)[0][:, i] for i, s in enumerate(slope.T)]
            for atom, form in forms.items():
                columns = getattr(atom, "columns", None)
                if isinstance(atom, Value):
                    expected = values[:, j]
                elif atom.rank:
                    expected = slope
                elif columns is None:  # the Laplacian
                    expected = torch.stack(second).sum(0)
                else:
                    places = [operator.grid.axis(column) for column in columns]
                    expected = slope[:, places[0]] if len(places) == 1 else second[places[0]]
                torch.testing.assert_close(form[b, ..., j], expected, rtol=1e-10, atol=1e-12, msg=str(atom))


def test_training_with_exact_derivatives_has_the_gradient_of_differences():
    run = exact_training(DiffusionSorption(nodes=9, times=7, grading=2.0), method="mixture", basis=3)
    parameter = run.network.encoder.weight

    def loss():
        return torch.stack(list(run.loss(torch.Generator().manual_seed(91_003)).terms.values())).sum()

    (slope,) = torch.autograd.grad(loss(), parameter)
    way = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4_409), dtype=torch.float64)
    moved = []
    for size in (1e-4, -1e-4):
        with torch.no_grad():
            parameter += size * way
            moved.append(float(loss()))
            parameter -= size * way
    assert float((slope * way).sum()) == pytest.approx((moved[0] - moved[1]) / 2e-4, rel=1e-5)
    run.step()
    finer = run.solution().operator(equation=DiffusionSorption(nodes=17, times=9, grading=2.0))
    instances = finer.family.numbered([3], 5)
    assert run.solution().solve(instances, equation=finer.setting.equation).values.shape == (1, 1, 17, 9)


@pytest.mark.parametrize(
    ("equation", "options", "says"),
    [
        (RING, {"known_values": "rows"}, "periodic along x1"),
        (DiffusionSorption(nodes=9, times=7), {}, "factor of the trial solution"),
        (
            DiffusionSorption(nodes=9, times=7),
            {"known_values": "rows", "network": NETWORK},
            "encoded-mlp is a function",
        ),
        (NavierStokes(nodes=8, times=4), {"known_values": "rows", "blocks": 1}, "1 of 2 unknowns"),
        (DiffusionSorption(nodes=9, times=7), {"known_values": "rows", "derivatives": Hutchinson()}, "hold exactly"),
    ],
    ids=["periodic", "trial", "fno", "stream function", "stochastic"],
)
def test_exact_derivatives_are_refused_with_the_reason(equation, options, says):
    with pytest.raises(UnsupportedError, match=says):
        training(equation, **{"network": EncodedMlp(width=5, cells=2), "basis_derivatives": "exact", **options})


@pytest.mark.parametrize("exact", [False, True])
def test_a_warm_up_trains_the_mean_of_the_basis_without_a_constraint(exact):
    """The loss of its steps is that of the method soft for the mean of the outputs; then the constraint takes over."""
    equation = DiffusionSorption(nodes=9, times=7) if exact else RING
    options = {"basis": 4, "steps": 5, "warm_up": 2, "known_values": "rows"}
    if exact:
        options |= {"network": EncodedMlp(width=9, depth=2, code=3, cells=3), "basis_derivatives": "exact"}
    run = training(equation, **options)
    instances = run._drawn(torch.Generator().manual_seed(17_921))
    basis = run.operator.basis(run.network, instances, 4)
    rows = run.operator.field_rows.rows(basis, instances)
    shares = torch.full((len(instances), len(run.operator.partition), 4), 0.25, dtype=torch.float64)
    expected = [
        (residual.square() * stated.weight).mean()
        for residual, stated in zip(run.operator.residuals(rows, shares), run.operator.field_rows.stated, strict=True)
    ]
    found = run.loss(torch.Generator().manual_seed(17_921))
    # each expert is the same function here, so that gates and blocks change nothing
    torch.testing.assert_close(list(found.terms.values()), expected, rtol=1e-6, atol=1e-9)
    assert not found.metrics
    solved = [("constraint" in run.step()) for _ in range(5)]
    assert solved == [False, False, True, True, True]


def test_the_schedule_goes_through_once_in_the_warm_up_and_once_after_it():
    """A rate that has fallen to nothing when the constraint comes would leave nothing to learn with it."""
    optimizer = Adam(learning_rate=0.5, schedule=Linear())
    run = training(basis=3, steps=7, warm_up=4, rate_after_warm_up=0.25, optimizer=optimizer)
    rates = [run.step()["learning_rate"] for _ in range(7)]
    assert rates[:4] == [optimizer.learning_rate_at(step, 4) for step in range(4)]
    assert rates[4:] == [0.25 * optimizer.learning_rate_at(step, 3) for step in range(3)]
    assert rates[0] == 4 * rates[4] == 0.5
    only = training(basis=3, steps=3, warm_up=4, optimizer=optimizer)
    rates = [only.step()["learning_rate"] for _ in range(3)]
    assert rates == [optimizer.learning_rate_at(step, 3) for step in range(3)]


def test_the_residual_that_a_network_sees_is_of_the_size_of_the_change():
    """At rest it is the rate of change, and the longer the time the larger the change."""
    seen = []
    for horizon in (1.0, 2.0):
        equation = NavierStokes(nodes=8, times=5, horizon=horizon)
        operator = Operator(setting(equation, "soft", sees_residual=True), ((0.0, 1.0), (0.0, 1.0), (0.0, horizon)))
        instances = operator.family.numbered([3], 9107)
        weight = operator.family.weight[..., 1:]
        seen.append(operator.features(instances)[:, -1, ..., 1:] / weight)
    assert seen[0].abs().max() > 0.1
    torch.testing.assert_close(seen[1], 2 * seen[0])
