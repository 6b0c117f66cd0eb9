"""Every equation with its own trial solution, every stochastic estimator: the corrected loss and its gradient.

The biased loss and the unbiased square alone: `test_every_equation_corrections`.
"""

from __future__ import annotations

import pytest
import torch

from pinnx.equations import AllenCahn, Burgers, FokkerPlanck, HamiltonJacobiBellman, SineGordon
from pinnx.expr import Expr, Points
from pinnx.networks import Mlp
from pinnx.networks.base import Network
from pinnx.problem import Equation
from pinnx.solvers.derivatives import Hutchinson, Sdgd, Smoothing
from pinnx.solvers.derivatives.sampled import Correction, SampledEstimator, SquaredResiduals
from pinnx.solvers.system import in_network
from tests.solvers.test_bias_correction import assert_loss, estimated_residuals, losses, true_residual
from tests.solvers.test_sampled_estimators import TestSmoothing as Kit

Kit.__test__ = False  # type: ignore[attr-defined]
SEED = 9_115_407
EQUATIONS: dict[str, Equation] = {
    "allen-cahn": AllenCahn(3),
    "sine-gordon": SineGordon(3),
    "fokker-planck": FokkerPlanck(3, drift="anisotropic"),
    "hjb": HamiltonJacobiBellman(3),
    "burgers": Burgers(3),
}
SIGNS = {"law": "rademacher", "noise": "per-point"}
ESTIMATORS: dict[str, SampledEstimator] = {
    "stein": Smoothing(sigma=0.4, sigma_time=0.2, samples=12, weights="stein", noise="per-point"),
    "differences": Smoothing(sigma=0.4, sigma_time=0.2, samples=12, **SIGNS),  # type: ignore[arg-type]
    "orthogonal differences": Smoothing(sigma=0.4, sigma_time=0.2, samples=2, noise="per-point"),
    "hutchinson": Hutchinson(samples=12, **SIGNS),  # type: ignore[arg-type]
    "orthogonal hutchinson": Hutchinson(samples=2, noise="per-point"),
}
PAIRS = [(name, each) for name in EQUATIONS for each in ESTIMATORS if (name, each) != ("sine-gordon", "stein")]


def setting(equation: Equation) -> tuple[Expr, Network, Points]:
    """The residual in atoms of a network with fewer hidden units than dimensions; two points."""
    generator = torch.Generator().manual_seed(SEED)
    problem = equation.problem()
    points = problem.domain.sample(2, generator, dtype=torch.float64)
    network = Mlp(width=2, depth=2, activation="sin").build(
        points.tensor.shape[1], 1, generator=generator, dtype=torch.float64
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=generator).mul_(0.7)
    (residual,) = equation.residuals()
    return in_network(problem, residual), network, points


@pytest.mark.parametrize(("name", "estimator"), PAIRS)
def test_unbiased_losses_are_those_of_the_true_residual(name: str, estimator: str) -> None:
    expr, network, points = setting(EQUATIONS[name])
    assert_loss(ESTIMATORS[estimator], expr, "unbiased", (network, points))


@pytest.mark.parametrize("correction", ["unbiased-loss", "unbiased"])
def test_a_function_of_an_estimate_keeps_its_bias(correction: Correction) -> None:
    """The sine of Stein's value: its square is corrected, it itself cannot be; and the run says so."""
    expr, network, points = setting(EQUATIONS["sine-gordon"])
    assert SquaredResiduals(ESTIMATORS["stein"], [expr]).note is not None
    assert SquaredResiduals(ESTIMATORS["differences"], [expr]).note is None
    with torch.no_grad():
        values, _ = losses(
            ESTIMATORS["stein"], expr, correction, repetitions=400, with_gradient=False, where=(network, points)
        )
        sizes = SquaredResiduals(ESTIMATORS["stein"], [expr]).groups(correction, network)[:1]
        drawn = estimated_residuals(ESTIMATORS["stein"], expr, network, points, sizes * 20_000, SEED)
    # independent estimates of the mean residual, squared: what both corrections then estimate
    first, second = drawn.split(10_000)
    expected = (first.mean(0) * second.mean(0)).mean()
    noise = 2 * drawn.std(0).mean() / 20_000**0.5 * drawn.mean(0).abs().mean() + values.std() / len(values) ** 0.5
    assert abs(float(values.mean() - expected)) < 4 * float(noise)


@pytest.mark.parametrize("name", EQUATIONS)
def test_sdgd(name: str) -> None:
    """One draw for the whole batch: repetitions are calls."""
    expr, network, points = setting(EQUATIONS[name])
    estimator = Sdgd(samples=2)
    truth = float(true_residual(estimator, expr, network, points).square().mean().detach())
    generator = torch.Generator().manual_seed(SEED)
    squares = SquaredResiduals(estimator, [expr])
    with torch.no_grad():
        values = torch.stack([squares(network, points, generator, "unbiased")[0] for _ in range(800)])
    error = float(values.std()) / 800**0.5
    assert abs(float(values.mean()) - truth) < 4 * error
    assert error < 0.1 * truth, "the test could not tell"
