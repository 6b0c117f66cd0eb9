"""Natural-gradient steps against dense linear algebra; what they refuse; that they resume."""

from __future__ import annotations

import copy

import pytest
import torch

from pinnx.errors import DivergedError, UnsupportedError
from pinnx.solvers.derivatives import Autodiff, Hutchinson, Smoothing
from pinnx.solvers.natural import DenseJacobian, LeastSquares, Linearization
from pinnx.solvers.natural.jacobian import flatten
from pinnx.solvers.training import Constant, Engd, Spring
from pinnx.solvers.training.natural_gradient import FIRST_DAMPING, TRUST_RISE, NaturalGradient, walk
from tests.solvers.test_pinn import relative_l2, run, start
from tests.solvers.toys import Coupled, Decay
from tests.training.kit import explicit_jacobian


def dense_step(training, before: torch.Tensor, damping: float) -> torch.Tensor:
    """The Gauss–Newton step (JᵀJ + λI)⁻¹ Jᵀ r in parameter space, at other parameters than the present ones."""
    now = flatten([p.detach() for p in training.trainable])
    torch.nn.utils.vector_to_parameters(before, training.trainable)
    least = LeastSquares(training.system, training.trainable, training.loss.names)
    residuals, jacobian = explicit_jacobian(least, training._batch)
    torch.nn.utils.vector_to_parameters(now, training.trainable)
    absolute = damping * float(jacobian.square().sum()) / len(residuals)  # relative to the mean of the diagonal of K
    left = jacobian.T @ jacobian + absolute * torch.eye(jacobian.shape[1], dtype=torch.float64)
    return -torch.linalg.solve(left, jacobian.T @ residuals)


def moved(training) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
    before = flatten([p.detach().clone() for p in training.trainable])
    metrics = training.step()
    return before, flatten([p.detach() for p in training.trainable]) - before, metrics


@pytest.mark.parametrize("equation", [Decay(hard=False), Coupled()], ids=["soft", "system"])
@pytest.mark.parametrize("derivatives", [None, Autodiff()], ids=["layers", "dense"])
@pytest.mark.parametrize("points", [25, 300], ids=["fewer-residuals", "more-residuals"])  # than parameters
def test_a_step_is_the_dense_gauss_newton_step(equation, derivatives, points: int) -> None:
    options = {} if derivatives is None else {"derivatives": derivatives}
    engd = Engd(search="none", damping=1e-4, learning_rate=0.5)
    training = start(equation, optimizer=engd, points=points, condition_points=9, **options)
    assert (points > training.parameters) == (points == 300)
    for _ in range(2):
        before, change, metrics = moved(training)
        expected = 0.5 * dense_step(training, before, 1e-4)
        assert float((change - expected).norm()) < 1e-8 * float(expected.norm())
        assert metrics["damping"] == 1e-4
    wrong = 0.5 * dense_step(training, before, 1e-3)
    assert float((change - wrong).norm()) > 1e-3 * float(wrong.norm())


def test_spring_is_the_published_recursion() -> None:
    mu, damping, rate = 0.7, 1e-3, 0.2
    training = start(
        Decay(hard=False),
        optimizer=Spring(search="none", damping=damping, momentum=mu, learning_rate=rate, schedule=Constant()),
        points=15,
    )
    phi = torch.zeros(training.parameters, dtype=torch.float64)
    for k in range(4):
        before, change, _ = moved(training)
        now = flatten([p.detach() for p in training.trainable])  # type: ignore[attr-defined]
        torch.nn.utils.vector_to_parameters(before, training.trainable)  # type: ignore[attr-defined]
        least = LeastSquares(training.system, training.trainable, ["residual"])  # type: ignore[attr-defined]
        residuals, jacobian = explicit_jacobian(least, training._batch)  # type: ignore[attr-defined]
        torch.nn.utils.vector_to_parameters(now, training.trainable)  # type: ignore[attr-defined]
        gram = jacobian @ jacobian.T
        gram += damping * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
        zeta = -residuals - mu * jacobian @ phi
        phi = mu * phi + jacobian.T @ torch.linalg.solve(gram, zeta)
        expected = rate * phi / (1 - mu ** (2 * (k + 1))) ** 0.5
        assert float((change - expected).norm()) < 1e-8 * float(expected.norm())


@pytest.mark.parametrize(("optimizer", "goal"), [(Engd(), 2e-3), (Spring(momentum=0.5), 0.02)], ids=["engd", "spring"])
def test_they_are_accurate_in_few_steps(optimizer, goal: float) -> None:
    training = start(optimizer=optimizer, steps=20, points=120)
    metrics = run(training, 20)
    assert relative_l2(training) < goal
    assert {"loss", "loss/residual", "gradient_norm", "damping", "step_length", "learning_rate"} == metrics[0].keys()


def test_the_damping_grows_until_the_matrix_can_be_factorized() -> None:
    """More residuals than parameters: K is singular."""
    training = start(optimizer=Engd(damping=1e-20), points=400)
    dampings = [metrics["damping"] for metrics in run(training, 3)]
    assert dampings[0] > 1e-18
    assert dampings[1] >= dampings[0] / 2  # it starts from what the last step needed
    assert relative_l2(training) < 1.0


def test_the_damping_grows_after_tiny_steps_and_falls_after_good_ones() -> None:
    optimizer = Spring(damping=1e-6).build(start().network.parameters())  # type: ignore[attr-defined]
    assert isinstance(optimizer, NaturalGradient)
    assert optimizer._next_damping(1e-6, 2.0**-7) == pytest.approx(1e-5)
    assert optimizer._next_damping(0.5, 2.0**-30) == 1.0
    assert optimizer._next_damping(1e-4, 0.5) == pytest.approx(5e-5)


@pytest.mark.parametrize("points", [15, 250], ids=["fewer-residuals", "more-residuals"])
def test_trust_steps_are_damped_gauss_newton_steps_that_descend(points: int) -> None:
    training = start(Decay(hard=False), optimizer=Engd(search="trust"), points=points, resample_every=0)
    losses, dampings = [], []
    for _ in range(12):
        before, change, metrics = moved(training)
        expected = metrics["step_length"] * dense_step(training, before, metrics["damping"])
        assert float((change - expected).norm()) < 1e-6 * float(expected.norm())
        losses.append(metrics["loss"])
        dampings.append(metrics["damping"])
    assert all(later < earlier for earlier, later in zip(losses, losses[1:], strict=False))
    assert dampings[0] >= FIRST_DAMPING
    assert min(dampings) < dampings[0] / 9  # two falls in a row, at least


class Cliff:
    """Residuals r(θ) = (θ − 1, 0.1 θ) whose loss is lower only for steps shorter than `reach`."""

    def __init__(self, part: torch.nn.Parameter, reach: float):
        self.part, self.reach, self.start = part, reach, float(part.detach())

    def linearize(self) -> Linearization:
        x = self.part.detach()
        residuals, matrix = torch.stack([x[0] - 1, 0.1 * x[0]]), torch.tensor([[1.0], [0.1]], dtype=x.dtype)
        return Linearization(residuals, DenseJacobian(matrix), {"residual": float(residuals.square().sum())})

    def loss(self) -> float:
        here = self.linearize().loss
        return here if abs(float(self.part.detach()) - self.start) < self.reach else float("nan")


def test_the_damping_of_trust_rises_until_the_step_descends() -> None:
    part = torch.nn.Parameter(torch.tensor([0.0], dtype=torch.float64))
    optimizer = NaturalGradient([part], 1.0, 0.0, 1e-10, "trust")
    optimizer.step(Cliff(part, 0.01))
    assert optimizer.metrics["damping"] == pytest.approx(FIRST_DAMPING * TRUST_RISE**8)
    assert optimizer.metrics["step_length"] == 0.25
    before = float(part.detach())
    assert 0 < before < 0.01
    optimizer.step(Cliff(part, 0.0))  # nothing descends: it stays
    assert float(part.detach()) == before
    assert optimizer.metrics["step_length"] == 0.0


def test_line_searches() -> None:
    def bowl(length: float) -> float:
        return (length - 0.13) ** 2

    assert walk(bowl, 1.0, 1.0, 1.0) == 0.125
    assert walk(bowl, 2.0**-9, 1.0, 1.0) == 0.125
    assert walk(bowl, 2.0**-9, 2.0**-5, 1.0) == 2.0**-5
    assert walk(lambda length: length, 1.0, 1.0, 0.0) == 2.0**-30
    hills = {1.0: 70.0, 0.5: 90.0, 0.25: 80.0, 0.125: 0.9, 0.0625: 0.95}
    assert walk(lambda length: hills.get(length, 1.0), 1.0, 1.0, 1.0) == 0.125
    grid, walking = (start(optimizer=Engd(search=search), points=60) for search in ("grid", "walk"))
    assert grid.step() == walking.step()


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": Engd()},
        {"optimizer": Engd(search="trust"), "points": 200},
        {"optimizer": Spring(), "resample_every": 4},
        {"optimizer": Spring(search="none"), "derivatives": Hutchinson(samples=4)},
    ],
    ids=["engd", "trust", "spring", "stochastic"],
)
def test_resuming_is_bitwise_the_same(options) -> None:
    options = {"steps": 12, "points": 20, **options}
    straight = run(start(Decay(hard=False), **options), 12)
    first = start(Decay(hard=False), **options)
    run(first, 5)
    state = copy.deepcopy(first.state_dict())
    second = start(Decay(hard=False), seed=5, **options)
    second.load_state_dict(state)
    assert run(second, 7) == straight[5:]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": Engd(), "precision": "float32"}, 'needs solver.precision = "float64"'),
        ({"optimizer": Engd(search="none"), "derivatives": Hutchinson()}, "would fit the noise"),
        ({"optimizer": Spring(), "derivatives": Hutchinson()}, "compares losses along a line"),
        ({"optimizer": Spring(), "clip_gradient": 1.0}, "works with residuals"),
    ],
)
def test_what_is_not_sound_is_refused(options, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        start(**options)


def test_a_state_that_is_not_finite_diverges_and_stays() -> None:
    training = start(optimizer=Spring())
    training.step()
    with torch.no_grad():
        training.network.last.bias.fill_(float("inf"))  # type: ignore[attr-defined]
    before = copy.deepcopy(training.state_dict()["network"])
    with pytest.raises(DivergedError, match="step 2"):
        training.step()
    for name, value in training.state_dict()["network"].items():
        assert torch.equal(value, before[name])


SAMPLED = [Hutchinson(samples=2, law="rademacher"), Smoothing(samples=4, sigma=0.2, weights="stein")]


@pytest.mark.parametrize("derivatives", SAMPLED, ids=lambda each: each.kind)
@pytest.mark.parametrize("same", [False, True], ids=["independent", "planted"])
def test_stochastic_residuals_are_independent_of_their_jacobian(derivatives, same: bool) -> None:
    """So that the mean of Jᵀ(JJᵀ + λI)⁻¹ r̂ vanishes with r; planted: both from the same samples."""
    training = start(optimizer=Spring(search="none"), derivatives=derivatives, points=3)
    least: LeastSquares = training._squares  # type: ignore[attr-defined]
    assert not least.layerwise
    assert "independent of the residuals'" in least.note
    training.batches.prepare(training.leg, 0, training.generator)  # type: ignore[attr-defined]
    least.stochastic = not same
    draws, generator = 150, torch.Generator().manual_seed(40_009)
    pairs = []
    for _ in range(draws):
        linear = least.linearize(training._batch, generator)  # type: ignore[attr-defined]
        pairs.append(torch.stack([linear.residuals, linear.jacobian.adjoint(torch.ones(3).double())[:3]]))
    r, j = (part - part.mean(0) for part in torch.stack(pairs).unbind(1))
    correlation = (r.T @ j) / (r.norm(dim=0)[:, None] * j.norm(dim=0))
    assert (float(correlation.abs().max()) < 4.5 / draws**0.5) is not same


def test_momentum_needs_no_first_order_state() -> None:
    """Optimizer states hold what they need and nothing of size N²."""
    training = start(optimizer=Spring(), points=30)
    training.step()
    state = training.optimizer.state  # type: ignore[attr-defined]
    assert isinstance(training.optimizer, NaturalGradient)  # type: ignore[attr-defined]
    (content,) = state.values()
    assert content["momentum"].numel() == training.parameters
    assert set(content) == {"momentum", "count", "damping", "length"}
