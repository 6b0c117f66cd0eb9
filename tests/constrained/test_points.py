"""The solver hard-constraint on one problem: the equation holds at its points by construction."""

import copy

import numpy as np
import pytest
import torch

import pinnx
from pinnx.equations import ClassicalBurgers, Poisson
from pinnx.errors import UnsupportedError
from pinnx.expr import Unknown, laplacian
from pinnx.networks import Fno, Mlp
from pinnx.solvers.derivatives.autodiff import Autodiff
from pinnx.solvers.derivatives.smoothing import Smoothing
from pinnx.solvers.experts import LeastSquaresOptions
from pinnx.solvers.hard_constraint import HardConstraint
from pinnx.solvers.solution import Solution
from pinnx.solvers.training.natural_gradient import Engd

CPU = torch.device("cpu")


NETWORK = Mlp(width=10, depth=2)


def training(equation, network=NETWORK, **options):
    given = {"basis": 8, "steps": 4, "points": 40, "condition_points": 16, "loss_points": 30, **options}
    return HardConstraint(**given).start(equation.problem(), network, seed=60917, device=CPU)


def test_with_as_many_points_as_coefficients_the_equation_holds_at_them():
    """By derivatives of another way than the training's, before and after steps."""
    run = training(ClassicalBurgers(viscosity=0.1), basis=9, points=9)
    for _ in range(3):
        run.step()
        residual = run.solution().residual(run.chosen_points[0])
        away = run.solution().residual(run.problem.domain.sample(20, torch.Generator().manual_seed(61)))
        assert residual.abs().max() < 1e-7
        assert away.abs().max() > 1e-3


def test_the_coefficients_of_a_linear_equation_are_those_of_least_squares():
    """Against a dense matrix, whose columns are residuals of one basis function each."""
    run = training(Poisson(dimension=2))
    points, boundary = run.chosen_points
    network, columns, estimator = run.basis, [], Autodiff()
    for j in range(8):
        unknown = Unknown("u", j)
        second = estimator.estimate(network, points, [laplacian(unknown)], torch.Generator())[laplacian(unknown)]
        # u = scale · f: the trial solution of this equation
        scale = run.solution().problem.trials[0].scale
        parts = [-scale * second / 40**0.5, scale * network(boundary.tensor)[:, j] / 16**0.5]
        columns.append(torch.cat(parts).detach().numpy())
    exact = run.problem.exacts[0]
    forcing = np.pi**2 * np.cos(np.pi * points.tensor.numpy()).sum(1)
    right = np.concatenate([forcing / 40**0.5, exact(boundary).numpy() / 16**0.5])
    omega = np.linalg.lstsq(np.stack(columns, 1), right, rcond=None)[0]
    np.testing.assert_allclose(run.solve().omega[0].detach().numpy(), omega, rtol=1e-6)


@pytest.mark.parametrize("equation", [Poisson(dimension=2), ClassicalBurgers(viscosity=0.1)], ids=["linear", "not"])
def test_the_gradient_of_the_loss_agrees_with_differences(equation):
    run = training(equation, basis=5, constraint=LeastSquaresOptions(tolerance=1e-13))

    def loss() -> torch.Tensor:
        return torch.stack(list(run.loss(torch.Generator().manual_seed(717)).terms.values())).sum()

    gradients = torch.autograd.grad(loss(), run.trainable, allow_unused=True)  # biases of the last layer may drop out
    gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(run.trainable, gradients, strict=True)]
    norm, step = torch.nn.utils.get_total_norm(gradients), 1e-6
    start, found = [parameter.detach().clone() for parameter in run.trainable], []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, old, gradient in zip(run.trainable, start, gradients, strict=True):
                parameter.copy_(old + sign * step * gradient / norm)
            found.append(loss())
    torch.testing.assert_close((found[0] - found[1]) / (2 * step), norm, rtol=1e-5, atol=0)


def test_going_on_from_a_state_gives_the_same_steps():
    run, other = training(ClassicalBurgers(viscosity=0.1)), training(ClassicalBurgers(viscosity=0.1))
    run.step()
    other.load_state_dict(copy.deepcopy(run.state_dict()))
    assert [run.step() for _ in range(2)] == [other.step() for _ in range(2)]
    points = run.chosen_points[0]
    assert torch.equal(run.solution()(points), other.solution()(points))


def test_a_solution_is_saved_and_read(tmp_path):
    run = training(Poisson(dimension=2))
    run.step()
    solution = run.solution()
    solution.save(tmp_path / "solution.pt")
    points = torch.rand(7, 2, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    assert torch.equal(Solution.load(tmp_path / "solution.pt")(points), solution(points))


def test_it_serves_the_function_solve():
    options = {"basis": 12, "steps": 2, "points": 60, "condition_points": 60, "seed": 7, "quiet": True}
    solution = pinnx.solve(Poisson(dimension=2), solver="hard-constraint", network=Mlp(width=12, depth=2), **options)
    assert solution.error().relative_l2 < 0.9
    assert "constraint" in solution.history


def test_what_does_not_fit_is_refused_with_the_reason():
    with pytest.raises(UnsupportedError, match="the solver pinn is the one without a constraint"):
        training(Poisson(dimension=2), method="soft")
    with pytest.raises(UnsupportedError, match="blocks need a grid"):
        training(Poisson(dimension=2), method="mixture")
    with pytest.raises(UnsupportedError, match="a constraint must hold exactly"):
        training(Poisson(dimension=2), derivatives=Smoothing())
    with pytest.raises(UnsupportedError, match="needs the Jacobian of the residuals"):
        training(Poisson(dimension=2), optimizer=Engd())
    with pytest.raises(UnsupportedError, match="needs a function of the coordinates alone"):
        training(Poisson(dimension=2), network=Fno())
