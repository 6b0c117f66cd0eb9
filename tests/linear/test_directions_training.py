"""Training: losses against closed forms, resuming bit by bit, and a validation that training never sees."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from pinnx.errors import DivergedError, InputError
from pinnx.solvers.linear import solve
from pinnx.solvers.linear.directions import (
    Dcdm,
    LinearUNet,
    RandomSamples,
    RandomSystems,
    RitzSamples,
    TrainDirection,
    VCycle,
    box,
)
from pinnx.solvers.linear.directions.bands import from_operator
from pinnx.solvers.linear.directions.losses import advance, energy_loss, residual_loss
from pinnx.solvers.training import Adam

SEED = 8_253_301
SMALL = TrainDirection(VCycle(coarsest=16), RandomSamples(RandomSystems(grid=(16, 16))), steps=8, batch=2, validation=2)
IMAGES = TrainDirection(
    Dcdm(channels=4), RitzSamples(grid=(16, 16), vectors=40, pool=25), "residual", rollout=1, steps=40, batch=8,
    optimizer=Adam(learning_rate=3e-3),
)  # fmt: skip


class TestLosses:
    def setup_method(self) -> None:
        operator = RandomSystems(grid=(12, 12)).draw(3, torch.Generator().manual_seed(SEED))
        self.bands = from_operator(operator, torch.float64)
        generator = torch.Generator().manual_seed(SEED)
        self.errors, self.directions = torch.randn(2, 3, 144, generator=generator, dtype=torch.float64)
        self.residuals = self.bands.apply(self.errors)

    def test_perfect_directions(self) -> None:
        for loss in (residual_loss, energy_loss):
            value = loss(self.bands, self.residuals, self.errors, -2.5 * self.errors)
            assert float(value) == pytest.approx(0, abs=1e-10)

    def test_energy_left_by_a_line_search(self) -> None:
        matrix, left = self.bands.dense(), []
        for a, e, f in zip(matrix, self.errors, self.directions, strict=True):
            step = (f @ a @ e) / (f @ a @ f)
            rest = e - step * f
            left.append((rest @ a @ rest) / (e @ a @ e))
        found = energy_loss(self.bands, self.residuals, self.errors, self.directions)
        assert float(found) == pytest.approx(float(torch.stack(left).mean()))

    def test_residual_left_by_a_line_search(self) -> None:
        matrix, left = self.bands.dense(), []
        for a, b, f in zip(matrix, self.residuals, self.directions, strict=True):
            left.append((b - (f @ b) / (f @ a @ f) * (a @ f)).norm() ** 2 / b.norm() ** 2)
        found = residual_loss(self.bands, self.residuals, None, self.directions)
        assert float(found) == pytest.approx(float(torch.stack(left).mean()))

    def test_energy_needs_errors(self) -> None:
        with pytest.raises(ValueError, match="needs samples with errors"):
            energy_loss(self.bands, self.residuals, None, self.directions)

    def test_the_rollout_is_conjugate_gradients(self) -> None:
        """With f = r and memory 1, the residuals are those of `solve` without a direction, which scipy has checked."""
        operator, expected = box((12, 12)), []
        bands = from_operator(operator, torch.float64)
        b = torch.randn(1, 144, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64)
        solve(operator, b, rtol=1e-3, callback=lambda iterate: expected.append(iterate.r / iterate.r.norm()))
        residuals, errors, before = b, torch.linalg.solve(bands.dense(), b.unsqueeze(2)).squeeze(2), None
        for residual in expected:
            residuals, moved, before = advance(bands, residuals, errors, residuals, before)
            assert moved is not None
            errors = moved
            assert torch.allclose(residuals, residual, atol=1e-8)
            assert torch.allclose(bands.apply(errors), residuals, atol=1e-8)
        assert len(expected) > 5


class TestTraining:
    def test_resuming_changes_nothing(self, tmp_path: Path) -> None:
        for options in (SMALL, IMAGES):
            whole = options.start(seed=SEED, folder=tmp_path)
            for _ in range(3):
                whole.step()
            state = copy.deepcopy(whole.state_dict())
            expected = [whole.step() for _ in range(4)]
            resumed = options.start(seed=SEED, folder=tmp_path)
            resumed.load_state_dict(state)
            assert [resumed.step() for _ in range(4)] == expected
            assert resumed.step_number == 7

    def test_the_seed_decides(self) -> None:
        first, same, other = (SMALL.start(seed=seed).step()["loss"] for seed in (SEED, SEED, SEED + 10))
        assert first == same
        assert first != other

    def test_validation_changes_nothing_and_stays_the_same(self) -> None:
        watched, alone = SMALL.start(seed=SEED), SMALL.start(seed=SEED)
        before = watched.validate()
        assert watched.validate() == before
        assert [watched.step() for _ in range(2)] == [alone.step() for _ in range(2)]
        assert watched.validate() != before

    def test_dcdm_learns(self, tmp_path: Path) -> None:
        training = IMAGES.start(seed=SEED, folder=tmp_path)
        before, seen = training.validate()["loss"], []
        direction = training.run(lambda step, metrics: seen.append((step, metrics["loss"])))
        assert training.validate()["loss"] < 0.8 * before
        assert [step for step, _ in seen] == list(range(1, 41))
        assert direction.record["steps"] == 40
        direction.save(tmp_path / "dcdm.pt")

    def test_a_linear_network_learns_from_errors(self, tmp_path: Path) -> None:
        options = TrainDirection(
            LinearUNet(channels=4, levels=3), RandomSamples(RandomSystems(grid=(16, 16)), boxes=1.0), "energy",
            rollout=2, steps=30, batch=8, optimizer=Adam(learning_rate=5e-3),
        )  # fmt: skip
        training = options.start(seed=SEED, folder=tmp_path)
        before = training.validate()["loss"]
        training.run()
        assert training.validate()["loss"] < 0.8 * before

    def test_divergence_leaves_the_parameters(self) -> None:
        training = SMALL.start(seed=SEED)
        training.step()
        before = copy.deepcopy(training.direction.module.state_dict())
        draw = training._samples.draw

        def poisoned(generator: torch.Generator) -> object:
            drawn = draw(generator)
            drawn.residuals[:] = torch.nan
            return drawn

        training._samples.draw = poisoned  # type: ignore[method-assign,assignment]
        with pytest.raises(DivergedError, match="met a loss of nan .* in step 1: lower the learning rate"):
            training.step()
        after = training.direction.module.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())

    def test_a_grid_that_is_solved_directly_teaches_nothing(self) -> None:
        options = TrainDirection(VCycle(coarsest=256), RandomSamples(RandomSystems(grid=(16, 16)), boxes=1.0))
        with pytest.raises(InputError, match="solves the grids of the samples directly"):
            options.start(seed=SEED).step()

    def test_limits(self) -> None:
        with pytest.raises(ValueError, match="loss must be one of 'residual', 'energy', got 'square'"):
            TrainDirection(loss="square")
