"""What rounding does to differences of network values: it is of the size ε |f| / σ², whatever the number of samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pinnx.expr import Coordinates, Points, Unknown, atoms, laplacian
from pinnx.networks import Mlp
from pinnx.networks.base import Network
from pinnx.solvers.derivatives import Smoothing, smoothing

SEED, DIMENSION = 8_810_227, 50
(LAPLACIAN,) = atoms(laplacian(Unknown("u")))


def setting() -> tuple[Network, Tensor, torch.Generator]:
    """A network whose values and Laplacians are of size one, and points that float32 holds exactly."""
    generator = torch.Generator().manual_seed(SEED)
    network = Mlp(width=64, depth=3).build(DIMENSION, 1, generator=generator, dtype=torch.float64)
    return network, torch.randn(32, DIMENSION, generator=generator).double(), generator


def rounding(sigma: float, samples: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """Root mean square of the difference of float32 and float64, relative to that of the Laplacian."""
    source, rows, generator = setting()
    state = source.float().state_dict()  # numbers that both formats hold
    signs = torch.randn(samples, 1, DIMENSION, generator=generator).sign()
    monkeypatch.setattr(smoothing, "random_directions", lambda *arguments: signs.to(arguments[-1].dtype))
    estimator, found = Smoothing(sigma=sigma, samples=samples), []
    for dtype in (torch.float64, torch.float32):
        network = Mlp(width=64, depth=3).build(DIMENSION, 1, generator=torch.Generator(), dtype=dtype)
        network.load_state_dict(state)
        points = Points(rows.to(dtype), Coordinates.of(x=DIMENSION))
        with torch.no_grad():
            found.append(estimator.draw(network, points, [LAPLACIAN], generator, [samples])[LAPLACIAN].double())
    return float((found[1] - found[0]).norm() / found[0].norm())


def test_rounding_grows_like_one_over_the_square_of_sigma(monkeypatch: pytest.MonkeyPatch) -> None:
    """By regression; the default σ is safe in float32, a tenth of it is at the limit that the documentation states."""
    sigmas = [1e-3, 1e-2, 1e-1]
    errors = [rounding(sigma, 16, monkeypatch) for sigma in sigmas]
    assert np.polyfit(np.log(sigmas), np.log(errors), 1)[0] == pytest.approx(-2, abs=0.1)
    assert Smoothing().sigma == sigmas[1]
    assert errors[1] < 0.01
    assert 0.05 < errors[0] < 1


def test_more_samples_round_neither_more_nor_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """All samples share the rounding of f(x); and a mean of a thousand in float32 loses nothing beside it."""
    few, many = (rounding(1e-2, samples, monkeypatch) for samples in (16, 1024))
    assert many == pytest.approx(few, rel=0.25)
