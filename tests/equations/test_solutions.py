"""Exact solutions against truths that do not come from pinnx: quadrature, Monte Carlo, published values."""

from __future__ import annotations

import math
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from pinnx.domain import Gaussian
from pinnx.equations import (
    AllenCahn,
    Burgers,
    ClassicalBurgers,
    FokkerPlanck,
    HamiltonJacobiBellman,
    Heat,
    LogFokkerPlanck,
    Poisson,
    SineGordon,
)
from pinnx.expr import Coordinates, Points, Unknown, evaluate, grad, laplacian, substitute
from pinnx.problem import Equation
from pinnx.testing.functions import magnitude


def exact(equation: Equation, rows: Tensor) -> Tensor:
    problem = equation.problem()
    return problem.exacts[0](Points(rows, problem.domain.coordinates))


class TestRosenbrock:
    """-log E exp(-g(x - √(2τ) y)), the expectation by plain Monte Carlo in four dimensions."""

    equation = HamiltonJacobiBellman(4, cost="rosenbrock", seed=30011)

    @pytest.mark.parametrize("t", [0.0, 0.4, 0.9])
    def test_closed_form_is_the_expectation(self, t: float) -> None:
        generator = torch.Generator().manual_seed(95219)
        c1, c2 = torch.rand(4, generator=torch.Generator().manual_seed(30011), dtype=torch.float64).reshape(2, 2)
        y = torch.randn(400_000, 4, generator=generator, dtype=torch.float64)
        for x in torch.randn(3, 4, generator=generator, dtype=torch.float64):
            z = x - math.sqrt(2 * (1 - t)) * y
            cost = sum(c1[i] * (z[:, 2 * i] - z[:, 2 * i + 1]) ** 2 + c2[i] * z[:, 2 * i + 1] ** 2 for i in range(2))
            sample = torch.exp(-cost)
            mean, error = float(sample.mean()), float(sample.std() / math.sqrt(len(sample)))
            value = float(exact(self.equation, torch.cat([x, torch.tensor([t])])[None]))
            assert abs(math.exp(-value) - mean) < 5 * error
            assert error < 0.05 * mean

    def test_terminal_laplacian_is_the_one_of_the_corrected_formula(self) -> None:
        c1, c2 = torch.rand(4, generator=torch.Generator().manual_seed(30011), dtype=torch.float64).reshape(2, 2)
        points = Points(torch.zeros(1, 5, dtype=torch.float64), Coordinates.of(x=4, t=0))
        assert float(evaluate(laplacian(self.equation.terminal()), points)) == pytest.approx(
            float((4 * c1 + 2 * c2).sum())
        )

    def test_odd_dimensions_are_refused(self) -> None:
        with pytest.raises(ValueError, match="dimension must be even for the Rosenbrock cost, got 5"):
            HamiltonJacobiBellman(5, cost="rosenbrock")


def cole_hopf(x: float, t: float, nu: float) -> float:
    """The Cole-Hopf integral as Basdevant et al. print it, by Gauss-Legendre quadrature on 400 pieces of 20 nodes."""
    reach = math.sqrt(4 * nu * t * (1 / (math.pi * nu) + 60))
    nodes, weights = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(-reach, reach, 401)
    eta = (edges[:-1, None] + edges[1:, None]) / 2 + reach / 400 * nodes
    logarithm = -np.cos(np.pi * (x - eta)) / (2 * np.pi * nu) - eta**2 / (4 * nu * t)
    density = weights * np.exp(logarithm - logarithm.max())
    return float(-(density * np.sin(np.pi * (x - eta))).sum() / density.sum())


class TestColeHopf:
    @pytest.mark.parametrize(
        ("nu", "horizon"), [(0.01 / math.pi, 1.0), (0.002, 1.0), (0.05, 3.0), (1.0, 1.0), (10.0, 0.5)]
    )
    def test_agrees_with_another_quadrature(self, nu: float, horizon: float) -> None:
        equation = ClassicalBurgers(viscosity=nu, horizon=horizon)
        places = [(x, t * horizon) for x in (1e-4, 0.003, 0.02, -0.37, 0.81, 0.999) for t in (0.02, 0.35, 0.51, 1.0)]
        values = exact(equation, torch.tensor(places, dtype=torch.float64)).tolist()
        truth = [cole_hopf(x, t, nu) for x, t in places]
        assert max(abs(a - b) for a, b in zip(values, truth, strict=True)) < 1e-12

    def test_steepest_slope_is_the_published_one(self) -> None:
        # Basdevant et al. (1986): |∂u/∂x|(0, t) has the maximum 152.00516 at πt = 1.6037.
        equation = ClassicalBurgers()
        problem = equation.problem()
        times = torch.linspace(0.49, 0.53, 4001, dtype=torch.float64)
        points = Points(torch.stack([torch.zeros_like(times), times], 1), problem.domain.coordinates)
        slope = -evaluate(grad(problem.exacts[0]), points)[:, 0]
        assert float(slope.max()) == pytest.approx(152.00516, abs=1e-5)
        assert math.pi * float(times[slope.argmax()]) == pytest.approx(1.6037, abs=1e-4)

    def test_starts_as_a_sine_and_vanishes_at_both_ends(self) -> None:
        x = torch.linspace(-1, 1, 41, dtype=torch.float64)
        start = exact(ClassicalBurgers(), torch.stack([x, torch.zeros_like(x)], 1))
        torch.testing.assert_close(start, -(math.pi * x).sin())
        t = torch.linspace(0, 1, 41, dtype=torch.float64)
        for end in (-1.0, 1.0):
            assert exact(ClassicalBurgers(), torch.stack([torch.full_like(t, end), t], 1)).abs().max() < 1e-14


@pytest.mark.parametrize("equation", [AllenCahn(1000), AllenCahn(1000, frequency=1.0)], ids=["published", "frequency"])
def test_only_the_frequency_keeps_the_solution_from_degenerating(equation: AllenCahn) -> None:
    problem = equation.problem()
    points = problem.domain.sample(3000, torch.Generator().manual_seed(72817))
    bump = 1 - points.x.square().sum(1)
    columns = torch.cat([bump[:, None], bump[:, None] * points.x], 1)
    value = problem.exacts[0](points)
    # The affine ansatz has 1001 coefficients: fit them on one sample, and measure on another.
    fit = torch.linalg.lstsq(columns[:2000], value[:2000, None]).solution
    error = (value[2000:] - (columns[2000:] @ fit)[:, 0]).norm() / value[2000:].norm()
    assert (error > 0.3) if equation.frequency else (error < 0.01)


LARGE = 100_000
HUGE: list[Equation] = [
    AllenCahn(LARGE),
    AllenCahn(LARGE, frequency=1.0),
    SineGordon(LARGE),
    FokkerPlanck(LARGE),
    FokkerPlanck(LARGE, drift="anisotropic"),
    HamiltonJacobiBellman(LARGE),
    HamiltonJacobiBellman(LARGE, cost="rosenbrock"),
    Burgers(LARGE),
    Poisson(LARGE),
    Poisson(LARGE, solution="products"),
    Poisson(LARGE, solution="quadratic"),
    Heat(LARGE),
    LogFokkerPlanck(LARGE),
]


@pytest.mark.parametrize("equation", HUGE, ids=str)
def test_a_hundred_thousand_dimensions(equation: Equation) -> None:
    start = time.perf_counter()
    problem = equation.problem()
    points = problem.domain.sample(4, torch.Generator().manual_seed(27803))
    (residual,) = equation.residuals()
    solved = substitute(residual, {Unknown(equation.unknowns[0]): problem.exacts[0]})
    assert bool((evaluate(solved, points).abs() <= 1e-10 * (1 + magnitude(solved, points))).all())
    for condition in problem.conditions:
        edge = condition.domain.sample(4, torch.Generator().manual_seed(27803))
        left = substitute(condition.residual, {Unknown(equation.unknowns[0]): problem.exacts[0]})
        assert bool((evaluate(left, edge).abs() <= 1e-10 * (1 + magnitude(left, edge))).all())
    assert time.perf_counter() - start < 20


def test_memory_grows_with_the_dimension_and_not_with_its_square() -> None:
    # In a process of its own, whose peak nothing else has raised: a 100 000 × 100 000 array would need 80 GB.
    program = (
        "import resource, torch\n"
        "from pinnx.equations import AllenCahn\n"
        "from pinnx.expr import evaluate, substitute, Unknown\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "equation = AllenCahn(100_000, frequency=1.0)\n"
        "problem = equation.problem()\n"
        "points = problem.domain.sample(4, torch.Generator().manual_seed(50333))\n"
        "evaluate(substitute(equation.residuals()[0], {Unknown('u'): problem.exacts[0]}), points)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 600_000  # kilobytes


def test_gaussian_density_of_the_log_fokker_planck_equation() -> None:
    # The law of dX = -X/2 dt + √2 dW from N(0, 1), simulated exactly: X_t = e^{-t/2} X_0 + √(2(1 - e^{-t})) Z.
    t = 0.7
    generator = torch.Generator().manual_seed(81173)
    start, noise = (Gaussian(1).sample(200_000, generator).x[:, 0] for _ in range(2))
    end = math.exp(-t / 2) * start + math.sqrt(2 * (1 - math.exp(-t))) * noise
    inside = (end.abs() < 0.25).double()
    rows = torch.stack([torch.linspace(-0.25, 0.25, 501, dtype=torch.float64), torch.full((501,), t).double()], 1)
    probability = float(torch.trapezoid(exact(LogFokkerPlanck(1), rows).exp(), rows[:, 0]))
    assert abs(float(inside.mean()) - probability) < 5 * float(inside.std()) / math.sqrt(len(inside))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: AllenCahn(1), "dimension must be at least 2"),
        (lambda: AllenCahn(frequency=-1.0), "frequency must be at least 0"),
        (lambda: FokkerPlanck(drift="diagonal"), "drift must be one of 'isotropic', 'anisotropic'"),
        (lambda: HamiltonJacobiBellman(cost="cubic"), "cost must be one of 'quadratic', 'rosenbrock'"),
        (lambda: Burgers(viscosity=0.0), "viscosity must be greater than 0"),
        (lambda: ClassicalBurgers(constraints="none"), "constraints must be one of 'hard', 'soft'"),
        (lambda: Poisson(5, solution="products"), "dimension must be even"),
        (lambda: Heat(initial="none"), "initial must be one of 'soft', 'hard'"),
        (lambda: LogFokkerPlanck(0), "dimension must be at least 1"),
    ],
)
def test_impossible_parameters_are_refused(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
