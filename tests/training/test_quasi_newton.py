"""SSBroyden, SSBFGS and BFGS against an oracle in NumPy, step by step."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.optimize import line_search

from pinnx.errors import DivergedError, UnsupportedError
from pinnx.networks import Mlp
from pinnx.solvers.derivatives import Hutchinson
from pinnx.solvers.pinn import Pinn
from pinnx.solvers.training.quasi_newton import LARGEST, QuasiNewton, SelfScaled, broyden
from tests.solvers.test_pinn import relative_l2, run, start
from tests.solvers.toys import Decay


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def slope(x: np.ndarray) -> np.ndarray:
    result = np.zeros_like(x)
    result[:-1] += -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    result[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return result


def oracle(formula: str, x: np.ndarray, steps: int) -> list[np.ndarray]:
    """The published formulas, written out with dense products."""
    n, inverse, path = len(x), np.eye(len(x)), [x]
    for k in range(steps):
        g = slope(x)
        p = -inverse @ g
        old = rosenbrock(x) + np.linalg.norm(g) / 2 if k == 0 else None
        alpha = line_search(rosenbrock, slope, x, p, g, rosenbrock(x), old, c1=1e-4, c2=0.9, maxiter=20)[0]
        s = alpha * p
        y = slope(x + s) - g
        rho, hy = 1 / (y @ s), inverse @ y
        yhy = y @ hy
        h, b = rho * yhy, -alpha * rho * (s @ g)
        a = h * b - 1
        theta, tau = 0.0, 1.0
        if formula == "ssbfgs":
            tau = min(1.0, 1 / b)
        if formula == "ssbroyden":
            c = np.sqrt(abs(a) / (1 + a))
            low = min(1.0, h * (1 - c))
            theta = max((low - 1) / a, min(1 / low, (1 - b) / b))
            sigma = 1 + theta * a
            scaled, rho_k = abs(sigma) ** (1 / (1 - n)), min(1.0, 1 / b)
            tau = min(rho_k * scaled, sigma) if theta <= 0 else rho_k * min(scaled, 1 / theta)
        v = rho * s - hy / yhy
        phi = (1 - theta) / (1 + a * theta)
        inverse = (inverse - np.outer(hy, hy) / yhy + phi * yhy * np.outer(v, v)) / tau + rho * np.outer(s, s)
        x = x + s
        path.append(x)
    return path


def ours(formula, x: np.ndarray, steps: int) -> list[np.ndarray]:
    parts = [torch.nn.Parameter(torch.tensor(part)) for part in (x[:2].copy(), x[2:].copy())]
    optimizer = QuasiNewton(parts, formula, 1e-4, 0.9, 20)

    def closure():
        for part in parts:
            part.grad = None
        loss = rosenbrock(torch.cat(parts))
        loss.backward()
        return loss.detach()

    path = [x]
    for _ in range(steps):
        optimizer.step(closure)
        path.append(torch.cat(parts).detach().numpy().copy())
    return path


@pytest.mark.parametrize("formula", ["ssbroyden", "ssbfgs", "bfgs"])
def test_steps_are_those_of_the_oracle(formula: str) -> None:
    x = np.random.default_rng(61_553).normal(size=5)
    expected, found = oracle(formula, x, 25), ours(formula, x, 25)
    for k, (one, other) in enumerate(zip(expected, found, strict=True)):
        assert np.abs(one - other).max() < 1e-13 * 10 ** min(k / 4, 6), k  # rounding grows along the valley


def test_the_formulas_differ() -> None:
    x = np.random.default_rng(61_553).normal(size=5)
    ends = [ours(formula, x, 8)[-1] for formula in ("ssbroyden", "ssbfgs", "bfgs")]
    assert np.abs(ends[0] - ends[1]).max() > 1e-6
    assert np.abs(ends[1] - ends[2]).max() > 1e-6


def test_an_exact_matrix_needs_no_family() -> None:
    assert broyden(0.0, 2.0, 0.5, 10) == (0.0, 0.5)


def test_it_solves_an_equation_and_its_loss_never_rises() -> None:
    training = start(optimizer=SelfScaled(), steps=60, points=60)
    metrics = run(training, 60)
    assert relative_l2(training) < 1e-2
    assert {"loss", "loss/residual", "gradient_norm", "step_length", "reset"} <= metrics[-1].keys()
    assert metrics[-1]["loss"] == pytest.approx(metrics[-1]["loss/residual"])
    assert all(later["loss"] <= earlier["loss"] for earlier, later in zip(metrics, metrics[1:], strict=False))


@pytest.mark.parametrize("options", [{}, {"resample_every": 4}], ids=["fixed", "fresh"])
@pytest.mark.parametrize("stop", [8, 9])
def test_resuming_is_bitwise_the_same(options, stop: int) -> None:
    options = {"optimizer": SelfScaled(), "steps": 15, **options}
    straight = run(start(Decay(hard=False), **options), 15)
    first = start(Decay(hard=False), **options)
    run(first, stop)
    state = copy.deepcopy(first.state_dict())
    second = start(Decay(hard=False), seed=5, **options)
    second.load_state_dict(state)
    assert run(second, 15 - stop) == straight[stop:]


def test_it_stays_where_it_cannot_descend() -> None:
    """On a slope that is a lie: H is set back to the identity, and then the parameters stay."""
    part = torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    optimizer, lie = QuasiNewton([part], "ssbroyden", 1e-4, 0.9, 20), False

    def closure():
        part.grad = (-1.0 if lie else 1.0) * 2 * part.detach() * torch.tensor([1.0, 30.0])
        return (part.detach() ** 2 * torch.tensor([1.0, 30.0])).sum()

    for _ in range(3):
        optimizer.step(closure)
    before, lie = part.detach().clone(), True
    optimizer.restart()
    optimizer.step(closure)
    assert torch.equal(part.detach(), before)
    assert optimizer.metrics["step_length"] == 0.0
    assert optimizer.metrics["reset"] == 1.0


def test_a_loss_that_is_not_finite_at_the_start_diverges_and_one_on_the_way_does_not() -> None:
    training = start(optimizer=SelfScaled())
    with torch.no_grad():
        training.network.last.bias.fill_(float("nan"))  # type: ignore[attr-defined]
    with pytest.raises(DivergedError):
        training.step()
    part = torch.nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = QuasiNewton([part], "ssbroyden", 1e-4, 0.9, 20)

    def closure():
        part.grad = None
        if float(part.detach()) < 0.5:
            raise DivergedError("beyond the wall")
        loss = (part**2 / 2 - 0.6 * part).sum()
        loss.backward()
        return loss.detach()

    for _ in range(10):
        optimizer.step(closure)
    assert float(part.detach()) == pytest.approx(0.6, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float32"}, 'ssbroyden\' needs solver.precision = "float64"'),
        ({"derivatives": Hutchinson()}, "compares losses along a line"),
    ],
)
def test_what_it_cannot_do_is_refused(options, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        start(optimizer=SelfScaled(), **options)


def test_too_many_parameters_are_refused() -> None:
    solver = Pinn(optimizer=SelfScaled(), precision="float64")
    with pytest.raises(UnsupportedError, match=rf"at most {LARGEST} parameters, and this network has"):
        solver.start(Decay().problem(), Mlp(width=150, depth=2), seed=1, device=torch.device("cpu"))
