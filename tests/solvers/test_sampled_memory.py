"""What grows with the dimension: a few tensors of the first layer's size, and nothing per sample."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch

from pinnx.expr import Coordinates, Points, Unknown, atoms, directional, dt, laplacian, x
from pinnx.networks import Mlp
from pinnx.solvers.derivatives import Hutchinson, Smoothing
from pinnx.solvers.derivatives.sampled import SampledEstimator
from pinnx.solvers.live_memory import peak_bytes

WIDTH, POINTS, DIMENSIONS = 32, 20, (1000, 10_000)
ESTIMATORS = {
    "differences": Smoothing(),
    "stein": Smoothing(weights="stein"),
    "hutchinson": Hutchinson(),
    "differences per point": Smoothing(noise="per-point"),
    "stein per point": Smoothing(weights="stein", noise="per-point"),
    "hutchinson per point": Hutchinson(noise="per-point"),
}


def peak(estimator: SampledEstimator, d: int) -> int:
    generator = torch.Generator().manual_seed(8_120_331)
    network = Mlp(width=WIDTH, depth=2).build(d, 1, generator=generator, dtype=torch.float64)
    points = Points(torch.randn(POINTS, d, generator=generator, dtype=torch.float64), Coordinates.of(x=d))
    u = Unknown("u")
    wanted = atoms(laplacian(u) + directional(u, x))

    def work() -> None:
        values = estimator.estimate(network, points, wanted, generator)
        total = torch.stack([value.square().sum() for value in values.values()]).sum()
        torch.autograd.grad(total, list(network.parameters()), allow_unused=True)

    return peak_bytes(work, torch.device("cpu"))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_samples_cost_the_same_memory_in_every_dimension(name: str) -> None:
    chosen = ESTIMATORS[name]
    peaks = {(k, d): peak(replace(chosen, samples=k), d) for k in (64, 256) for d in DIMENSIONS}  # type: ignore[type-var]
    low, high = (peaks[256, d] - peaks[64, d] for d in DIMENSIONS)
    assert low > 0
    assert high <= 1.02 * low
    first_layer = 8 * (WIDTH + POINTS) * DIMENSIONS[1]
    assert peaks[64, DIMENSIONS[1]] - peaks[64, DIMENSIONS[0]] < 6 * first_layer
    assert peaks[256, DIMENSIONS[1]] < 8 * POINTS * 256 * DIMENSIONS[1] / 4, "a tensor of points × samples × d"


@pytest.mark.parametrize(
    ("weights", "noise"), [("difference", "shared"), ("stein", "shared"), ("difference", "per-point")]
)
def test_a_memory_budget_is_kept(
    weights: Literal["difference", "stein"], noise: Literal["shared", "per-point"]
) -> None:
    """Of samples × points × width, which is 4 MB here, at one time a part that fits; the rest is made again."""
    generator = torch.Generator().manual_seed(7_004_119)
    network = Mlp(width=WIDTH, depth=3).build(50, 1, generator=generator, dtype=torch.float64)
    points = Points(torch.randn(POINTS, 50, generator=generator, dtype=torch.float64), Coordinates.of(x=49, t=0))
    u, peaks = Unknown("u"), []
    for memory in (1.0, 1e-4):
        estimator = Smoothing(samples=800, weights=weights, noise=noise, memory=memory)

        def work(estimator: Smoothing = estimator) -> None:
            values = estimator.estimate(network, points, atoms(laplacian(u) + dt(u)), generator)
            torch.autograd.grad(torch.stack(list(values.values())).sum(), list(network.parameters()), allow_unused=True)

        peaks.append(peak_bytes(work, torch.device("cpu")))
    full = 8 * 800 * POINTS * WIDTH
    assert peaks[0] > 6 * full
    assert peaks[1] < 0.8 * full  # directions, their images in the hidden layer, and a chunk


@pytest.mark.parametrize("law", ["orthogonal", "rademacher"])
def test_noise_of_its_own_for_each_point_is_drawn_in_parts(law: Literal["orthogonal", "rademacher"]) -> None:
    """In all coordinates: no tensor of points × samples × d; and the backward pass draws what the forward pass drew."""
    d, samples = 2000, 16
    generator = torch.Generator().manual_seed(3_771_209)
    network = Mlp(width=8, depth=2, activation="sin").build(d, 1, generator=generator, dtype=torch.float64)
    points = Points(torch.randn(POINTS, d, generator=generator, dtype=torch.float64), Coordinates.of(x=d))
    (atom,) = wanted = atoms(laplacian(Unknown("u")))
    estimator = Smoothing(samples=samples, law=law, space="full", noise="per-point", sigma=0.3, memory=5e-4)
    whole = 8 * POINTS * samples * d

    def estimate(seed: int = 5) -> torch.Tensor:
        return estimator.estimate(network, points, wanted, torch.Generator().manual_seed(seed))[atom]

    def work() -> None:
        torch.autograd.grad(estimate().square().sum(), list(network.parameters()), allow_unused=True)

    assert peak_bytes(work, torch.device("cpu")) < 0.6 * whole
    assert not torch.equal(estimate(5), estimate(6))
    # a central difference of the same draw, against the gradient
    weight = network.first_affine()[0]  # type: ignore[index]
    (slope,) = torch.autograd.grad(estimate().square().sum(), weight)
    move, step = torch.randn(weight.shape, generator=generator, dtype=torch.float64), 1e-4
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * step * move
            values.append(float(estimate().square().sum()))
            weight -= sign * step * move
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(float((slope * move).sum()), rel=1e-4)
