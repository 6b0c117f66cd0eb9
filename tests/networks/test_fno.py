"""The Fourier neural operator against a slow discrete Fourier transform, and what follows from its definition."""

import itertools
import math

import pytest
import torch

from pinnx.errors import UnsupportedError
from pinnx.networks import Fno
from pinnx.networks.fno import SpectralConvolution

SHAPES = [(11,), (12,), (8, 9), (9, 8), (6, 7, 8)]


def slow_convolution(layer: SpectralConvolution, value: torch.Tensor) -> torch.Tensor:
    """Sums over nodes and wavenumbers, written out: v̂_k = mean v e^{-ikx}, then the real part of Σ e^{ikx} W_k v̂_k."""
    sizes, modes = value.shape[2:], layer.modes
    weight = torch.view_as_complex(layer.weight.detach())
    nodes = list(itertools.product(*(range(n) for n in sizes)))
    flat = value.flatten(2).to(torch.complex128)
    result = torch.zeros_like(flat)
    ranges = [range(-k, k) for k in modes[:-1]] + [range(modes[-1])]
    for wave in itertools.product(*ranges):
        turns = [sum(k * j / n for k, j, n in zip(wave, node, sizes, strict=True)) for node in nodes]
        phase = 2 * math.pi * torch.tensor(turns, dtype=torch.float64)
        factor = torch.polar(torch.ones_like(phase), phase)
        mean = (flat * factor.conj()).mean(-1)  # (B, w)
        mixed = mean @ weight[tuple(wave)]
        twice = 1 if wave[-1] == 0 else 2  # the conjugate wavenumber, which a real transform leaves out
        term = mixed[..., None] * factor
        # A real inverse transform reads the plane k_last = 0 as the Hermitian part of what stands there.
        result += twice * term.real if wave[-1] else term.real
    return result.real.reshape(value.shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_spectral_layer_is_the_sum_over_wavenumbers(shape):
    generator = torch.Generator().manual_seed(918273)
    layer = SpectralConvolution(3, (3,) * len(shape), generator, torch.float64)
    value = torch.randn(2, 3, *shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(layer(value), slow_convolution(layer, value), rtol=1e-10, atol=1e-12)


def build(axes: int, periodic: bool = True, **options):
    generator = torch.Generator().manual_seed(55127)
    spec = Fno(width=6, modes=3, layers=2, projection=8, **options)
    return spec.build_on_grid(2, 4, (periodic,) * axes, generator=generator, dtype=torch.float64)


def nodes(*sizes: int) -> torch.Tensor:
    axes = [torch.arange(n, dtype=torch.float64) / n * 2 - 1 for n in sizes]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def smooth(coordinates: torch.Tensor) -> torch.Tensor:
    """Two known fields of wavenumber at most 1, of one instance."""
    angle = math.pi * coordinates.sum(0)
    return torch.stack([angle.sin(), (angle + 0.3).cos()])[None]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_linear_operator_is_the_same_function_on_every_grid(axes):
    """Without nonlinearity, and on fields that both grids resolve, the coarse result is a part of the fine one."""
    network = build(axes)
    network.activation = lambda value: value
    fine, coarse = nodes(*(16,) * axes), nodes(*(8,) * axes)
    zero_fine, zero_coarse = torch.zeros_like(fine), torch.zeros_like(coarse)
    every_second = (slice(None), slice(None), *(slice(None, None, 2),) * axes)
    on_fine, on_coarse = network(smooth(fine), zero_fine), network(smooth(coarse), zero_coarse)
    torch.testing.assert_close(on_fine[every_second], on_coarse, rtol=1e-10, atol=1e-12)


def test_a_grid_too_coarse_for_the_modes_keeps_fewer():
    network = build(2)
    assert network(smooth(nodes(4, 4)), nodes(4, 4)).shape == (1, 4, 4, 4)


def test_periodic_axes_commute_with_shifts_and_padded_ones_do_not():
    coordinates = torch.zeros(1, 12, dtype=torch.float64)
    known = torch.randn(1, 2, 12, generator=torch.Generator().manual_seed(60101), dtype=torch.float64)
    for periodic in (True, False):
        network = build(1, periodic)
        shifted = network(known.roll(3, -1), coordinates).roll(-3, -1)
        assert torch.allclose(shifted, network(known, coordinates), atol=1e-12) == periodic


def test_in_float64_its_gradient_agrees_with_differences():
    network = build(2, periodic=False)
    known = torch.randn(1, 2, 5, 6, generator=torch.Generator().manual_seed(3317), dtype=torch.float64)
    assert network(known, nodes(5, 6)).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda k: network(k, nodes(5, 6)), known.requires_grad_(), fast_mode=True)
    weight = network.spectral[0].weight

    def of_weight(value):
        return torch.func.functional_call(network, {"spectral.0.weight": value}, (known.detach(), nodes(5, 6)))

    assert torch.autograd.gradcheck(of_weight, weight, fast_mode=True)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_vmap_over_instances_and_over_parameters(axes):
    network, coordinates = build(axes, periodic=axes < 3), nodes(*(6,) * axes)
    generator = torch.Generator().manual_seed(777101)
    known = torch.randn(3, 2, *coordinates.shape[1:], generator=generator, dtype=torch.float64)
    one_by_one = torch.func.vmap(lambda one: network(one[None], coordinates)[0])(known)
    torch.testing.assert_close(one_by_one, network(known, coordinates), rtol=1e-10, atol=1e-12)
    stacked = {name: torch.stack([p.detach(), 2 * p.detach()]) for name, p in network.named_parameters()}
    both = torch.func.vmap(lambda p: torch.func.functional_call(network, p, (known, coordinates)))(stacked)
    torch.testing.assert_close(both[0], network(known, coordinates), rtol=1e-10, atol=1e-12)


def test_the_same_generator_gives_the_same_network():
    known = torch.ones(1, 2, 6, 6, dtype=torch.float64)
    assert torch.equal(build(2)(known, nodes(6, 6)), build(2)(known, nodes(6, 6)))


def test_what_does_not_fit_is_refused_with_the_reason():
    generator = torch.Generator().manual_seed(9)
    with pytest.raises(UnsupportedError, match="function of the coordinates alone"):
        Fno().build(2, 1, generator=generator, dtype=torch.float64)
    with pytest.raises(UnsupportedError, match="1, 2 or 3 axes; this one has 4"):
        Fno().build_on_grid(1, 1, (True,) * 4, generator=generator, dtype=torch.float64)
