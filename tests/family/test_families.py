"""What every family promises: instances that depend on seed and number alone, trial solutions and conditions that the
references meet, equations that the references solve."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pinnx.equations import Darcy, DiffusionSorption, NavierStokes, Poisson, RandomBurgers
from pinnx.errors import InputError, ShapeError, UnsupportedError
from pinnx.expr import Evaluator, Expr, Unknown, atoms, input_atoms, laplacian, value, with_explicit_values
from pinnx.family import Family, Instances, relative_l2
from pinnx.problem import Equation
from pinnx.solvers.experts.grid_atoms import forms
from pinnx.solvers.linear import equation_system
from pinnx.solvers.pinn import Pinn

SEED = 90_127_313
SMALL: list[Equation] = [
    DiffusionSorption(nodes=33, times=21),
    DiffusionSorption(law="rich", nodes=33, times=21, grading=1.5, offset="layers"),
    NavierStokes(nodes=16, times=9, horizon=1.0),
    RandomBurgers(nodes=64, times=21),
    RandomBurgers(nodes=65, times=21, ends="dirichlet"),
    Darcy(nodes=17),
]


def family_of(equation: Equation) -> Family:
    family = equation.problem().instances
    assert family is not None
    return family


def on_grid(expr: Expr, equation: Equation, instances: Instances, fields: Tensor, time: str = "centered") -> Tensor:
    """An expression at fields of all unknowns (B, m, *grid): (B, *grid)."""
    family, expr = family_of(equation), with_explicit_values(expr)
    names = equation.unknowns
    sources = {name: fields[:, i] for i, name in enumerate(names)} | family.input_fields(instances)
    values = {
        atom: forms(sources[atom.of.name][:, None], [atom], family.grid, time)[atom][..., 0].flatten(
            1, family.grid.dimension
        )
        for atom in (*atoms(expr), *input_atoms(expr))
    }
    return family.grid.unflat(Evaluator(family.grid.points(), values)(expr))


@pytest.fixture(params=SMALL, ids=str)
def equation(request: pytest.FixtureRequest) -> Equation:
    return request.param


def test_an_instance_depends_on_the_seed_and_its_number_alone(equation: Equation) -> None:
    family = family_of(equation)
    several, alone = family.numbered([3, 11, 5], SEED), family.numbered([11], SEED)
    for name, field in family.input_fields(several).items():
        torch.testing.assert_close(field[1:2], family.input_fields(alone)[name], rtol=1e-15, atol=1e-15)
    assert torch.equal(family.reference(several)[1:2], family.reference(alone))
    assert not torch.equal(family.numbered([11], SEED + 1).parameters, alone.parameters)
    assert not torch.equal(several.parameters[0], several.parameters[2])
    with pytest.raises(InputError, match="at least one"):
        family.numbered([], SEED)


def test_instances_are_the_same_on_every_grid(equation: Equation) -> None:
    family = family_of(equation)
    nodes = equation.nodes  # type: ignore[attr-defined]
    periodic = family.grid.axes[0].periodic
    fine = family_of(replace(equation, nodes=2 * nodes if periodic else 2 * nodes - 1))  # type: ignore[type-var]
    coarse = family.numbered(range(3), SEED)
    finer = fine.realize(coarse.parameters)
    every = [slice(None), *(slice(None, None, 2 if axis.group == "x" else 1) for axis in family.grid.axes)]
    for name, field in fine.input_fields(finer).items():
        torch.testing.assert_close(field[tuple(every)], family.input_fields(coarse)[name])


def test_shapes_and_types(equation: Equation) -> None:
    family, names = family_of(equation), equation.unknowns
    assert family.unknowns == names
    assert family.grid.coordinates == equation.problem().domain.coordinates
    instances = family.draw(2, torch.Generator().manual_seed(SEED))
    grid = family.grid.shape
    reference, offset = family.reference(instances), family.offset(instances)
    assert reference.shape == (2, len(names), *grid)
    assert offset.shape == (2, family.outputs, *grid)
    assert family.complete(offset).shape == reference.shape
    assert family.features(instances).shape[2:] == grid
    for tensor in (reference, offset, family.weight, family.factor, instances.parameters):
        assert tensor.dtype == torch.float64
        assert bool(tensor.isfinite().all())
    assert 0.1 < float(family.features(family.numbered(range(8), SEED)).square().mean().sqrt()) < 10
    assert len(instances.rows(slice(1, None))) == 1
    assert instances.to(torch.float32).parameters.dtype == torch.float32


def test_the_trial_solution_is_right_where_the_network_has_no_say(equation: Equation) -> None:
    family = family_of(equation)
    instances = family.numbered(range(2), SEED)
    held = family.factor == 0
    assert torch.equal(held, family.grid.known())
    difference = family.offset(instances) - family.reference(instances)[:, : family.outputs]
    torch.testing.assert_close(difference[..., held], torch.zeros_like(difference[..., held]), rtol=0, atol=1e-12)


def test_data_conditions_hold_for_the_reference_exactly(equation: Equation) -> None:
    family = family_of(equation)
    instances = family.numbered(range(2), SEED)
    reference = family.reference(instances)
    for condition in family.data_conditions():
        residual = on_grid(condition.residual, equation, instances, reference)[:, condition.nodes]
        torch.testing.assert_close(residual, torch.zeros_like(residual), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("coarse", "fine"),
    [
        (RandomBurgers(nodes=128, times=51, horizon=0.2), RandomBurgers(nodes=128, times=101, horizon=0.2)),
        (
            RandomBurgers(nodes=129, times=51, horizon=0.2, ends="dirichlet"),
            RandomBurgers(nodes=257, times=101, horizon=0.2, ends="dirichlet"),
        ),
        (NavierStokes(nodes=32, times=17, horizon=1.0), NavierStokes(nodes=32, times=33, horizon=1.0)),
        (Darcy(nodes=33), Darcy(nodes=65)),
    ],
    ids=str,
)
def test_references_solve_their_equations_on_the_grid_to_second_order(coarse: Equation, fine: Equation) -> None:
    """The residual by the expression tree and the differences of the grid, which share nothing with the references."""
    sizes = []
    for equation in (coarse, fine):
        family = family_of(equation)
        instances = family.numbered(range(2), SEED)
        residual = on_grid(equation.residuals()[0], equation, instances, family.reference(instances)) * family.weight
        if not family.grid.time:  # at the corners of the square the solution is singular
            around = family.grid.points().x.sub(0.5).abs().max(1).values
            residual = residual * (family.grid.unflat(around) <= 0.375)
        sizes.append(float(residual.square().mean().sqrt()))
    assert math.log2(sizes[0] / sizes[1]) == pytest.approx(2.0, abs=0.35)


@pytest.mark.parametrize("law", ["published", "rich"])
def test_the_reference_of_diffusion_sorption_solves_its_equation(law: str) -> None:
    """Away from the singular corners, and at the outflow."""
    sizes = []
    for nodes, times in ((65, 51), (129, 101)):
        equation = DiffusionSorption(law=law, nodes=nodes, times=times)
        family = family_of(equation)
        instances = family.numbered(range(2), SEED)
        reference = family.reference(instances)
        residual = on_grid(equation.residuals()[0], equation, instances, reference) * family.weight
        late = residual[..., times // 5 :]
        (outflow,) = family.conditions()
        flux = on_grid(outflow.residual, equation, instances, reference)[:, -1, times // 5 :]
        sizes.append((float(late.square().mean().sqrt()), float(flux.abs().max())))
    assert math.log2(sizes[0][0] / sizes[1][0]) == pytest.approx(2.0, abs=0.3)
    assert math.log2(sizes[0][1] / sizes[1][1]) == pytest.approx(2.0, abs=0.6)
    assert sizes[1][1] < 1e-6


@pytest.mark.parametrize("time", ["backward", "bdf2", "centered"])
def test_without_less_weight_the_corners_hold_nearly_all_of_the_residual(time: str) -> None:
    shares = {}
    for corner in (0.0, 40.0):
        equation = DiffusionSorption(nodes=65, times=51, corner=corner)
        family = family_of(equation)
        instances = family.numbered(range(2), SEED)
        residual = on_grid(equation.residuals()[0], equation, instances, family.reference(instances), time)
        squares = (residual * family.weight).square()
        shares[corner] = squares[..., 1:3].sum() / squares.sum(), float(squares.mean())
    assert shares[0.0][0] > 0.9
    assert shares[40.0][1] < shares[0.0][1] / 50


def test_stream_function_inverts_the_laplacian() -> None:
    equation = NavierStokes(nodes=15, times=4)
    family = family_of(equation)
    instances = family.numbered(range(2), SEED)
    both = family.complete(family.offset(instances))
    again = on_grid(laplacian(Unknown("psi", 1)), equation, instances, both)
    torch.testing.assert_close(-again, both[:, 0])
    assert float(both[:, 1].mean()) == pytest.approx(0.0, abs=1e-14)
    fields = torch.randn(1, 1, 6, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(SEED))
    assert torch.autograd.gradcheck(family.complete, (fields.requires_grad_(),))


def test_a_residual_of_the_flow_counts_with_the_time_in_which_it_makes_an_error() -> None:
    """A residual at one time makes an error at all later ones: the weighted rows bound what all errors add up to."""
    family = family_of(NavierStokes(nodes=5, times=6))
    weight = family.weight[0, 0]
    assert weight[0] == 0
    assert float(weight[1:].square().mean()) == pytest.approx(1.0)
    residual = torch.randn(200, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(SEED))
    residual[0] = weight[1:].reciprocal()
    bounds = 55**0.5 * (residual * weight[1:]).norm(dim=1)
    errors = residual.abs().cumsum(1).sum(1)  # of ∂_t e = |r|, by steps of length 1
    assert bool((errors <= bounds * (1 + 1e-12)).all())
    assert float(errors[0]) == pytest.approx(float(bounds[0]))  # sharp where all rows are equally large


def test_baselines() -> None:
    equation = DiffusionSorption(nodes=17, times=6)
    family = family_of(equation)
    known, asked = family.numbered(range(5), SEED), family.numbered(range(5, 8), SEED)
    # Solutions that are affine in the parameter: two of the baselines are then exact.
    solutions, truth = (1.0 + 3 * each.parameters[..., None, None].expand(-1, 1, 17, 6) for each in (known, asked))
    found = family.baselines(asked, known, solutions)
    assert list(found) == ["offset", "persistence", "mean", "linear", "interpolation"]
    for name in ("linear", "interpolation"):
        torch.testing.assert_close(found[name], truth)
    torch.testing.assert_close(found["mean"][1], solutions.mean(0))
    assert torch.equal(found["persistence"][..., 3], asked.initial)
    assert list(family.baselines(asked)) == ["offset", "persistence"]
    assert list(family_of(Darcy(nodes=9)).baselines(family_of(Darcy(nodes=9)).numbered([1], 2))) == ["offset"]
    with pytest.raises(ShapeError, match="each of 5 instances, got 4"):
        family.baselines(asked, known, solutions[:4])


def test_interpolation_and_mean_have_the_errors_that_are_known_of_the_published_family() -> None:
    """Published data are one curve in the space of functions: two runs give it to a fraction of a percent."""
    family = family_of(DiffusionSorption(nodes=65, times=51))
    known, asked = family.numbered(range(12), SEED), family.numbered(range(100, 110), SEED)
    reference = family.reference(asked)
    found = family.baselines(asked, known, family.reference(known))
    errors = {name: float(relative_l2(values, reference).mean()) for name, values in found.items()}
    assert errors["interpolation"] < 0.01
    assert 0.03 < errors["mean"] < 0.2


def test_relative_errors_are_weighted_by_the_measure() -> None:
    reference = torch.tensor([[[3.0, 4.0]], [[1.0, 0.0]]])
    values = reference + torch.tensor([0.0, 1.0])
    torch.testing.assert_close(relative_l2(values, reference), torch.tensor([1 / 5.0, 1.0]))
    weighted = relative_l2(values, reference, torch.tensor([1.0, 0.25]))
    torch.testing.assert_close(weighted, torch.tensor([0.5 / 13**0.5, 0.5]))
    with pytest.raises(ShapeError, match="expected values of shape"):
        relative_l2(values[0], reference)


def test_solvers_of_single_problems_refuse_families() -> None:
    from pinnx.networks import Mlp

    with pytest.raises(UnsupportedError, match="DiffusionSorption is a family of instances"):
        Pinn().start(DiffusionSorption().problem(), Mlp(), seed=1, device=torch.device("cpu"))
    with pytest.raises(UnsupportedError, match="a linear system on a grid solves one problem, and Darcy is a family"):
        equation_system(Darcy(), (7, 7))
    assert Poisson().problem().instances is None
    assert value(Unknown()).unknown
