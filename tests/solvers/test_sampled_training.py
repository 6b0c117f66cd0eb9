"""Training with stochastic estimators: the switch from biased to unbiased, resuming, refusals, counts."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Literal

import pytest
import torch

from pinnx.domain import Box, Interval, Product
from pinnx.errors import UnsupportedError
from pinnx.expr import Known, Unknown, dt, grad, laplacian, norm2, sin
from pinnx.networks import Mlp
from pinnx.problem import Condition, Equation, Problem
from pinnx.solvers.derivatives import DerivativeEstimator, Hutchinson, Sdgd, Smoothing
from pinnx.solvers.loss import PLATEAU_WINDOWS, Plateau, SampledLoss
from pinnx.solvers.pinn import Pinn, PinnTraining
from pinnx.solvers.system import ResidualSystem
from pinnx.solvers.training import Adam
from tests.solvers.toys import Counting, Decay

CPU = torch.device("cpu")
SMALL = Mlp(width=8, depth=2)


@dataclass(frozen=True)
class SineGordon(Equation):
    """Δu + sin u = 0 on the unit square."""

    def residual(self, u: Unknown):
        return laplacian(u) + sin(u)

    def problem(self) -> Problem:
        return Problem(self, Box([0.0, 0.0], [1.0, 1.0]))


@dataclass(frozen=True)
class Walls(Equation):
    """u_t = Δu − |∇u|² + 1, with the same soft condition on two parts of the domain."""

    def residual(self, u: Unknown):
        return dt(u) - laplacian(u) + norm2(grad(u)) - 1

    def problem(self) -> Problem:
        def part(low: float, high: float) -> Product:
            return Product(Box([low, 0.0], [high, 1.0]), Interval(0.0, 1.0))

        u = Unknown("u")
        left, right = Condition("left", u + 0.0, part(0.0, 0.01)), Condition("right", u + 0.0, part(0.99, 1.0))
        exact = Known("none", lambda p: p.t)
        return Problem(self, part(0.0, 1.0), conditions=(left, right), exact=exact, test_points=50)


def start(equation: Equation, derivatives: DerivativeEstimator, *, seed: int = 37_441, **options) -> PinnTraining:
    chosen = {"steps": 200, "points": 10, "condition_points": 4, "precision": "float64", **options}
    solver = Pinn(derivatives=derivatives, **chosen)
    training = solver.start(equation.problem(), SMALL, seed=seed, device=CPU)
    assert isinstance(training, PinnTraining)
    return training


def run(training: PinnTraining, steps: int) -> list[dict[str, float]]:
    return [training.step() for _ in range(steps)]


def switch(training: PinnTraining) -> int | None:
    assert isinstance(training.loss, SampledLoss)
    return training.loss.switched_at


# --- the plateau test -------------------------------------------------------------------------------------------------


def first_plateau(means, noise: float, window: int = 100, seed: int = 616_041) -> int | None:
    """The step at which the test fires on a loss of given means with multiplicative log-normal noise."""
    generator, plateau = torch.Generator().manual_seed(seed), Plateau(window)
    factors = torch.exp(noise * torch.randn(len(means), generator=generator) - noise**2 / 2)
    for step, loss in enumerate((torch.as_tensor(means) * factors).tolist(), start=1):
        if plateau.reached(loss):
            return step
    return None


def test_a_falling_loss_is_no_plateau() -> None:
    """Ten percent a window, under noise of half the loss's size."""
    assert first_plateau(torch.logspace(0, -5, 10_000), noise=0.5) is None


@pytest.mark.parametrize("seed", [616_041, 77_003, 9_148])
def test_a_loss_that_has_stopped_falling_is_a_plateau(seed: int) -> None:
    """A fall to a floor at step 3000: found after it, and within a few windows."""
    means = torch.maximum(torch.logspace(0, -10, 10_000), torch.tensor(1e-3))
    fired = first_plateau(means, noise=0.1, seed=seed)
    assert fired is not None
    assert 3000 <= fired <= 3000 + 100 * (PLATEAU_WINDOWS + 6)


def test_a_constant_loss_is_a_plateau_at_the_earliest_moment() -> None:
    """One window to compare with, and so many in a row without a fall."""
    assert first_plateau(torch.ones(2000), noise=0.0) == 100 * (1 + PLATEAU_WINDOWS)


def test_a_single_flat_window_is_forgiven() -> None:
    steps = [1.0] * 200 + [0.5] * 100 + [0.25] * 100 + [0.25] * 100 + [0.1] * 100
    assert first_plateau(steps, noise=0.0) is None


def test_a_rising_loss_is_a_plateau() -> None:
    assert first_plateau(torch.linspace(1, 5, 1000), noise=0.0) == 100 * (1 + PLATEAU_WINDOWS)


# --- the switch -------------------------------------------------------------------------------------------------------


def test_hybrid_switches_at_the_step_given_and_says_so() -> None:
    training = start(Decay(), Hutchinson(samples=4, switch_at=5))
    metrics = run(training, 8)
    assert [each["unbiased"] for each in metrics] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert switch(training) == 5


def test_hybrid_switches_at_the_plateau() -> None:
    """A network that is not trained has a loss that does not fall."""
    training = start(Decay(), Hutchinson(samples=4), optimizer=Adam(learning_rate=1e-12), steps=400)
    run(training, 200)
    assert switch(training) == 50 * (1 + PLATEAU_WINDOWS)


def test_before_the_switch_the_loss_is_the_biased_one_and_after_it_the_unbiased_one() -> None:
    runs = {
        correction: run(start(Decay(), Hutchinson(samples=4, law="rademacher", correction=correction, switch_at=3)), 6)
        for correction in ("hybrid", "biased", "unbiased")
    }
    losses = {correction: [each["loss"] for each in metrics] for correction, metrics in runs.items()}
    assert losses["hybrid"][:3] == losses["biased"][:3]
    assert losses["hybrid"][3] != losses["biased"][3]
    assert losses["unbiased"][0] != losses["biased"][0]
    assert all(each["unbiased"] == 1 for each in runs["unbiased"])
    assert all(each["unbiased"] == 0 for each in runs["biased"])


@pytest.mark.parametrize(
    "estimator",
    [
        Smoothing(samples=8, switch_at=6),
        Smoothing(samples=8, weights="stein", switch_at=6, noise="per-point"),
        Hutchinson(samples=8, switch_at=6),
        Sdgd(samples=2, switch_at=6, realization="independent"),
    ],
    ids=lambda estimator: f"{estimator.kind}-{getattr(estimator, 'weights', '')}",
)
@pytest.mark.parametrize("stop", [3, 6, 9])
def test_resuming_across_the_switch_is_bitwise_the_same(estimator: DerivativeEstimator, stop: int) -> None:
    equation = Walls()
    whole = start(equation, estimator)
    straight = run(whole, 12)
    first = start(equation, estimator)
    run(first, stop)
    second = start(equation, estimator, seed=5)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert run(second, 12 - stop) == straight[stop:]
    assert switch(second) == switch(whole) == 6
    assert second.network_evaluations == whole.network_evaluations


def test_resuming_keeps_what_the_plateau_test_has_seen() -> None:
    estimator = Hutchinson(samples=4)
    whole, first, second = (start(Decay(), estimator, steps=400) for _ in range(3))
    run(whole, 260)
    run(first, 120)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    run(second, 140)
    assert switch(second) == switch(whole)
    assert second.state_dict()["loss"] == whole.state_dict()["loss"]


# --- losses, counts, refusals -----------------------------------------------------------------------------------------


def test_negative_losses_are_allowed() -> None:
    """Near the solution an unbiased loss is as often negative as not; training goes on."""
    training = start(Decay(), Hutchinson(samples=2, law="gaussian", correction="unbiased"), points=2)
    metrics = run(training, 150)
    losses = torch.tensor([each["loss"] for each in metrics])
    assert bool((losses < 0).any())
    assert bool((losses > 0).any())
    assert bool(losses.isfinite().all())


@pytest.mark.parametrize("weights", ["difference", "stein"])
@pytest.mark.parametrize("equation", [Decay(dimension=12), Decay(hard=False), Walls()], ids=["hard", "soft", "walls"])
def test_network_evaluations_are_counted_and_the_same_for_every_correction(equation: Equation, weights) -> None:
    """Per step, those of the u-statistic equal those of the biased loss, conditions included."""
    counts = {}
    for correction in ("biased", "unbiased-loss", "unbiased"):
        training = start(equation, Smoothing(samples=8, weights=weights, correction=correction))
        network = Counting(training.network)
        training.network = training.system.network = network
        run(training, 2)
        assert network.rows == training.network_evaluations
        counts[correction] = network.rows
    assert counts["biased"] == counts["unbiased"] == counts["unbiased-loss"]


def test_two_conditions_may_state_the_same_expression() -> None:
    metrics = run(start(Walls(), Smoothing(samples=8)), 2)
    assert {"loss/left", "loss/right"} <= set(metrics[0])


@pytest.mark.parametrize("correction", ["unbiased", "hybrid"])
def test_too_few_samples_are_refused_at_the_start(correction) -> None:
    """Also where they would be missed at the switch only; |∇u|² squared has four factors."""
    with pytest.raises(UnsupportedError, match="needs at least 4 samples here, got samples = 3"):
        start(Walls(), Smoothing(samples=3, weights="stein", baseline="center", correction=correction))
    with pytest.raises(UnsupportedError, match="needs at least 2 samples here, got samples = 1"):
        start(Walls(), Smoothing(samples=1, correction=correction))  # whose gradients are exact
    with pytest.raises(UnsupportedError, match="needs at least 8 samples here, got samples = 7"):
        start(Walls(), Smoothing(samples=7, weights="stein", correction=correction))
    start(Walls(), Smoothing(samples=2, correction=correction))
    start(Walls(), Smoothing(samples=1, correction="biased"))
    start(Walls(), Smoothing(samples=1, correction=correction, realization="independent"))
    with pytest.raises(ValueError, match="leave-one-out needs samples of at least 2"):
        Smoothing(samples=1, weights="stein")


def test_a_residual_that_is_no_polynomial_is_noted() -> None:
    notes = start(SineGordon(), Smoothing(samples=32, weights="stein")).notes
    assert any("the bias of its square is corrected, that inside it is not" in note for note in notes)
    for estimator in (Smoothing(samples=8), Hutchinson(samples=8)):  # whose values are exact
        assert not any("no polynomial" in note for note in start(SineGordon(), estimator).notes)


def test_the_run_says_which_directions_it_takes() -> None:
    notes = {
        "16 pairs, difference weights, orthogonal directions in all dimensions": Smoothing(samples=16),
        "Stein's weights with the baseline leave-one-out, normal directions": Smoothing(samples=16, weights="stein"),
        "derivatives: hutchinson, as asked: 9 random sign directions": Hutchinson(samples=9, law="rademacher"),
    }
    for words, estimator in notes.items():
        assert words in start(Decay(), estimator).notes[0]
    wide = Mlp(width=1, depth=2).build(9, 1, generator=torch.Generator(), dtype=torch.float32)
    assert "in the first layer's row space of 1 dimensions" in Smoothing().details(wide)


def test_every_correction_trains_towards_the_solution() -> None:
    for estimator in (Smoothing(samples=8), Hutchinson(samples=8), Sdgd(samples=1, realization="independent")):
        for correction in ("biased", "unbiased-loss", "unbiased"):
            training = start(Decay(), replace(estimator, correction=correction), points=30)
            before = training.evaluate()
            run(training, 70)
            after = training.evaluate()
            assert before is not None
            assert after is not None
            assert after.relative_l2 < 0.8 * before.relative_l2


def test_conditions_see_the_network_itself() -> None:
    """A soft condition without derivatives has no randomness: its loss is the exact one in every correction."""
    problem = Walls().problem()
    generator = torch.Generator().manual_seed(11_903)
    network = SMALL.build(3, 1, generator=generator, dtype=torch.float64)
    points = problem.conditions[0].domain.sample(7, generator, dtype=torch.float64)
    expected = float(network(points.tensor).square().mean().detach())
    for weights in ("difference", "stein"):
        for correction in ("biased", "unbiased"):
            estimator = Smoothing(samples=8, weights=weights, correction=correction)
            system = ResidualSystem(problem, network, estimator)
            loss = SampledLoss(system, 100)
            (square,) = loss.squares((system.conditions[0],), points, generator)
            assert float(square.detach()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["difference", "stein"])
def test_a_compiled_network_gives_the_same_steps(weights: Literal["difference", "stein"]) -> None:
    """With whole gradients too, which are not compiled, and solutions that can be saved."""
    estimator = Smoothing(samples=8, weights=weights)
    plain, compiled = (start(Walls(), estimator, compile=each) for each in (False, True))
    for one, other in zip(run(plain, 3), run(compiled, 3), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-9)
    assert plain.network_evaluations == compiled.network_evaluations
    copy.deepcopy(compiled.solution())
