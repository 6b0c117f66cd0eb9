"""Training data: Ritz pairs against a full eigenvalue solve, and random systems that are what they say."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from pinnx.errors import InputError
from pinnx.solvers.linear.directions import RandomSystems, RitzSamples, box, lanczos, write_ritz_file
from pinnx.solvers.linear.directions.random_samples import sample, scale_errors

SEED = 2_660_917


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


class TestRitz:
    def test_pairs(self, tmp_path: Path) -> None:
        """Distinct eigenvalues, as many vectors as unknowns: the process finds them all."""
        operator = box((5, 7))
        write_ritz_file(operator, tmp_path / "ritz.h5", vectors=35, seed=SEED)
        truth = np.linalg.eigvalsh(operator.to_scipy().toarray())
        with h5py.File(tmp_path / "ritz.h5") as file:
            values, vectors = file["ritz_values"][:], torch.from_numpy(file["ritz_vectors"][:])
        distances = np.abs(values[:, None] - truth[None]).min(1)
        assert distances.max() < 1e-5
        residuals = operator.apply(vectors.double()) - torch.from_numpy(values)[:, None] * vectors
        assert float(residuals.norm(dim=1).max()) < 1e-4

    def test_vectors_are_orthogonal(self, tmp_path: Path) -> None:
        """Without reorthogonalisation 120 steps on 400 unknowns lose all orthogonality: the planted mistake."""
        operator = box((20, 20))
        write_ritz_file(operator, tmp_path / "ritz.h5", vectors=120, seed=SEED)
        assert _defect(tmp_path / "ritz.h5") < 1e-5

    def test_lost_orthogonality_would_show(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lanczos, "_orthogonal", lambda vector, rows, count: vector / np.linalg.norm(vector))
        write_ritz_file(box((20, 20)), tmp_path / "ritz.h5", vectors=120, seed=SEED)
        assert _defect(tmp_path / "ritz.h5") > 1e-2

    def test_goes_on_where_it_stopped(self, tmp_path: Path) -> None:
        operator = box((20, 20))

        def stop(phase: str, done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_ritz_file(operator, tmp_path / "a.h5", vectors=150, seed=SEED, progress=stop)
        with h5py.File(tmp_path / "a.h5") as file:
            assert 1 < file.attrs["done"] < 150
        write_ritz_file(operator, tmp_path / "a.h5", vectors=150, seed=SEED)
        write_ritz_file(operator, tmp_path / "b.h5", vectors=150, seed=SEED)
        with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
            assert np.array_equal(a["ritz_vectors"][:], b["ritz_vectors"][:])

    def test_other_settings(self, tmp_path: Path) -> None:
        write_ritz_file(box((5, 5)), tmp_path / "ritz.h5", vectors=5, seed=SEED)
        with pytest.raises(InputError, match="other settings"):
            write_ritz_file(box((5, 5)), tmp_path / "ritz.h5", vectors=6, seed=SEED)
        with pytest.raises(InputError, match="expected 1 to 25 Ritz vectors"):
            write_ritz_file(box((5, 5)), tmp_path / "other.h5", vectors=26, seed=SEED)

    def test_samples(self, tmp_path: Path) -> None:
        """Norm one, and emphasis on the low part of the spectrum."""
        low = {}
        for emphasis in (1.0, 9.0):
            source = RitzSamples(grid=(16, 16), vectors=60, emphasis=emphasis, pool=40)
            drawn = source.start(seed=SEED, folder=tmp_path, batch=20).draw(generator())
            b = drawn.residuals
            assert torch.allclose(b.norm(dim=1), torch.ones(20), atol=1e-5)
            low[emphasis] = float((b * drawn.bands.apply(b)).sum(1).mean())
        assert low[9.0] < 0.8 * low[1.0]

    def test_draws_go_on_after_a_reload(self, tmp_path: Path) -> None:
        source, first = RitzSamples(grid=(8, 8), vectors=20, pool=12), generator()
        samples = source.start(seed=SEED, folder=tmp_path, batch=5)
        samples.draw(first)
        state, generator_state = samples.state_dict(), first.get_state()
        expected = [samples.draw(first).residuals for _ in range(3)]
        again, second = source.start(seed=SEED, folder=tmp_path, batch=5), torch.Generator()
        again.load_state_dict(state)
        second.set_state(generator_state)
        assert all(torch.equal(again.draw(second).residuals, residuals) for residuals in expected)


def _defect(path: Path) -> float:
    with h5py.File(path) as file:
        rows = file["lanczos"][:].astype("f8")
    return float(np.abs(rows @ rows.T - np.eye(len(rows))).max())


class TestRandomSystems:
    @pytest.mark.parametrize("grid", [(24, 24), (10, 10, 10)])
    def test_systems(self, grid: tuple[int, ...]) -> None:
        operator = RandomSystems(grid=grid, scattered=0.0).draw(6, generator())
        filled = 1 - operator.mask.flatten(1).float().mean(1)
        assert bool((filled >= 0.2).all())
        assert operator.positive_definite
        for system in range(6):
            assert np.linalg.eigvalsh(operator.to_scipy(system).toarray()).min() > 1e-6
        assert not torch.equal(operator.mask[0], operator.mask[1])
        ratios = [face.amax() / face[face > 0].amin() for face in operator.faces]
        assert max(map(float, ratios)) > 30

    def test_reproducible(self) -> None:
        a, b = (RandomSystems(grid=(16, 16)).draw(3, generator()) for _ in range(2))
        assert torch.equal(a.center, b.center)
        assert torch.equal(a.mask, b.mask)

    def test_words_and_limits(self) -> None:
        with pytest.raises(ValueError, match="obstacles must be one of"):
            RandomSystems(obstacles="wet")
        with pytest.raises(ValueError, match="least_filled must be at most most_filled"):
            RandomSystems(least_filled=0.4, most_filled=0.3)

    def test_errors_belong_to_residuals(self) -> None:
        operator = RandomSystems(grid=(16, 16)).draw(4, generator())
        drawn = sample(operator, scale_errors(operator, 4, generator()))
        assert drawn.errors is not None
        truth = operator.apply(drawn.errors.double())
        assert torch.allclose(truth.float(), drawn.residuals, atol=1e-4)
        assert float(drawn.errors[~operator.mask.flatten(1)].abs().max()) == 0
