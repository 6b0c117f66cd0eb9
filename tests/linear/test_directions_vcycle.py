"""The learned V-cycle: exact algebra, symmetry by construction, and what it does to walls, corridors and jumps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy.sparse.linalg import cg
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.solvers.linear import GridOperator, as_scipy, grid_operator, solve
from pinnx.solvers.linear.directions import Dcdm, LearnedDirection, RandomSystems, VCycle, box
from pinnx.solvers.linear.directions.bands import from_operator
from pinnx.solvers.linear.directions.fast_cycle import FastCycle
from pinnx.solvers.linear.directions.repetition import Repetition
from pinnx.solvers.linear.directions.sweeps import blocks, sweep
from pinnx.solvers.linear.directions.transfers import Action
from pinnx.solvers.linear.directions.vcycle import VCycleNetwork

SEED = 7_310_449
GRIDS = [(37,), (12, 9), (16, 16), (6, 5, 8)]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def shaken(size: float = 0.5) -> VCycleNetwork:
    """A network whose weights are random, far from their start."""
    network = VCycle(coarsest=8).build_module(generator()).double()
    draws = generator()
    for parameter in network.parameters():
        parameter.data += size * torch.randn(parameter.shape, generator=draws, dtype=torch.float64)
    return network


def random_systems(grid: tuple[int, ...], systems: int = 3) -> GridOperator:
    return RandomSystems(grid=grid, scattered=0.5).draw(systems, generator())


def run(actions: list[Action]) -> None:
    for action in actions:
        action()


@torch.no_grad()
def dense(network: VCycleNetwork, operator: GridOperator) -> Tensor:
    """The cycle as matrices (systems, n, n): all columns of a system at once."""
    columns = torch.eye(operator.shape[0], dtype=torch.float64)
    parts = [operator.select(torch.tensor([system])) for system in range(operator.systems)]
    return torch.stack([network.prepare(part)(columns).T for part in parts])


class TestAlgebra:
    @pytest.mark.parametrize("grid", GRIDS)
    def test_products_with_bands(self, grid: tuple[int, ...]) -> None:
        operator = random_systems(grid)
        bands = from_operator(operator, torch.float64)
        x = torch.randn(3, operator.shape[0], generator=generator(), dtype=torch.float64)
        assert torch.allclose(bands.apply(x), operator.apply(x))
        out = torch.empty_like(x)
        run(sweep(blocks(bands, 3), x, x, 0.3, 1.0, out))
        assert torch.allclose(out, 0.3 * x + operator.apply(x))
        run(sweep(blocks(bands, 3), x, x, 1.0, -1.0, out))
        assert torch.allclose(out, x - operator.apply(x))
        assert torch.allclose(bands.dense() @ x.unsqueeze(2), operator.apply(x).unsqueeze(2))

    @torch.no_grad()
    @pytest.mark.parametrize("grid", GRIDS)
    def test_coarse_matrices_are_galerkin_products(self, grid: tuple[int, ...]) -> None:
        operator = random_systems(grid)
        network, matrix, alive = shaken(), from_operator(operator, torch.float64), operator.mask
        for axis in range(1, len(grid) + 1):
            transfer, alive = network.interpolation.transfer(matrix, axis, alive)
            coarse = transfer.galerkin(matrix)
            m = math.prod(transfer.coarse_grid)
            basis = torch.eye(m, dtype=torch.float64).reshape(m, 1, *transfer.coarse_grid)
            for system in range(3):
                one = replace(transfer, left=transfer.left[[system]], right=transfer.right[[system]])
                interpolation = torch.cat([one.prolong(column).reshape(1, -1) for column in basis]).T
                kept = transfer.kept
                assert kept is not None
                stays = torch.ones(1, *transfer.grid, dtype=torch.float64)
                stays[(slice(None),) * axis + (slice(0, None, 2),)] = kept[[system]]
                interpolation = interpolation * stays.reshape(-1, 1)
                truth = interpolation.T @ matrix.dense()[system] @ interpolation
                assert torch.allclose(coarse.dense()[system], truth, atol=1e-10 * float(truth.abs().max()))
            matrix = coarse

    @torch.no_grad()
    @pytest.mark.parametrize("grid", GRIDS)
    def test_restriction_is_the_transpose_of_interpolation(self, grid: tuple[int, ...]) -> None:
        matrix = from_operator(random_systems(grid), torch.float64)
        network, alive = shaken(), torch.ones_like(matrix.diagonal, dtype=torch.bool)
        for axis in range(1, len(grid) + 1):
            transfer, _ = network.interpolation.transfer(matrix, axis, alive)
            fine = torch.randn(3, *grid, generator=generator(), dtype=torch.float64)
            coarse = torch.randn(3, *transfer.coarse_grid, generator=generator(), dtype=torch.float64)
            left, right = (transfer.restrict(fine) * coarse).sum(), (fine * transfer.prolong(coarse)).sum()
            assert torch.allclose(left, right)
            buffer = torch.empty(3, *transfer.coarse_grid, dtype=torch.float64)
            run(transfer.restriction(fine, buffer))
            assert torch.allclose(buffer, transfer.restrict(fine))
            prolonged, added = fine.clone(), fine.clone()
            run(transfer.prolongation(coarse, prolonged, add=False))
            assert torch.allclose(prolonged, transfer.prolong(coarse))
            run(transfer.prolongation(coarse, added, add=True))
            assert torch.allclose(added, fine + transfer.prolong(coarse))

    def test_a_uniform_row_interpolates_linearly(self) -> None:
        network = VCycle(coarsest=16).build_module(generator())
        matrix = from_operator(grid_operator((16, 16), sides="neumann", reaction=0.0), torch.float32)
        transfer, _ = network.interpolation.transfer(matrix, 2, torch.ones(1, 16, 16, dtype=torch.bool))
        assert torch.allclose(transfer.left[..., :-1], torch.full((1, 16, 7), 0.5))
        assert torch.allclose(transfer.right[..., :-1], torch.full((1, 16, 7), 0.5))

    def test_nothing_is_interpolated_through_a_wall(self) -> None:
        mask = torch.ones(16, 16, dtype=torch.bool)
        mask[7] = False  # one cell thin
        operator = grid_operator((16, 16), mask=mask, obstacles="neumann")
        hierarchy = shaken().hierarchy(operator)
        for level in hierarchy.levels[1:]:
            n = level.matrix.grid[0] * level.matrix.grid[1]
            half = (8 * level.matrix.grid[0] // 16) * level.matrix.grid[1]
            matrix = level.matrix.dense().detach().reshape(n, n)
            assert float(matrix[:half, half:].abs().max()) == 0

    def test_a_corridor_between_kept_cells_survives(self) -> None:
        """Dropped rows only: the coarse cells must stand for them, or the coarse grid would not see them at all."""
        mask = torch.zeros(32, 32, dtype=torch.bool)
        mask[1::4] = True
        operator = grid_operator((32, 32), mask=mask, obstacles="neumann", sides=("neumann", "dirichlet"))
        b = torch.randn(1, 1024, generator=generator(), dtype=torch.float64) * operator.mask.flatten(1)
        result = solve(operator, b, direction=VCycle(coarsest=16).build(generator()), rtol=1e-6)
        assert int(result.iterations.max()) <= 8


class TestCycle:
    @pytest.mark.parametrize("grid", GRIDS)
    def test_fast_and_differentiable_cycles_agree(self, grid: tuple[int, ...]) -> None:
        operator, network = random_systems(grid), shaken()
        residuals = torch.randn(3, operator.shape[0], generator=generator(), dtype=torch.float64)
        residuals = residuals * operator.mask.flatten(1)
        hierarchy = network.hierarchy(operator)
        with torch.no_grad():
            assert torch.allclose(hierarchy.cycle(residuals), FastCycle(hierarchy)(residuals))

    @pytest.mark.parametrize("grid", GRIDS)
    def test_symmetric_and_positive_definite_whatever_the_weights(self, grid: tuple[int, ...]) -> None:
        matrices = dense(shaken(), random_systems(grid))
        assert torch.allclose(matrices, matrices.mT, atol=1e-10 * float(matrices.abs().max()))
        assert float(torch.linalg.eigvalsh((matrices + matrices.mT) / 2).min()) > 0

    def test_the_check_of_symmetry_would_notice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A planted mistake: the restriction forgets its right half."""
        from pinnx.solvers.linear.directions.transfers import Transfer

        def half(self: Transfer, fine: Tensor, out: Tensor) -> list[Action]:
            return restriction(replace(self, right=torch.zeros_like(self.right)), fine, out)

        restriction = Transfer.restriction
        monkeypatch.setattr(Transfer, "restriction", half)
        matrices = dense(shaken(), random_systems((16, 16)))
        assert not torch.allclose(matrices, matrices.mT, atol=1e-3 * float(matrices.abs().max()))

    def test_systems_of_a_batch_do_not_meet(self) -> None:
        operator, direction = random_systems((16, 16), 4), VCycle(coarsest=16).build(generator())
        residuals = torch.randn(4, 256, generator=generator(), dtype=torch.float64)
        together = direction.prepare(operator)
        values, index = together(residuals), torch.tensor([2, 0])
        for system in range(4):
            alone = direction.prepare(operator.select(torch.tensor([system])))
            assert torch.allclose(alone(residuals[[system]]), values[[system]], rtol=1e-4, atol=1e-5)
        assert torch.allclose(together.select(index)(residuals[index]), values[index], rtol=1e-4, atol=1e-5)

    def test_many_right_hand_sides_of_one_system(self) -> None:
        operator, direction = random_systems((16, 16), 1), VCycle(coarsest=16).build(generator())
        residuals = torch.randn(5, 256, generator=generator(), dtype=torch.float64)
        apply = direction.prepare(operator)
        expected = torch.cat([apply(residual[None]) for residual in residuals])
        assert torch.allclose(apply(residuals), expected, rtol=1e-4, atol=1e-5)

    def test_scale_of_a_residual(self) -> None:
        apply = VCycle(coarsest=16).build(generator()).prepare(box((16, 16)))
        residual = torch.randn(1, 256, generator=generator(), dtype=torch.float64)
        assert torch.allclose(apply(1e-40 * residual), 1e-40 * apply(residual), rtol=1e-4, atol=1e-46)
        assert float(apply(torch.zeros_like(residual)).abs().max()) == 0

    def test_pure_neumann(self) -> None:
        """The coarsest matrix is singular; the cycle stays finite and useful."""
        operator = grid_operator((32, 32), sides="neumann")
        b = torch.randn(1, 1024, generator=generator(), dtype=torch.float64)
        result = solve(operator, b - b.mean(), direction=VCycle(coarsest=16).build(generator()), rtol=1e-6)
        assert result.ok
        assert int(result.iterations.max()) <= 12

    def test_needs_a_grid(self) -> None:
        class Other:
            pass

        with pytest.raises(UnsupportedError, match="needs an operator on a grid"):
            VCycle(coarsest=16).build(generator()).check(Other())  # type: ignore[arg-type]


class TestInsideScipy:
    def test_a_learned_cycle_preconditions_its_loops(self) -> None:
        operator = random_systems((32, 32), 1)
        b = torch.randn(1024, generator=generator(), dtype=torch.float64) * operator.mask.flatten()
        direction, counts = VCycle(coarsest=16).build(generator()), []
        preconditioner = as_scipy(direction, operator)
        x, info = cg(operator.to_scipy(), b.numpy(), rtol=1e-6, M=preconditioner, callback=lambda _: counts.append(0))
        assert info == 0
        assert float(operator.residual(b[None], torch.from_numpy(x)[None]).norm() / b.norm()) <= 1.01e-6
        assert len(counts) <= int(solve(operator, b, direction=direction, rtol=1e-6).iterations) + 1

    def test_others_are_refused_with_the_reason(self) -> None:
        with pytest.raises(UnsupportedError, match="not a linear map"):
            as_scipy(Dcdm().build(generator()), box((16, 16)))


class TestRepetition:
    """Large boxes are set up as small ones, repeated: the same as if they were not, but for rounding."""

    @torch.no_grad()
    @pytest.mark.parametrize(
        "operator",
        [
            box((300, 301)),
            box((67, 65, 30)),
            grid_operator((258, 270), reaction=0.1, sides=["neumann", ("dirichlet", "neumann")], spacing=(1.0, 1.5)),
        ],
        ids=["odd", "cube", "walls"],
    )
    def test_nothing_else_changes(self, operator: GridOperator, monkeypatch: pytest.MonkeyPatch) -> None:
        network = shaken(0.3)
        assert Repetition.of(operator) is not None
        found = network.hierarchy(operator)
        monkeypatch.setattr(Repetition, "of", lambda operator: None)
        expected = network.hierarchy(operator)
        assert torch.allclose(found.inverse, expected.inverse, rtol=1e-4, atol=1e-5 * float(expected.inverse.max()))
        for one, other in zip(found.levels, expected.levels, strict=True):
            assert torch.allclose(one.scaling, other.scaling, rtol=1e-4)
            assert torch.allclose(one.matrix.diagonal, other.matrix.diagonal, rtol=1e-4)
            for offset, weight in other.matrix.upper.items():
                assert torch.allclose(one.matrix.upper[offset], weight, rtol=1e-4, atol=2e-5)
            for here, there in zip(one.transfers, other.transfers, strict=True):
                assert (here.grid, here.axis) == (there.grid, there.axis)
                assert torch.allclose(here.left, there.left, atol=2e-5)
                assert torch.allclose(here.right, there.right, atol=2e-5)

    def test_what_is_none(self) -> None:
        coefficient = torch.ones(256, 256)
        coefficient[100, 100] = 1.001
        reaction = torch.zeros(256, 256)
        reaction[100, 100] = 1.0
        assert Repetition.of(box((64, 64))) is None
        assert Repetition.of(grid_operator((256, 256), coefficient=coefficient)) is None
        assert Repetition.of(grid_operator((256, 256), reaction=reaction)) is None
        assert Repetition.of(grid_operator((256, 256), mask=coefficient == 1)) is None


class TestIterations:
    """Untrained, it is a classical cycle; the trained one is measured by benchmarks/linear.py."""

    @pytest.mark.parametrize("grid", [(64, 64), (128, 128), (32, 32, 32)])
    def test_box(self, grid: tuple[int, ...]) -> None:
        operator = box(grid)
        b = torch.randn(1, operator.shape[0], generator=generator(), dtype=torch.float64)
        result = solve(operator, b, direction=VCycle(coarsest=16).build(generator()), rtol=1e-8)
        history = result.history[:, 0]
        iterations = [int((history > tolerance).sum()) for tolerance in (1e-4, 1e-6, 1e-8)]
        assert all(found <= most for found, most in zip(iterations, (5, 7, 9), strict=True)), iterations

    def test_obstacles(self) -> None:
        operator = RandomSystems(grid=(64, 64), scattered=0.0).draw(4, generator())
        b = torch.randn(4, 4096, generator=generator(), dtype=torch.float64) * operator.mask.flatten(1)
        untrained: LearnedDirection = VCycle(coarsest=16).build(generator())
        assert int(solve(operator, b, direction=untrained, rtol=1e-6).iterations.max()) <= 25
