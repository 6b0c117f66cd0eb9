"""The reference methods of the families against independent truths, with their orders measured."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import solve_bvp, trapezoid

from pinnx.equations import Darcy, DiffusionSorption, NavierStokes, RandomBurgers
from pinnx.equations.darcy import finite_volumes
from pinnx.equations.diffusion_sorption import HIGHEST, method_of_lines
from pinnx.equations.navier_stokes import vorticity
from pinnx.equations.pseudo_spectral import integrate
from pinnx.equations.random_burgers import burgers_flow
from pinnx.errors import PinnxError
from pinnx.family import Family
from pinnx.problem import Equation

SEED = 5_520_931
DIFFUSION = 5e-4


def retarded(u: np.ndarray) -> np.ndarray:
    """R(u), written again."""
    return 1 + (0.71 / 0.29) * 2880 * 3.5e-4 * 0.874 * np.power(u**2 + 1e-6, -0.063)


def family_of(equation: Equation) -> Family:
    family = equation.problem().instances
    assert family is not None
    return family


# -- diffusion and sorption


def test_diffusion_sorption_on_half_a_line_is_self_similar() -> None:
    """u = F(x/√t) with D F'' + ½ η R(F) F' = 0, while the other end is far."""
    start, reach = 0.08, 0.6

    def slopes(eta: np.ndarray, state: np.ndarray) -> np.ndarray:
        return np.stack([state[1], -eta * retarded(state[0]) * state[1] / (2 * DIFFUSION)])

    mesh = np.linspace(0, reach, 400)
    guess = start + (1 - start) * np.exp(-((mesh / 0.03) ** 2))
    solved = solve_bvp(
        slopes,
        lambda a, b: np.array([a[0] - 1, b[0] - start]),
        mesh,
        np.stack([guess, np.gradient(guess, mesh)]),
        tol=1e-8,
        max_nodes=100_000,
    )
    assert solved.success
    times = np.array([0.0, 5.0, 20.0, 60.0])
    errors = []
    for cells in (512, 1024):
        found = method_of_lines(np.full(cells + 1, start), times, DIFFUSION)
        near = np.linspace(0, 1, cells + 1) <= 0.5
        x = np.linspace(0, 1, cells + 1)[near]
        truth = np.stack([solved.sol(x / math.sqrt(t))[0] for t in times[1:]], 1)
        errors.append(float(np.abs(found[near, 1:] - truth).max()))
    assert errors[1] < 1e-4
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.3)


def test_diffusion_sorption_balances_what_flows_in_and_out() -> None:
    """∫θ(u) dx, θ' = R, grows by -D u_x(0) and falls by u(1) = -D u_x(1): this holds the sign of the outflow."""
    times = np.linspace(0.0, 400.0, 4001)
    x = np.linspace(0, 1, 513)
    u = method_of_lines(0.1 + 0.08 * np.cos(3 * x), times, DIFFUSION)
    late = times >= 20
    levels = np.linspace(0, 1, 200_001)
    stored = np.concatenate([[0.0], np.cumsum((retarded(levels)[1:] + retarded(levels)[:-1]) / 2)]) * levels[1]
    content = trapezoid(np.interp(u, levels, stored), x, axis=0)
    inflow = -DIFFUSION * (-3 * u[0] + 4 * u[1] - u[2]) / (2 * x[1])
    gained = trapezoid((inflow - u[-1])[late], times[late])
    assert content[-1] - content[late][0] == pytest.approx(gained, rel=1e-4)
    assert trapezoid(u[-1][late], times[late]) > 0.03 * gained, "the outflow takes part"


def test_diffusion_sorption_converges_to_second_order() -> None:
    times = np.linspace(0.0, 500.0, 11)

    def coarse_values(cells: int) -> np.ndarray:
        start = 0.1 + 0.05 * np.sin(5 * np.linspace(0, 1, cells + 1))
        return method_of_lines(start, times, DIFFUSION)[:: cells // 128, 1:]

    found = [coarse_values(cells) for cells in (256, 512, 1024, 2048)]
    steps = [np.abs(b - a).max() for a, b in zip(found[:-1], found[1:], strict=True)]
    assert steps[1] / steps[2] == pytest.approx(4.0, rel=0.25)
    assert steps[2] / 3 < 1e-4, "the error of the reference, which has 1024 cells"


# -- flow on the torus


def test_flow_of_one_wave_length_decays_only() -> None:
    """Waves of one length are transported nowhere: w exp(-ν k² t), and k² is the same for (5, 0), (0, 5) and (3, 4)."""
    x, y = np.meshgrid(np.arange(32) / 32, np.arange(32) / 32, indexing="ij")
    turn = 2 * np.pi
    w = np.cos(turn * 5 * x) - 0.7 * np.sin(turn * 5 * y) + 0.4 * np.cos(turn * (3 * x - 4 * y) + 1)
    times, nu = [0.0, 0.3, 1.0], 2e-4
    found = vorticity(w, times, nu)
    for t, field in zip(times, found, strict=True):
        np.testing.assert_allclose(field, w * math.exp(-nu * 25 * turn**2 * t), atol=1e-6)


def test_flow_loses_energy_and_enstrophy_at_the_viscous_rates() -> None:
    """d/dt ½∫ψw = -ν∫w², d/dt ½∫w² = -ν∫|∇w|², and the mean stays zero."""
    family = family_of(NavierStokes(nodes=64, times=201, horizon=1.0, viscosity=1e-3))
    both = family.reference(family.numbered([4], SEED))[0]
    w, psi = both[0].numpy(), both[1].numpy()
    k = 2 * np.pi * np.fft.fftfreq(64, 1 / 64)
    gradient = [
        np.fft.ifft(1j * k.reshape(shape) * np.fft.fft(w, axis=axis), axis=axis).real
        for axis, shape in enumerate([(-1, 1, 1), (1, -1, 1)])
    ]
    times = np.linspace(0, 1, 201)
    for quantity, loss in ((psi * w, w**2), (w**2, gradient[0] ** 2 + gradient[1] ** 2)):
        half, lost = quantity.mean((0, 1)) / 2, 1e-3 * trapezoid(loss.mean((0, 1)), times)
        assert half[0] - half[-1] == pytest.approx(lost, rel=1e-4)
        assert half[-1] < 0.995 * half[0]
    assert np.abs(w.mean((0, 1))).max() < 1e-12


def test_flow_converges_in_time_and_space() -> None:
    def flow(nodes: int, step: float) -> np.ndarray:
        family = family_of(NavierStokes(nodes=nodes, times=3, horizon=2.0))
        start = family.numbered([1], SEED).initial
        assert start is not None
        return vorticity(start[0, 0].numpy(), [0.0, 1.0, 2.0], 1e-4, step)[:, :: nodes // 32, :: nodes // 32]

    steps = [flow(32, step) for step in (4e-2, 2e-2, 1e-2)]
    ratio = np.abs(steps[1] - steps[0]).max() / np.abs(steps[2] - steps[1]).max()
    assert ratio == pytest.approx(4.0, rel=0.15)
    fine = flow(64, 1e-2)
    assert np.abs(flow(96, 1e-2)[:, ::1] - fine).max() < 2e-3 * np.abs(fine).max()


# -- Burgers


def test_burgers_agrees_with_cole_and_hopf() -> None:
    """u = ∫ (x - y)/t G dy / ∫ G dy, G = exp(-(x - y)²/4νt - ∫u0/2ν), by quadrature."""
    nu, t = 0.02, 0.4
    angle = 2 * np.pi
    nodes = np.arange(256) / 256
    y = nodes[::16, None] + np.linspace(-2.5, 2.5, 40_001)
    potential = 0.3 * y - np.cos(angle * y) / angle + 0.2 * np.sin(2 * angle * y) / angle
    exponent = -((nodes[::16, None] - y) ** 2) / (4 * nu * t) - potential / (2 * nu)
    weights = np.exp(exponent - exponent.max(1, keepdims=True))
    truth = ((nodes[::16, None] - y) / t * weights).sum(1) / weights.sum(1)
    start = 0.3 + np.sin(angle * nodes) + 0.4 * np.cos(2 * angle * nodes)
    errors = []
    for step in (2e-3, 1e-3):
        found = burgers_flow(start, 1.0, [0.0, 0.1, t], nu, step)[-1, ::16]
        errors.append(np.abs(found - truth).max())
    assert errors[1] < 1e-5
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.15)


def test_dirichlet_ends_are_an_odd_extension() -> None:
    family = family_of(RandomBurgers(ends="dirichlet", nodes=65, times=5))
    found = family.reference(family.numbered(range(2), SEED))
    assert float(found[..., [0, -1], :].abs().max()) < 1e-12


@pytest.mark.parametrize("ends", ["periodic", "dirichlet"])
def test_burgers_reference_is_accurate(ends: str) -> None:
    """Against twice the nodes and half the steps."""
    family = family_of(RandomBurgers(ends=ends, nodes=65 if ends == "dirichlet" else 64, times=11))
    instances = family.numbered(range(3), SEED)
    found = family.reference(instances)
    period, count = (1.0, 2048) if ends == "periodic" else (2.0, 4096)
    positions = period * torch.arange(count, dtype=torch.float64) / count
    start = family._initial(instances.parameters, positions).numpy()  # type: ignore[attr-defined]
    times = family.grid.axes[1].positions().tolist()
    flows = [burgers_flow(each, period, times, 0.01, 5e-4)[:, ::32] for each in start]
    finer = torch.from_numpy(np.stack(flows)[..., : found.shape[2]]).mT[:, None]
    assert float((found - finer).norm() / finer.norm()) < 2e-4


def test_a_blow_up_is_an_error() -> None:
    with pytest.raises(PinnxError, match="blew up before the time 1"):
        integrate(np.ones(1, complex), [0.0, 1.0], np.zeros(1), lambda u: 1e3 * u**3, 0.1)


# -- Darcy


def halves(n: int) -> tuple[np.ndarray, np.ndarray]:
    nodes = np.linspace(0, 1, n + 1)
    return (nodes[1:] + nodes[:-1]) / 2, nodes[1:-1]


def manufactured(n: int) -> float:
    """The error for u = sin πx sin 2πy, a = 1 + x + y²."""
    middle, inner = halves(n)

    def a(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 1 + x[:, None] + y[None] ** 2

    sines = np.sin(np.pi * inner)[:, None], np.sin(2 * np.pi * inner)[None]
    u = sines[0] * sines[1]
    along_x = np.pi * np.cos(np.pi * inner)[:, None] * sines[1]
    along_y = sines[0] * 2 * np.pi * np.cos(2 * np.pi * inner)[None]
    forcing = 5 * np.pi**2 * a(inner, inner) * u - along_x - 2 * inner[None] * along_y
    return float(np.abs(finite_volumes(a(middle, inner), a(inner, middle), forcing) - u).max())


def test_darcy_is_of_second_order() -> None:
    errors = [manufactured(n) for n in (32, 64)]
    assert errors[1] < 2e-3
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.05)


def test_darcy_of_a_constant_permeability_is_a_series() -> None:
    """The value in the middle of a unit square with -Δu = 1."""
    k = np.arange(1, 200, 2)[:, None]
    odd = k * k.T * (k**2 + k.T**2)
    truth = float((16 / np.pi**4 * (-1.0) ** ((k + k.T) / 2 - 1) / odd).sum())
    middle = [
        finite_volumes(np.ones((n, n - 1)), np.ones((n - 1, n)), np.ones((n - 1, n - 1)))[n // 2 - 1, n // 2 - 1]
        for n in (64, 128)
    ]
    assert middle[1] == pytest.approx(truth, abs=1e-5)
    assert (4 * middle[1] - middle[0]) / 3 == pytest.approx(truth, abs=1e-7)


# -- the laws of the instances; each test fails for one seed in ten thousand if all is right


def test_published_concentrations_are_uniform() -> None:
    family = family_of(DiffusionSorption(nodes=5, times=3))
    drawn = family.numbered(range(400), SEED).initial
    assert drawn is not None
    assert torch.equal(drawn[:, 0, 0], drawn[:, 0, -1])
    assert stats.kstest(drawn[:, 0, 0].numpy() / HIGHEST, "uniform").pvalue > 1e-4


def test_rich_concentrations_fill_their_range() -> None:
    family = family_of(DiffusionSorption(law="rich", nodes=33, times=3))
    drawn = family.numbered(range(400), SEED).initial
    assert drawn is not None
    assert 0 <= float(drawn.min()) < 0.05 * HIGHEST
    assert 0.95 * HIGHEST < float(drawn.max()) <= HIGHEST
    # By symmetry the median is the middle, at every place.
    above = int((drawn[:, 0, 16] > HIGHEST / 2).sum())
    assert stats.binomtest(above, 400).pvalue > 1e-4


@pytest.mark.parametrize(
    ("equation", "covariance"),
    [
        (
            NavierStokes(nodes=8, times=3),
            lambda dx, dy: np.exp(-(np.sin(np.pi * dx) ** 2 + np.sin(np.pi * dy) ** 2) / (2 * 0.64)),
        ),
        (
            RandomBurgers(nodes=8, times=3),
            lambda dx: sum(
                (2 - (k == 0)) * (25 / (4 * np.pi**2 * k**2 + 25)) ** 2 * np.cos(2 * np.pi * k * dx) for k in range(17)
            ),
        ),
    ],
    ids=["navier-stokes", "burgers"],
)
def test_gaussian_fields_have_their_covariance(equation: Equation, covariance: Callable[..., np.ndarray]) -> None:
    """The products w(0) w(Δ), averaged over instances; their mean less the truth over its standard error."""
    count = 1000
    family = family_of(equation)
    initial = family.numbered(range(count), SEED).initial
    assert initial is not None
    field = initial[:, 0].numpy()
    steps = np.arange(8) / 8
    truth = covariance(*np.meshgrid(*[steps] * (field.ndim - 1), indexing="ij"))
    if field.ndim == 3:
        truth = truth - truth.mean()  # the kernel without its mean
    products = field * field.reshape(count, -1)[:, :1].reshape(count, *[1] * (field.ndim - 1))
    deviations = (products.mean(0) - truth) / (products.std(0) / math.sqrt(count))
    assert np.abs(deviations).max() < stats.norm.isf(0.5e-4 / deviations.size)


def test_permeabilities_are_lognormal() -> None:
    """Mean and mean square of log a / contrast over the nodes: zero, and that of the cosines."""
    count = 600
    family = family_of(Darcy(nodes=9, contrast=0.7))
    logs = (family.numbered(range(count), SEED).inputs["a"].log() / 0.7).numpy()
    k, x = np.arange(6)[:, None], np.linspace(0, 1, 9)
    shares = np.exp(-((k * np.pi * 0.25) ** 2) / 2)
    along = (shares / shares.sum() * np.cos(k * np.pi * x) ** 2).sum(0)
    for moment, truth in ((logs, 0.0), (logs**2, np.outer(along, along).mean())):
        means = moment.mean((1, 2))
        assert abs(means.mean() - truth) < stats.norm.isf(0.5e-4) * means.std() / math.sqrt(count)
