"""The image networks: their size as published, what they commute with, and what they refuse."""

from __future__ import annotations

import pytest
import torch

from pinnx.errors import UnsupportedError
from pinnx.solvers.linear import grid_operator, solve
from pinnx.solvers.linear.directions import Dcdm, DirectionSpec, LinearUNet, RandomSystems, UNet, VCycle, box, images

SEED = 4_882_013
IMAGES: list[DirectionSpec] = [Dcdm(channels=4), UNet(channels=4, levels=3), LinearUNet(channels=4, levels=3)]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


@pytest.mark.parametrize(
    ("spec", "parameters"),
    [
        (Dcdm(dimension=3), 97_457),  # the paper: 97k for 64³
        (Dcdm(dimension=3, pairs_coarse=7), 152_881),  # 153k for 128³
        (Dcdm(dimension=2), 32_657),
        (UNet(), 23_328),
        (LinearUNet(), 23_328),
        (VCycle(), 67),
    ],
)
def test_parameters(spec: DirectionSpec, parameters: int) -> None:
    assert spec.build(generator()).parameters == parameters


@pytest.mark.parametrize("spec", IMAGES, ids=lambda spec: spec.kind)
@pytest.mark.parametrize("grid", [(13, 10), (16, 16)])
def test_shapes_and_obstacles(spec: DirectionSpec, grid: tuple[int, ...]) -> None:
    operator = RandomSystems(grid=grid).draw(2, generator())
    residuals = torch.randn(2, operator.shape[0], generator=generator(), dtype=torch.float64)
    directions = spec.build(generator()).prepare(operator)(residuals)
    assert directions.shape == residuals.shape
    assert directions.dtype == torch.float64
    assert float(directions[~operator.mask.flatten(1)].abs().max()) == 0


@pytest.mark.parametrize("dimension", [1, 3])
@pytest.mark.parametrize("kind", [Dcdm, UNet, LinearUNet])
def test_other_dimensions(kind: type[DirectionSpec], dimension: int) -> None:
    operator = box((9,) * dimension)
    direction = kind(dimension=dimension, channels=2).build(generator())  # type: ignore[call-arg]
    assert direction.prepare(operator)(torch.ones(1, operator.shape[0])).shape == (1, operator.shape[0])


def test_homogeneous_linear_or_neither() -> None:
    operator = box((16, 16))
    r, s = torch.randn(2, 1, 256, generator=generator(), dtype=torch.float64)
    for spec in IMAGES:
        network = spec.build(generator()).module.double()
        for parameter in network.parameters():  # biases start at zero
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator(), dtype=torch.float64)
        apply = network.prepare(operator)
        with torch.no_grad():
            homogeneous = torch.allclose(apply(3 * r), 3 * apply(r))
            linear = torch.allclose(apply(3 * r - s), 3 * apply(r) - apply(s))
        assert (homogeneous, linear) == (spec.homogeneous, spec.linear)


def test_dcdm_sees_residuals_of_norm_one() -> None:
    apply = Dcdm(channels=4).build(generator()).prepare(box((16, 16)))
    r = torch.randn(1, 256, generator=generator(), dtype=torch.float64)
    assert torch.allclose(apply(1e-9 * r), 1e-9 * apply(r), rtol=1e-5, atol=1e-15)


def test_large_batches_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    operator, direction = RandomSystems(grid=(16, 16)).draw(5, generator()), UNet(channels=4).build(generator())
    residuals = torch.randn(5, 256, generator=generator(), dtype=torch.float64)
    whole = direction.prepare(operator)(residuals)
    monkeypatch.setattr(images, "LARGEST_PASS", 4 * 256 * 2)
    assert torch.allclose(
        direction.prepare(operator)(residuals), whole, rtol=1e-4, atol=1e-4 * float(whole.abs().max())
    )
    index = torch.tensor([3, 1])
    assert torch.allclose(
        direction.prepare(operator).select(index)(residuals[index]),
        whole[index],
        rtol=1e-4,
        atol=1e-4 * float(whole.abs().max()),
    )


def test_wrong_dimension() -> None:
    with pytest.raises(UnsupportedError, match=r"is for grids of 2 axes, got the grid \(8, 8, 8\)"):
        Dcdm().build(generator()).prepare(box((8, 8, 8)))


def test_options_have_limits() -> None:
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        Dcdm(channels=0)


def test_an_untrained_network_does_no_harm_in_the_loop() -> None:
    operator = grid_operator((16, 16))
    b = torch.randn(1, 256, generator=generator(), dtype=torch.float64)
    result = solve(operator, b, direction=Dcdm(channels=4).build(generator()), memory=2, rtol=1e-6)
    assert result.ok
