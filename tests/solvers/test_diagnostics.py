"""The figures that help to choose an estimator are true, and measuring them changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from pinnx.domain import Box
from pinnx.expr import Points, Unknown, atoms, laplacian, partial, sin, x
from pinnx.networks import Mlp
from pinnx.networks.base import Network
from pinnx.problem import Equation, Problem
from pinnx.solvers.derivatives import Auto, Hutchinson, Sdgd, Smoothing, Taylor
from pinnx.solvers.derivatives.base import DerivativeEstimator
from pinnx.solvers.diagnostics import AUTODIFF_DIMENSION, Diagnostics, Figures, diagnose
from pinnx.solvers.live_memory import peak_bytes
from pinnx.solvers.pinn import Pinn, PinnTraining
from tests.solvers.toys import Decay

SEED = 9_301_127
CPU = torch.device("cpu")


class Quadratic(Network):
    """xᵀHx/2 in six dimensions: its second derivatives, and so the variance of their estimates, are known."""

    def __init__(self) -> None:
        super().__init__()
        root = torch.randn(6, 6, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64)
        self.hessian = torch.nn.Parameter(root + root.T)

    def first_affine(self) -> tuple[Tensor, Tensor]:
        return torch.eye(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)

    def tail(self, hidden: Tensor) -> Tensor:
        half = torch.full((1, 6), 0.5, dtype=torch.float64)
        return torch.nn.functional.linear(hidden * torch.nn.functional.linear(hidden, self.hessian), half)


@dataclass(frozen=True)
class Curvature(Equation):
    """Δu = 1, sin(Δu) = 1 or u_xxx = 1, on the unit cube."""

    form: str = "linear"
    dimension: int = 6

    def residual(self, u: Unknown):
        shown = {"linear": laplacian(u), "sine": sin(laplacian(u)), "third": partial(u, x[0], x[0], x[0])}
        return shown[self.form] - 1.0

    def problem(self) -> Problem:
        return Problem(self, Box([0.0] * self.dimension, [1.0] * self.dimension))


def measured(
    estimator: DerivativeEstimator, form: str = "linear", network: Network | None = None, **options: Any
) -> Diagnostics:
    problem = Curvature(form).problem()
    batch = [problem.domain.sample(32, torch.Generator().manual_seed(SEED), dtype=torch.float64)]
    return diagnose(problem, network or Quadratic(), estimator, batch, seconds=30.0, **options)  # all draws, always


def own(diagnostics: Diagnostics) -> Figures:
    (figures,) = (each for each in diagnostics.estimators if each.own)
    return figures


def predicted(kind: str, samples: int) -> float:
    """Of one estimate, by the formulas for a quadratic."""
    h = Quadratic().hessian.detach()
    diagonal = h.diagonal()
    if kind == "hutchinson":
        return 2 * float((h - torch.diag(diagonal)).square().sum()) / samples
    if kind == "sdgd":  # without replacement
        return (6 - samples) / 5 * float(6 * diagonal.square().sum() - h.trace() ** 2) / samples
    return (8 * float(h.trace()) ** 2 + 18 * float(h.square().sum())) / samples


PER_POINT: Any = {"noise": "per-point", "law": "rademacher"}
STOCHASTIC = [
    Hutchinson(samples=8, **PER_POINT),
    Sdgd(samples=3),
    Smoothing(samples=8, weights="stein", baseline="center", sigma=0.1, **PER_POINT),
]


@pytest.mark.parametrize("estimator", STOCHASTIC, ids=lambda each: each.kind)
def test_the_variance_is_the_predicted_one(estimator) -> None:
    figures = own(measured(estimator))
    tolerance = 0.5 if estimator.kind == "sdgd" else 0.2  # its points share one draw
    truth = predicted(estimator.kind, estimator.samples)
    assert figures.variance == pytest.approx(truth, rel=tolerance)
    assert figures.variance != pytest.approx(truth * estimator.samples, rel=tolerance)  # the planted mistake
    assert figures.samples == estimator.samples


@pytest.mark.parametrize("estimator", STOCHASTIC, ids=lambda each: each.kind)
def test_the_bias_of_the_square_is_the_variance(estimator) -> None:
    """Of quadratics every estimate is unbiased; only for smoothing the diagnostics do not know it."""
    figures = own(measured(estimator))
    if estimator.kind == "smoothing":
        assert figures.bias_error is not None
        assert abs(figures.bias - figures.variance) < 4 * figures.bias_error
        assert figures.bias > 4 * figures.bias_error  # so that zero would be found
    else:
        assert figures.bias == figures.variance
        assert figures.bias_error is None


def test_inside_a_sine_the_bias_is_measured() -> None:
    figures = own(measured(STOCHASTIC[0], "sine"))
    assert figures.bias_error is not None


def test_exact_derivatives_have_no_noise_and_square_as_they_should() -> None:
    diagnostics = measured(Auto())
    assert (own(diagnostics).variance, own(diagnostics).bias) == (0.0, 0.0)
    truth = float(Quadratic().hessian.detach().trace() - 1) ** 2
    assert diagnostics.mean_square == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("which", ["compact", "every"])
def test_others_are_measured_beside_the_case(which) -> None:
    problem = Curvature(dimension=20).problem()
    network = Mlp(width=8, depth=2).build(20, 1, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64)
    batch = [problem.domain.sample(9, torch.Generator().manual_seed(SEED), dtype=torch.float64)]
    estimator = Hutchinson(samples=24, correction="biased")
    diagnostics = diagnose(problem, network, estimator, batch, which=which, seconds=0.05)
    assert diagnostics.points == 9
    names = [each.name for each in diagnostics.estimators]
    assert names[:2] == ["hutchinson, orthogonal, row space", "taylor (exact)"]
    assert len(set(names)) == len(names) == (8 if which == "every" else 4)
    assert [each.own for each in diagnostics.estimators] == [True] + [False] * (len(names) - 1)
    for each in diagnostics.estimators:
        assert each.refused is None
        assert each.seconds_per_step
        assert each.peak_memory_bytes
        assert each.samples == (None if not each.stochastic else 20 if each.kind == "sdgd" else 24)
        assert each.evaluations == {"taylor": 1, "hutchinson": 25, "sdgd": 21}.get(each.kind, each.evaluations)
    # 24 orthogonal directions cover the row space of rank 8 three times; full sdgd is exact too
    assert diagnostics.estimators[0].variance == pytest.approx(0.0, abs=1e-20)
    assert any("variance × evaluations" in note for note in diagnostics.notes)
    assert any('kind = "auto"' in note for note in diagnostics.notes)


def test_who_cannot_serve_says_why() -> None:
    diagnostics = measured(Auto(), "third", Mlp(width=8, depth=1).build(
        6, 1, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64
    ), which="compact")  # fmt: skip
    reasons = {each.kind: each.refused for each in diagnostics.estimators}
    assert reasons["taylor"] is None
    assert "dt only" in str(reasons["smoothing"])


class Opaque(Network):
    """A network that only automatic differentiation can read."""

    def __init__(self, inputs: int):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(inputs, dtype=torch.float64))

    def first_affine(self) -> None:
        return None

    def tail(self, hidden: Tensor) -> Tensor:
        return torch.cumsum(torch.sin(hidden * self.scale), 1)[:, -1:]


def test_no_reference_where_it_would_take_too_long() -> None:
    for dimension in (3, AUTODIFF_DIMENSION + 1):
        problem = Curvature(dimension=dimension).problem()
        batch = [problem.domain.sample(3, torch.Generator().manual_seed(SEED), dtype=torch.float64)]
        diagnostics = diagnose(problem, Opaque(dimension), Auto(), batch, seconds=0.05)
        assert (diagnostics.mean_square is None) == (dimension > 3)
        assert any("too long" in note for note in diagnostics.notes) == (dimension > 3)


# --- within a training ------------------------------------------------------------------------------------------------


def training(derivatives: DerivativeEstimator, hard: bool = False) -> PinnTraining:
    solver = Pinn(steps=9, points=12, condition_points=5, precision="float64", derivatives=derivatives)
    started = solver.start(Decay(hard=hard).problem(), Mlp(width=8, depth=2), seed=SEED, device=CPU)
    assert isinstance(started, PinnTraining)
    return started


@pytest.mark.parametrize("derivatives", [Auto(), Smoothing(samples=4), Sdgd(samples=2, correction="biased")])
def test_measuring_changes_nothing(derivatives: DerivativeEstimator) -> None:
    """Neither the steps that follow, nor the count of evaluations, nor what other code draws."""
    one, other = training(derivatives), training(derivatives)
    for index in range(4):
        if index in (0, 2):
            torch.manual_seed(SEED)
            gradients = [p.grad for p in one.trainable]
            one.diagnose("every", 0.01)
            drawn = torch.rand(3)
            torch.manual_seed(SEED)
            assert torch.equal(drawn, torch.rand(3))
            assert all(p.grad is gradient for p, gradient in zip(one.trainable, gradients, strict=True))
        assert one.step() == other.step()
    assert one.network_evaluations == other.network_evaluations


def test_the_evaluations_are_those_of_a_step() -> None:
    run = training(Hutchinson(samples=4), hard=True)
    run.step()
    assert own(run.diagnose()).evaluations == run.network_evaluations / 12


def test_the_same_figures_at_every_call() -> None:
    run = training(Smoothing(samples=4))
    first, second = own(run.diagnose(seconds=30.0)), own(run.diagnose(seconds=30.0))
    assert (first.variance, first.bias) == (second.variance, second.bias)


# --- memory -----------------------------------------------------------------------------------------------------------


def test_the_peak_counts_what_lives_at_one_time() -> None:
    given = torch.zeros(1000)

    def work() -> None:
        one = given + 1  # 4 000 bytes
        del one
        two, three = given[:500] + 1, given.double()  # 2 000 and 8 000
        two.add_(1)
        three.view(10, 100).sum()  # 8

    assert peak_bytes(work, CPU) == 2000 + 8000 + 8


def test_the_peak_is_that_of_the_profiler() -> None:
    network = Mlp(width=64, depth=2).build(10, 1, generator=torch.Generator().manual_seed(SEED), dtype=torch.float32)
    problem = Curvature(dimension=10).problem()
    points: Points = problem.domain.sample(200, torch.Generator().manual_seed(SEED), dtype=torch.float32)
    (residual,) = problem.equation.residuals()

    residual_atoms = atoms(residual)

    def step() -> None:
        values = Taylor().estimate(network, points, residual_atoms, torch.Generator())
        loss = torch.stack([value.square().mean() for value in values.values()]).sum()
        torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)

    step()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True
    ) as profile:
        step()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]  # type: ignore[union-attr]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    assert peak_bytes(step, CPU) == pytest.approx(peak, rel=0.05)
