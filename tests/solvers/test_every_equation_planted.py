"""The residual of every equation at one sample: on average the true one, and far from it if any atom is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pinnx.expr import Atom, Evaluator, Expr, Points, atoms, with_explicit_values, with_slots
from pinnx.networks.base import Network
from pinnx.solvers.derivatives import Hutchinson, Sdgd, Smoothing
from pinnx.solvers.derivatives.sampled import SampledEstimator
from pinnx.testing.statistics import bonferroni_bound, standard_errors
from tests.solvers.test_bias_correction import true_residual
from tests.solvers.test_estimator_variance import LAPLACIAN
from tests.solvers.test_every_equation_sampled import EQUATIONS, setting

SEED = 3_307_651
ONE = Smoothing(samples=1, sigma=0.5, sigma_time=0.3, noise="per-point")
ESTIMATORS: dict[str, SampledEstimator] = {
    "stein": replace(ONE, weights="stein", baseline="center"),
    "stein, all coordinates": replace(ONE, weights="stein", baseline="center", space="full"),
    "differences": ONE,
    "differences, signs": replace(ONE, law="rademacher", space="full"),
    "hutchinson": Hutchinson(samples=1, noise="per-point"),
    "hutchinson, normal": Hutchinson(samples=1, noise="per-point", law="gaussian", space="full"),
    "sdgd": Sdgd(samples=1),
}
#: The sine of a random value has no unbiased estimate.
PAIRS = [(name, each) for name in EQUATIONS for each in ESTIMATORS if "stein" not in each or name != "sine-gordon"]


def samples(
    estimator: SampledEstimator, expr: Expr, network: Network, points: Points, *, count: int
) -> tuple[Expr, Points, dict[Atom, Tensor]]:
    """The residual with its slots, the points repeated, and one sample of every atom and slot at each of them."""
    slotted, slots = with_slots(with_explicit_values(expr), random=estimator.random)
    slots, requests = max(1, slots), atoms(with_explicit_values(expr))
    generator = torch.Generator().manual_seed(SEED)
    if isinstance(estimator, Sdgd):  # whose points share a draw: one of them, and a group for each sample
        assert slots == 1
        count = count // 8
        drawn = estimator.draw(network, points.rows(slice(1)), requests, generator, [1] * count)
        values = {atom: each[:, 0].expand(count, *each.shape[2:]) for atom, each in drawn.items()}
        return slotted, Points(points.tensor[:1].expand(count, -1), points.coordinates), values
    many = Points(points.tensor.repeat(count, 1), points.coordinates)
    drawn = estimator.draw(network, many, requests, generator, [1] * slots)
    values = {
        replace(atom, slot=slot): each[slot if len(each) > 1 else 0]
        for atom, each in drawn.items()
        for slot in range(slots)
    }
    return slotted, many, values


@pytest.mark.parametrize(("name", "estimator"), PAIRS)
def test_one_sample_has_the_right_mean_and_a_forgotten_term_is_found(name: str, estimator: str) -> None:
    chosen = ESTIMATORS[estimator]
    expr, network, points = setting(EQUATIONS[name])
    truth = true_residual(chosen, expr, network, points).detach()
    with torch.no_grad():
        slotted, many, values = samples(chosen, expr, network, points, count=80_000 if "stein" in estimator else 40_000)
    points_kept = 1 if isinstance(chosen, Sdgd) else len(points)
    truth, count = truth[:points_kept], len(many) // points_kept

    def residuals(forgotten: Atom | None) -> Tensor:
        planted = {
            atom: torch.zeros_like(value) if replace(atom, slot=0) == forgotten else value
            for atom, value in values.items()
        }
        return Evaluator(many, planted)(slotted).expand(len(many)).reshape(count, points_kept)

    right = residuals(None)
    assert float(standard_errors(right, truth).max()) < bonferroni_bound(len(truth), count)
    found = {}
    for atom in atoms(with_explicit_values(expr)):
        wrong = residuals(atom)
        # some terms are small at these points, or vanish: a gradient of a factor that depends on time alone
        if float(((wrong - right).mean(0).abs() / wrong.std(0)).max()) * count**0.5 > 28 or atom == LAPLACIAN:
            found[str(atom)] = float(standard_errors(wrong, truth).max())
    assert str(LAPLACIAN) in found
    assert len(found) >= 2
    assert min(found.values()) > 20
