"""Flows on the cube, and the samplers that train them."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch

from pinnx.domain import Ball, Box, Domain, DriftingGaussian, Interval, Product, UserDomain
from pinnx.errors import MissingExtraError, UnsupportedError
from pinnx.expr import Coordinates, Points
from pinnx.solvers.sampling import Aas, Das, Law
from pinnx.solvers.sampling.flow import CubeDraws, CubeFlow
from pinnx.solvers.sampling.generative import roughness
from tests.sampling.kit import KnownProbe, generator, square

pytest.importorskip("zuko")


def random_flow(columns: int, seed: int = 40_117, scale: float = 0.3) -> CubeFlow:
    """A flow far from the identity."""
    draws = generator(seed)
    flow = CubeFlow(columns, layers=4, width=8, bins=5, generator=draws, dtype=torch.float64)
    with torch.no_grad():
        for parameter in flow.module.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=draws, dtype=torch.float64)
    return flow


def grid(count: int = 400) -> torch.Tensor:
    """Midpoints of a grid on the square."""
    line = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return torch.cartesian_prod(line, line)


@pytest.mark.parametrize("columns", [1, 2, 5, 10])
def test_the_inverse_of_the_flow(columns: int) -> None:
    flow = random_flow(columns)
    cube = torch.rand(200, columns, generator=generator(9), dtype=torch.float64)
    with torch.no_grad():
        base, _ = flow.forward(cube)
        assert float((flow.inverse(base) - cube).abs().max()) < 1e-10
        assert float((base - cube).abs().max()) > 0.1
    assert bool(((base > 0) & (base < 1)).all())


def test_the_log_density_is_that_of_the_jacobian() -> None:
    flow, cube = random_flow(3), torch.rand(5, 3, generator=generator(3), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda each: flow.forward(each)[0].sum(0), cube).transpose(0, 1)
    expected = torch.linalg.slogdet(jacobian)[1]
    assert torch.allclose(flow.log_density(cube), expected, rtol=0, atol=1e-10)


def test_the_density_integrates_to_one() -> None:
    flow = random_flow(2)
    with torch.no_grad():
        density = flow.log_density(grid()).exp()
    assert float(density.mean()) == pytest.approx(1.0, abs=2e-4)
    assert float(density.max()) > 1.5


def test_samples_follow_the_density() -> None:
    """Means of functions under the samples and by quadrature."""
    flow = random_flow(2)
    points = flow.sample(20_000, generator(77))
    with torch.no_grad():
        density = flow.log_density(grid()).exp()
    for function in (lambda z: z[:, 0], lambda z: z.prod(1), lambda z: (7 * z).sin().sum(1)):
        expected = float((density * function(grid())).mean())
        found = function(points)
        assert abs(float(found.mean()) - expected) < 3.9 * float(found.std()) / len(points) ** 0.5 + 1e-4


def test_it_begins_as_the_uniform_density_and_touches_no_global_state() -> None:
    before = torch.get_rng_state()
    flow, again = (
        CubeFlow(4, layers=4, width=8, bins=5, generator=generator(5), dtype=torch.float64) for _ in range(2)
    )
    assert torch.equal(before, torch.get_rng_state())
    cube = torch.rand(10, 4, generator=generator(3), dtype=torch.float64)
    base, log_density = flow.forward(cube)
    assert torch.allclose(base, cube, rtol=0, atol=1e-12)
    assert torch.allclose(log_density, torch.zeros(10, dtype=torch.float64), atol=1e-12)
    for one, other in zip(flow.module.parameters(), again.module.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "domain",
    [Box(-1.0, 2.0, dimension=3), Ball(4), Product(Ball(2), Interval(0.0, 2.0)), DriftingGaussian(3)],
    ids=lambda domain: type(domain).__name__,
)
def test_a_domain_is_the_image_of_the_cube(domain: Any) -> None:
    """Uniform columns give the domain's law: the same points as its own draws of them where it draws no normals."""
    cube = torch.rand(4000, domain.columns_drawn, generator=generator(21), dtype=torch.float64)
    points = domain.draw(CubeDraws(cube, generator(1)))
    assert bool(domain.contains(points).all())
    direct = domain.sample(4000, generator(22)).tensor
    error = (points.tensor.var(0) + direct.var(0)).sqrt() / 4000**0.5
    assert bool(((points.tensor.mean(0) - direct.mean(0)).abs() < 4.5 * error).all())
    if isinstance(domain, Box):
        assert torch.equal(points.tensor, domain.sample(4000, generator(21)).tensor)


def peak(points: Points) -> torch.Tensor:
    return torch.exp(-60 * (points.x - 0.7).square().sum(1))


#: A small flow that learns quickly.
QUICK: dict[str, Any] = {"learning_rate": 5e-3, "width": 16, "layers": 2, "updates": 5}


def mass(flow: CubeFlow) -> float:
    """E_p r² for the peak, by quadrature."""
    cube = grid(200)
    with torch.no_grad():
        density = flow.log_density(cube).exp()
    squares = peak(Points(cube, Coordinates.of(x=2))).square()
    return float((density * squares).mean())


def trained(options: Any, rounds: int, seed: int = 1203) -> Any:
    sampler, draws, probe = options.build(square()), generator(seed), KnownProbe(peak)
    for _ in range(rounds):
        sampler.draw(200, probe, draws)
    return sampler


@pytest.mark.parametrize(
    "options", [Aas(**QUICK), Das(**QUICK), Aas(smoothness=0.0, **QUICK)], ids=["aas", "das", "free"]
)
def test_the_inner_steps_raise_the_mass_where_the_residual_is(options: Any) -> None:
    sampler, draws, probe = options.build(square()), generator(1203), KnownProbe(peak)
    masses = []
    for rounds in (1, 3, 8):
        for _ in range(rounds):
            sampler.draw(200, probe, draws)
        masses.append(mass(sampler.flow))
    assert masses[0] == pytest.approx(math.pi / 120, rel=1e-3)  # uniform: ∫ e^{-120|x - c|²}, cut off nowhere
    assert 1.2 * masses[0] < masses[1] < masses[2]
    assert masses[2] > 2.5 * masses[0]


def test_das_approaches_the_density_of_the_squared_residual() -> None:
    """Kullback–Leibler divergence of r²/∫r² from p, by quadrature, beside that from the uniform density."""
    flow = trained(Das(**QUICK | {"updates": 10, "learning_rate": 1e-2}), 25).flow
    cube = grid(200)
    target = peak(Points(cube, Coordinates.of(x=2))).square()
    target = target / target.mean()
    with torch.no_grad():
        log_density = flow.log_density(cube)
    entropy = float((target * target.clamp_min(1e-300).log()).mean())
    assert entropy - float((target * log_density).mean()) < 0.2 * entropy


def test_the_price_of_roughness_keeps_the_density_smooth() -> None:
    rough, smooth = (trained(Aas(smoothness=beta, **QUICK), 10).flow for beta in (1e-3, 1.0))
    with torch.no_grad():
        largest = [float(flow.log_density(grid(100)).max()) for flow in (rough, smooth)]
    assert largest[1] < 0.3 < largest[0]


def test_the_gains_by_hand() -> None:
    """Means of p and log p, less β ∫ |∇p|², whose integral is that of finite differences on a grid."""
    flow, step, beta = random_flow(2, scale=0.05), 1e-6, 0.3
    cube, chosen = grid(200), torch.rand(50, 2, generator=generator(6), dtype=torch.float64)
    with torch.no_grad():
        density, at_chosen = flow.log_density(cube).exp(), flow.log_density(chosen)
        slopes = [
            (flow.log_density(cube + shift).exp() - flow.log_density(cube - shift).exp()) / (2 * step)
            for shift in (torch.tensor([[step, 0.0]]), torch.tensor([[0.0, step]]))
        ]
    squares = slopes[0].square() + slopes[1].square()
    integral = float(squares.mean())
    assert integral > 0.1
    share = 0.4
    weights = share * density + 1 - share
    few = torch.multinomial(weights, 4000, replacement=True, generator=generator(8))
    estimate = float(roughness(flow, cube[few], share).detach())
    spread = float((squares / weights)[few].std()) / 4000**0.5
    assert abs(estimate - integral) < 3.9 * spread + 0.005 * integral  # and the midpoint rule
    value = float(Aas(smoothness=beta, share=share).gain(flow, chosen, cube[few]).detach())
    assert value == pytest.approx(float(at_chosen.exp().mean()) - beta * estimate, rel=1e-10)
    assert float(Das().gain(flow, chosen, cube[few]).detach()) == pytest.approx(float(at_chosen.mean()), rel=1e-12)


def test_chosen_points_follow_the_residual() -> None:
    """Of the flow's mixture, with weights R/q: mean and spread of the density ∝ r² of the peak."""
    sampler: Any = trained(Das(share=0.9, pool=40, **QUICK), 3)
    seen: list[torch.Tensor] = []

    class Spy:
        def gain(self, flow: CubeFlow, chosen: torch.Tensor, cube: torch.Tensor) -> torch.Tensor:
            seen.append(chosen)
            return flow.log_density(chosen).mean()

        def __getattr__(self, name: str) -> Any:
            return getattr(Das(share=0.9, pool=40, **QUICK), name)

    sampler.options = Spy()
    sampler.draw(500, KnownProbe(peak), generator(70))
    center, spread = seen[0].mean(0), seen[0].std(0)
    deviation = (1 / 240) ** 0.5  # of exp(-120|x - c|²)
    assert bool(((center - 0.7).abs() < 4.5 * deviation / 500**0.5 * 1.3).all())
    assert bool(((spread / deviation - 1).abs() < 0.2).all())


@pytest.mark.parametrize("domain", [Ball(3), DriftingGaussian(2)], ids=lambda each: type(each).__name__)
def test_any_law_that_is_an_image_of_a_cube(domain: Domain) -> None:
    sampler = Das().build(Law(domain, torch.float64))
    draws, probe = generator(31), KnownProbe(lambda p: torch.exp(-4 * p.x[:, 0].square()))
    for _ in range(4):
        points = sampler.draw(64, probe, draws)  # type: ignore[arg-type]
    assert bool(domain.contains(points).all())
    assert sampler.metrics["residual_ratio"] > 0


def test_a_domain_that_draws_by_itself_is_refused() -> None:
    domain = UserDomain(Coordinates.of(x=1), lambda n, g: torch.rand(n, 1, generator=g), (0.0,), (1.0,))
    with pytest.raises(UnsupportedError, match="'aas' need a domain whose law is an image of a cube"):
        Aas().build(Law(domain, torch.float64))


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zuko.flows.coupling", None)
    with pytest.raises(MissingExtraError, match=r'pip install "pinnx\[flows\]"'):
        CubeFlow(2, layers=2, width=4, bins=4, generator=generator(1), dtype=torch.float64)
