"""Weights that change during a training, against oracles written a second time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pinnx.domain import Box, Interval, Product
from pinnx.expr import Points
from pinnx.solvers.pinn import PinnTraining
from pinnx.solvers.sampling import Importance
from pinnx.solvers.weighting import Causal, Circumstances, GradientNorm, SelfAdaptive
from pinnx.solvers.weights import root_weights, weighted_mean, weights_of, with_weights
from tests.sampling.kit import KnownProbe, generator
from tests.solvers.test_pinn import start
from tests.solvers.toys import Decay

SPACE_TIME = Product(Box(0.0, 1.0, dimension=2), Interval(0.5, 2.5))


def points_of(count: int, seed: int = 90_127) -> Points:
    return SPACE_TIME.sample(count, generator(seed))


def causal(options: Causal) -> Any:
    problem = Decay().problem()
    problem = type(problem)(problem.equation, SPACE_TIME)
    return options.build(Circumstances(problem, False, False, torch.device("cpu"), torch.float64))


def residual(points: Points) -> torch.Tensor:
    return points.t * (1 + points.x.sum(1))


def oracle(time: np.ndarray, squares: np.ndarray, slices: int, epsilon: float, *, backward: bool = False) -> np.ndarray:
    """The published weights, slice by slice."""
    edges = np.linspace(0.5, 2.5, slices + 1)
    weights, total = np.empty_like(time), 0.0
    for index in reversed(range(slices)) if backward else range(slices):
        here = (time >= edges[index]) & (time < edges[index + 1])
        weights[here] = np.exp(-epsilon * total)
        total += squares[here].mean() if here.any() else 0.0
    return weights


@pytest.mark.parametrize("count", [300, 6], ids=["full", "some slices empty"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_causal_weights_equal_the_oracle(count: int, direction: Any) -> None:
    weights = causal(Causal(slices=10, tolerances=(0.02, 0.5), direction=direction))
    points = points_of(count)
    weights.update([points], KnownProbe(residual), generator(1))
    found = weights_of(weights.apply([points])[0])
    assert found is not None
    squares = residual(points).square().numpy()
    expected = oracle(points.t.numpy(), squares, 10, 0.02, backward=direction == "backward")
    assert np.allclose(found.numpy(), expected, rtol=1e-13, atol=0)
    assert weights.metrics["causal_tolerance"] == 0.02
    assert weights.metrics["causal_least_weight"] == pytest.approx(expected.min()) or count == 6


def test_the_tolerance_climbs_when_all_weights_are_near_one() -> None:
    weights = causal(Causal(slices=4, tolerances=(0.1, 1.0, 10.0), threshold=0.9))
    small, seen = KnownProbe(lambda p: 0.1 + 0 * p.t), []
    for _ in range(4):  # 0.01 in each slice: least weights exp(-3 · 0.01 · 0.1, · 1, · 10)
        weights.update([points_of(50)], small, generator(1))
        seen.append((weights.metrics["causal_tolerance"], weights.metrics["causal_least_weight"]))
    assert [each[0] for each in seen] == [0.1, 1.0, 10.0, 10.0]
    assert [each[1] for each in seen] == pytest.approx([np.exp(-0.03 * each) for each in (0.1, 1, 10, 10)])


def test_causal_means_respect_the_weights_of_the_points() -> None:
    weights = causal(Causal(slices=2, tolerances=(1.0,)))
    points, own = points_of(100), torch.rand(100, generator=generator(8), dtype=torch.float64)
    weights.update([with_weights(points, own)], KnownProbe(residual), generator(1))
    early = points.t < 1.5
    mean = (own * residual(points).square())[early].sum() / own[early].sum()
    assert float(weights.values[1]) == pytest.approx(float(torch.exp(-mean)), rel=1e-12)


def training_with(weighting: Any, **options: Any) -> PinnTraining:
    training = start(Decay(hard=False), weighting=(weighting,), steps=20, points=30, condition_points=9, **options)
    assert isinstance(training, PinnTraining)
    return training


def norms_by_hand(training: PinnTraining, batch: list[Points]) -> tuple[float, float]:
    """|∇ mean r²| of the equation and of the condition, entry by entry from the residuals of single points."""
    system, parameters, result = training.system, training.trainable, []
    for values, points in (
        (system.residual_values(batch[0], training.generator)[0], batch[0]),
        (system.condition_values(0, batch[1], training.generator), batch[1]),
    ):
        total = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64)
        weights = weights_of(points)
        for index, value in enumerate(values):
            gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
            row = torch.cat(
                [
                    torch.zeros(p.numel()).double() if g is None else g.reshape(-1)
                    for g, p in zip(gradients, parameters, strict=True)
                ]
            )
            total += 2 * float(value.detach()) * row * (1.0 if weights is None else float(weights[index])) / len(values)
        result.append(float(total.norm()))
    return result[0], result[1]


@pytest.mark.parametrize("resampling", [None, Importance()], ids=["uniform", "importance"])
def test_gradient_norm_weights_equal_hand_computation(resampling: Any) -> None:
    options = {} if resampling is None else {"resampling": resampling}
    training = training_with(GradientNorm(memory=0.75, every=1), **options)
    prepare = training.batches.prepare
    prepare(training.leg, 0, training.generator)
    equation, condition = norms_by_hand(training, training.batches._plain)
    first = equation / condition
    (weights,) = training.batches.weights
    assert weights.metrics["weight/initial"] == pytest.approx(first, rel=1e-10)
    with torch.no_grad():
        for parameter in training.trainable:
            parameter *= 1.1
    prepare(training.leg, 1, training.generator)
    equation, condition = norms_by_hand(training, training.batches._plain)
    expected = 0.75 * first + 0.25 * equation / condition
    assert weights.metrics["weight/initial"] == pytest.approx(expected, rel=1e-10)
    # the condition's own weight, 3, multiplies it in the loss
    batch = training.batches.current
    assert batch is not None
    values = training.system.condition_values(0, batch[1], training.generator).detach()
    terms = training.loss.terms(batch, training.generator)
    assert float(terms["initial"].detach()) == pytest.approx(3 * expected * float(values.square().mean()), rel=1e-10)


@pytest.mark.parametrize("per", ["condition", "point"])
def test_self_adaptive_weights_climb_the_loss(per: Any) -> None:
    training = training_with(SelfAdaptive(rate=0.5, per=per, every=1), resample_every=0)
    expected = 1.0
    for step in range(3):
        training.batches.prepare(training.leg, step, training.generator)
        batch = training.batches.current
        assert batch is not None
        squares = training.system.condition_values(0, batch[1], training.generator).detach().square()
        expected = expected + 0.5 * (squares if per == "point" else squares.mean())
        found = weights_of(batch[1])
        assert found is not None
        assert torch.allclose(found, torch.as_tensor(expected).expand(9), rtol=1e-13, atol=0)
        training.optimizer.zero_grad()


def test_weights_multiply_and_follow_their_points() -> None:
    points = points_of(5)
    first, second = torch.arange(1.0, 6.0).double(), torch.full((5,), 2.0).double()
    both = with_weights(with_weights(points, first), second)
    part = both.rows(slice(1, 4))
    assert weights_of(part).tolist() == [4.0, 6.0, 8.0]  # type: ignore[union-attr]
    squares = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]).double()
    assert float(weighted_mean(squares, part)) == pytest.approx((4 * 4 + 6 * 4 + 8 * 4) / 6)
    residuals = squares[0].sqrt()
    scaled = root_weights(part, 5.0) * residuals
    assert float(scaled.square().sum()) == pytest.approx(5 * float(weighted_mean(squares[0], part)))
    assert weights_of(points) is None
    assert with_weights(points, None) is points
