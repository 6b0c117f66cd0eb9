"""Estimators stay on the device of their points; on a GPU they estimate what they do on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pinnx.equations import AllenCahn, Burgers, FokkerPlanck, HamiltonJacobiBellman, SineGordon
from pinnx.expr import Points, Unknown, atoms, directional, dt, grad, laplacian, total, x
from pinnx.networks import Mlp
from pinnx.problem import Equation
from pinnx.solvers.derivatives import Auto, Autodiff, DerivativeEstimator, Hutchinson, Sdgd, Smoothing, Taylor
from pinnx.solvers.pinn import Pinn, PinnTraining
from pinnx.solvers.training import Adam, Soap
from pinnx.testing.statistics import standard_errors

SEED = 4_410_233
EQUATIONS: dict[str, Equation] = {
    "allen-cahn": AllenCahn(12),
    "sine-gordon": SineGordon(12),
    "fokker-planck": FokkerPlanck(12, drift="anisotropic"),
    "hjb": HamiltonJacobiBellman(12, cost="rosenbrock"),
    "burgers": Burgers(12),
}
ESTIMATORS: dict[str, DerivativeEstimator] = {
    "taylor": Taylor(),
    "autodiff": Autodiff(),
    "smoothing": Smoothing(samples=4, switch_at=4),
    "smoothing per point": Smoothing(samples=16, noise="per-point", correction="unbiased", memory=1e-6),
    "smoothing signs": Smoothing(samples=8, law="rademacher", space="full", realization="independent"),
    "stein": Smoothing(samples=48, weights="stein", correction="unbiased"),
    "hutchinson": Hutchinson(samples=4, correction="unbiased-loss"),
    "hutchinson signs": Hutchinson(samples=8, law="rademacher", space="full", correction="unbiased"),
    "sdgd": Sdgd(samples=4, correction="unbiased"),
}


def start(equation: Equation, estimator: DerivativeEstimator, device: str, **options: Any) -> PinnTraining:
    solver = Pinn(**{"steps": 8, "points": 6, "derivatives": estimator, "optimizer": Soap(), **options})
    training = solver.start(equation.problem(), Mlp(width=8, depth=2), seed=SEED, device=torch.device(device))
    assert isinstance(training, PinnTraining)
    return training


def run(training: PinnTraining, steps: int) -> list[float]:
    return [training.step()["loss"] for _ in range(steps)]


@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_step_makes_nothing_on_another_device(name: str, estimator: str) -> None:
    """A tensor made without saying where goes to the default device: here one that cannot be computed with."""
    training = start(EQUATIONS[name], ESTIMATORS[estimator], "cpu")
    training.step()  # coefficients of equations are drawn on the CPU, once, and kept
    with torch.device("meta"):
        losses = run(training, 6)
    assert bool(torch.tensor(losses).isfinite().all())


def test_a_tensor_on_the_default_device_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted mistake."""
    training = start(EQUATIONS["allen-cahn"], ESTIMATORS["smoothing"], "cpu")
    training.step()
    monkeypatch.setattr(torch.Tensor, "new_tensor", lambda self, values: torch.tensor(values, dtype=self.dtype))
    with torch.device("meta"), pytest.raises(Exception, match="meta"):
        run(training, 6)


# --- on a GPU ---------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("estimator", [Taylor(), Autodiff(), Auto()], ids=lambda each: each.kind)
def test_exact_derivatives_are_those_of_the_cpu(estimator: DerivativeEstimator) -> None:
    u, values = Unknown("u"), {}
    wanted = atoms(u + directional(u, x) + laplacian(u) + dt(u) + total(grad(u)))
    for device in ("cpu", "cuda"):
        training = start(EQUATIONS["burgers"], estimator, "cpu", precision="float64")
        network = training.network.to(device)
        points = training.problem.domain.sample(5, torch.Generator().manual_seed(SEED), dtype=torch.float64)
        there = Points(points.tensor.to(device), points.coordinates)
        found = estimator.estimate(network, there, wanted, torch.Generator(device))
        assert all(value.device.type == device for value in found.values())
        values[device] = torch.cat([found[atom].detach().cpu().ravel() for atom in wanted])
    torch.testing.assert_close(values["cuda"], values["cpu"], rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_step_on_the_gpu(name: str, estimator: str) -> None:
    training = start(EQUATIONS[name], ESTIMATORS[estimator], "cuda")
    losses = run(training, 6)
    assert bool(torch.tensor(losses).isfinite().all())
    assert all(parameter.device.type == "cuda" for parameter in training.trainable)
    errors, figures = training.evaluate(), training.diagnose("own", 0.05).estimators[0]
    assert errors is not None
    assert figures.peak_memory_bytes


@pytest.mark.gpu
@pytest.mark.parametrize("estimator", [name for name, each in ESTIMATORS.items() if each.stochastic])
def test_estimates_on_the_gpu_have_the_mean_of_those_on_the_cpu(estimator: str) -> None:
    """The generators of both differ, so that only means compare."""
    u, chosen = Unknown("u"), ESTIMATORS[estimator]
    (atom,) = wanted = atoms(laplacian(u))
    drawn = {}
    for device in ("cpu", "cuda"):
        training = start(EQUATIONS["allen-cahn"], chosen, "cpu", precision="float64")
        points = training.problem.domain.sample(1, torch.Generator().manual_seed(SEED), dtype=torch.float64)
        there = Points(points.tensor.to(device), points.coordinates)
        generator = torch.Generator(device).manual_seed(SEED)
        with torch.no_grad():
            values = chosen.draw(training.network.to(device), there, wanted, generator, [4] * 3000)[atom]  # type: ignore[attr-defined]
        drawn[device] = values.cpu()
    expected = drawn["cpu"].mean(0)
    spread = (drawn["cpu"].var(0) / 3000 + drawn["cuda"].var(0) / 3000).sqrt()
    assert float(((drawn["cuda"].mean(0) - expected).abs() / spread).max()) < 4
    assert float(standard_errors(drawn["cuda"], expected * 1.5).max()) > 20


@pytest.mark.gpu
@pytest.mark.slow
def test_a_compiled_network_on_the_gpu_gives_the_same_steps() -> None:
    options = {"precision": "float64", "optimizer": Adam()}
    plain, compiled = (
        start(EQUATIONS["burgers"], ESTIMATORS["smoothing"], "cuda", compile=each, **options) for each in (False, True)
    )
    for _ in range(3):
        assert compiled.step()["loss"] == pytest.approx(plain.step()["loss"], rel=1e-9)


@pytest.mark.gpu
@pytest.mark.slow
def test_a_million_dimensions_fit() -> None:
    """The first layer and its optimizer, and nothing per sample."""
    training = start(AllenCahn(1_000_000, frequency=0.5), Smoothing(samples=16), "cuda", points=100, optimizer=Adam())
    torch.cuda.reset_peak_memory_stats()
    losses = run(training, 3)
    assert bool(torch.tensor(losses).isfinite().all())
    assert torch.cuda.max_memory_allocated() < 16e9
