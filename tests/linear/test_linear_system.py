"""Cases of linear systems: what they train and solve, that they resume, and what they refuse."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy import io
from scipy.sparse.linalg import spsolve

import pinnx
from pinnx.case import Case, load_case, parse_case
from pinnx.cli.main import main
from pinnx.errors import InputError, PinnxError
from pinnx.solvers.linear import grid_operator, solve
from pinnx.solvers.linear.comparison import break_even
from pinnx.solvers.linear.directions import RandomSystems, VCycle
from pinnx.solvers.linear.grid_matrix import as_grid_operator

SEED = 4_830_211

RANDOM = """\
seed = 71403
threads = 1
[solver]
kind = "linear-system"
tolerance = 1e-8
evaluate_every = 2
system = { kind = "random-systems", grid = [16, 16] }
[solver.training]
steps = 4
batch = 2
rollout = 2
validation = 1
network = { kind = "v-cycle", coarsest = 32 }
samples = { kind = "random-systems", systems = { grid = [16, 16] } }
[solver.comparison]
methods = ["conjugate-gradients", "multigrid", "sine-transform"]
grids = [[16, 16], [24, 20]]
columns = 2
"""

POISSON = """\
seed = 90121
threads = 1
[equation]
name = "poisson"
dimension = 2
[solver]
kind = "linear-system"
tolerance = 1e-9
system = { kind = "equation", grid = [12, 12] }
[solver.training]
loss = "residual"
steps = 2
batch = 2
rollout = 1
validation = 1
network = { kind = "dcdm", channels = 2, pairs_coarse = 1, pairs_fine = 1 }
samples = { kind = "ritz", grid = [12, 12], vectors = 20, pool = 8 }
"""

FILES = """\
[solver]
kind = "linear-system"
tolerance = 1e-9
system = { kind = "files", matrix = "A.mtx", right_hand_side = "b.h5" }
direction = { kind = "jacobi" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the files of `FILES` and a model of a V-cycle."""
    operator = RandomSystems(grid=(9, 8)).draw(1, torch.Generator().manual_seed(SEED))
    io.mmwrite(tmp_path / "A.mtx", operator.to_scipy())
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["b"] = np.random.default_rng(SEED).standard_normal((2, 72))
    VCycle().build(torch.Generator().manual_seed(SEED)).save(tmp_path / "cycle.pt")
    (tmp_path / "case.toml").write_text(FILES)
    (tmp_path / "short.txt").write_text("1\n2\n3\n")
    return tmp_path


class TestRuns:
    def test_random_systems(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The run directory holds the direction, the comparison and its figures; the direction works."""
        (tmp_path / "case.toml").write_text(RANDOM)
        assert main(["solve", str(tmp_path / "case.toml"), "--output", str(tmp_path / "run")]) == 0
        assert "learned v-cycle" in capsys.readouterr().out
        run = tmp_path / "run"
        content = json.loads((run / "comparison.json").read_text())
        assert [each["grid"] for each in content["tables"]] == [[16, 16], [24, 20]]
        rows = {row["method"]: row for row in content["tables"][1]["rows"]}
        assert rows["CG"]["failures"] == rows["learned v-cycle"]["failures"] == 0
        assert rows["learned v-cycle"]["iterations"][-1]["median"] < rows["CG"]["iterations"][-1]["median"] / 3
        assert "use Multigrid" in rows["sine transform"]["note"]
        assert rows["CG"]["history"][-1] <= 1e-8 < rows["CG"]["history"][-2]
        page = (run / "report.html").read_text()
        assert page.count("<figure>") == 5
        assert "24 × 20: 2 systems" in page
        operator = grid_operator((20, 16), nodes="vertices")
        result = solve(operator, torch.ones(320), direction=pinnx.load_direction(run))
        assert result.ok
        assert int(result.iterations) < 12

    def test_an_equation(self, tmp_path: Path) -> None:
        """The discrete solution is that of a direct solver, and its error against the exact one is told."""
        case = parse_case(POISSON)
        solution = pinnx.solve(case, quiet=True)
        system = solution.system
        expected = spsolve(system.operator.to_scipy().tocsc(), system.b[0].numpy())
        training = case.start(torch.device("cpu"))
        assert training.evaluate() is None
        while training.step_number < training.total_steps:
            training.step()
        errors, zero = training.evaluate(), training.baselines()["zero"]
        assert errors is not None
        assert zero is not None
        assert (zero.relative_l2, zero.relative_l1) == (1.0, 1.0)
        assert 0 < errors.relative_l2 < 0.02
        assert np.allclose(training.solution().x[0].numpy(), expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max())
        assert training.finish(tmp_path)["tables"][0]["rows"][0]["method"] == "learned dcdm"

    def test_files(self, folder: Path) -> None:
        assert main(["solve", str(folder / "case.toml"), "--output", str(folder / "run"), "--quiet"]) == 0
        with h5py.File(folder / "run" / "x.h5") as file:
            found = file["x"][()]  # type: ignore[index]
        with h5py.File(folder / "b.h5") as file:
            b = file["b"][()]  # type: ignore[index]
        expected = spsolve(io.mmread(folder / "A.mtx", spmatrix=False).tocsc(), b.T).T
        assert np.allclose(found, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())
        assert json.loads((folder / "run" / "result.json").read_text())["steps"] == 1
        loaded = pinnx.load(folder / "run")
        assert loaded.direction.kind == "jacobi"
        assert np.array_equal(loaded.x.numpy(), found)

    def test_files_with_a_trained_direction(self, folder: Path) -> None:
        case = load_case(
            folder / "case.toml",
            ['solver.direction={ kind = "trained", model = "cycle.pt" }', "solver.system.grid=[9, 8]"],
        )
        training = case.start(torch.device("cpu"))
        training.step()
        plain = load_case(folder / "case.toml").start(torch.device("cpu"))
        plain.step()
        assert np.allclose(training.solution().x, plain.solution().x, atol=1e-6)
        assert training.finish(folder)["tables"][0]["rows"][0]["method"] == "learned v-cycle"
        assert not (folder / "direction.pt").exists()

    def test_an_unsolved_system_is_no_success(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["solve", str(folder / "case.toml"), "--output", str(folder / "run")]
        assert main([*arguments, "--set", "solver.max_iterations=2"]) == 4
        assert "2 of 2 right-hand sides are not solved" in capsys.readouterr().err
        with h5py.File(folder / "run" / "x.h5") as file:
            assert list(file["reason"].asstr()) == ["iteration-limit"] * 2  # type: ignore[union-attr]

    def test_resuming_changes_nothing(self) -> None:
        case = parse_case(RANDOM)
        whole = case.start(torch.device("cpu"))
        for _ in range(2):
            whole.step()
        state = copy.deepcopy(whole.state_dict())
        expected = [whole.step() for _ in range(2)]
        resumed = case.start(torch.device("cpu"))
        resumed.load_state_dict(state)
        assert [resumed.step() for _ in range(2)] == expected
        assert "validation" in expected[1]
        assert "validation" not in expected[0]

    def test_held_out_systems_are_others_than_those_of_training(self) -> None:
        source = RandomSystems(grid=(12, 12))
        first, again = (source.held_out(2, torch.Generator().manual_seed(SEED)) for _ in range(2))
        other = source.held_out(2, torch.Generator().manual_seed(SEED + 1))
        assert torch.equal(first.operator.diagonal(), again.operator.diagonal())
        assert not torch.equal(first.operator.diagonal(), other.operator.diagonal())


class TestCases:
    @pytest.mark.parametrize("text", [RANDOM, POISSON])
    def test_the_resolved_case_is_the_case(self, text: str) -> None:
        case = parse_case(text)
        assert parse_case(case.to_toml()) == case

    def test_paths_are_relative_to_the_case_file(self, folder: Path) -> None:
        case = load_case(folder / "case.toml")
        assert case.solver.system.matrix == folder / "A.mtx"  # type: ignore[attr-defined]
        assert parse_case(case.to_toml(), folder=Path("elsewhere")) == case

    @pytest.mark.parametrize("name", ["dcdm_poisson_2d", "linear_obstacles_2d"])
    def test_the_cases_that_ship_are_valid(self, name: str) -> None:
        path = Path(__file__).parents[2] / "cases" / f"{name}.toml"
        if not path.is_file():
            pytest.skip("the cases do not ship with the package")
        settings = ["solver.training.samples.vectors=4"] if name.startswith("dcdm") else []
        training = load_case(path, settings).start(torch.device("cpu"))
        assert training.total_steps == load_case(path).solver.training.steps  # type: ignore[attr-defined]

    def test_only_linear_systems_go_without_an_equation(self) -> None:
        with pytest.raises(ValueError, match="equation is missing"):
            Case()
        with pytest.raises(InputError, match='equation: is missing; expected a table with "name"'):
            parse_case('[solver]\nkind = "pinn"')

    MISTAKES = (
        ("solver.system.matrix=none.mtx", "none.mtx: there is no such file"),
        ("solver.system.right_hand_side=short.txt", "the right-hand side must have shape (k, 72), got (3,), to fit"),
        ("solver.system.grid=[8, 8]", "the grid (8, 8) has 64 cells, and the matrix has the shape (72, 72)"),
        ("solver.system.grid=[8, 9]", "is the last axis the fastest?"),
        ('solver.direction={ kind = "multigrid" }', "geometric multigrid needs a GridOperator"),
        ('solver.direction={ kind = "multigird" }', "did you mean 'multigrid'?"),
        ('solver.direction={ kind = "trained", model = "no.pt" }', "no.pt: there is no such model file"),
        ('solver.direction={ kind = "trained", model = "A.mtx" }', "this is no model file of pinnx"),
        ('solver.direction={ kind = "trained", model = "cycle.pt" }', "needs an operator on a grid"),
        ('solver.direction={ kind = "trained" }', "solver.direction.model: is missing; expected a path"),
        ("solver.memory=-1", "solver.memory: must be at least 0"),
        ('solver.system={ kind = "equation" }', "the case has none: add the table [equation]"),
        ('solver.system={ kind = "random-systems" }', "there is nothing to do"),
        ("solver.comparison.grids=[[4, 4]]", "each grid must have as many axes as that of the system"),
    )

    @pytest.mark.parametrize(("setting", "message"), MISTAKES, ids=[setting for setting, _ in MISTAKES])
    def test_mistakes_get_one_sentence(
        self, folder: Path, capsys: pytest.CaptureFixture[str], setting: str, message: str
    ) -> None:
        arguments = ["solve", str(folder / "case.toml"), "--output", str(folder / "run"), "--set", setting]
        assert main(arguments) == 2
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert message in printed
        assert not (folder / "run").exists()

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (['equation={ name = "allen-cahn", dimension = 2 }'], "nonlinear"),
            (['equation={ name = "heat", dimension = 2 }'], "derivative in time"),
            (["solver.system.grid=[12, 12, 12]"], "grid must have 2 sizes"),
            (["solver.training.network.dimension=3"], "is for grids of 3 axes"),
            (["solver.training.loss=energy"], 'the loss "energy" needs samples with errors'),
            (["solver.data=nowhere"], "there is no such folder"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_what_does_not_fit_an_equation(self, settings: list[str], message: str, tmp_path: Path) -> None:
        path = tmp_path / "case.toml"
        path.write_text(POISSON)
        with pytest.raises(PinnxError, match=message):
            load_case(path, settings).start(torch.device("cpu"))

    def test_a_run_has_no_function(self, folder: Path) -> None:
        assert main(["solve", str(folder / "case.toml"), "--output", str(folder / "run"), "--quiet"]) == 0
        from pinnx.run import export

        with pytest.raises(InputError, match="there is no function to evaluate"):
            export(folder / "run", "csv")


class TestSolveLinear:
    def setup_method(self) -> None:
        self.operator = RandomSystems(grid=(9, 8)).draw(1, torch.Generator().manual_seed(SEED))
        self.A = self.operator.to_scipy()
        self.b = np.random.default_rng(SEED).standard_normal((2, 72))
        self.x = spsolve(self.A.tocsc(), self.b.T).T

    def test_whatever_stands_for_the_matrix(self) -> None:
        torch_sparse = torch.from_numpy(self.A.toarray()).to_sparse()
        for A in (
            self.A,
            torch_sparse,
            self.A.toarray(),
            self.operator,
            lambda x: torch.from_numpy((self.A @ x.numpy().T).T),
        ):
            result = pinnx.solve_linear(A, self.b, rtol=1e-10)
            assert isinstance(result.x, np.ndarray)
            assert np.allclose(result.x, self.x, atol=1e-7 * np.abs(self.x).max())
        tensor = pinnx.solve_linear(self.A, torch.from_numpy(self.b[0]))
        assert isinstance(tensor.x, torch.Tensor)
        assert tensor.x.shape == (72,)

    def test_directions_by_name_and_by_file(self, folder: Path) -> None:
        plain = pinnx.solve_linear(self.A, self.b).iterations
        for direction in ("multigrid", "incomplete-cholesky", folder / "cycle.pt", str(folder / "cycle.pt")):
            result = pinnx.solve_linear(self.A, self.b, direction=direction, grid=(9, 8))
            assert result.ok
            assert bool((result.iterations < plain / 2).all())

    def test_mistakes(self, folder: Path) -> None:
        for options, message in (
            ({"direction": "multigrid"}, "needs a GridOperator"),
            ({"direction": "trained"}, "has options that must be given"),
            ({"direction": 3}, "direction must be a Direction, the name of a kind"),
            ({"rtoll": 1}, "did you mean 'rtol'"),
            ({"direction": folder / "A.mtx"}, "no model file"),
        ):
            with pytest.raises(PinnxError, match=message):
                pinnx.solve_linear(self.A, self.b, **options)
        with pytest.raises(InputError, match=r"b must have shape"):
            pinnx.solve_linear(self.A, 3.0)


class TestGridMatrix:
    @pytest.mark.parametrize("grid", [(7,), (6, 5), (4, 3, 5)])
    def test_there_and_back(self, grid: tuple[int, ...]) -> None:
        generator = torch.Generator().manual_seed(SEED)
        systems = [grid_operator(grid, reaction=0.3), RandomSystems(grid=grid).draw(1, generator)]
        for operator in systems:
            matrix = operator.to_scipy()
            assert abs(as_grid_operator(matrix, grid).to_scipy() - matrix).max() < 1e-9

    def test_what_is_none(self) -> None:
        matrix = grid_operator((4, 4)).to_scipy().tolil()
        for entry, value, message in (
            ((0, 5), -1.0, "no neighbors along an axis"),
            ((0, 1), -2.0, "not symmetric"),
            ((0, 0), 0.5, "smaller than the sum"),
        ):
            changed = matrix.copy()
            changed[entry] = value
            with pytest.raises(InputError, match=message):
                as_grid_operator(changed, (4, 4))


def test_break_even_counts_set_up_where_systems_differ() -> None:
    rows = [
        {"method": "ours", "learned": True, "setup_seconds": 1.0, "solve_seconds": 2.0, "failures": 0},
        {"method": "theirs", "learned": False, "setup_seconds": 0.5, "solve_seconds": 4.0, "failures": 0},
        {"method": "quick", "learned": False, "setup_seconds": 0.0, "solve_seconds": 1.0, "failures": 0},
        {"method": "wrong", "learned": False, "setup_seconds": 0.0, "solve_seconds": 9.0, "failures": 1},
    ]
    for systems, expected in ((1, 51), (2, 67)):  # (100 + 1 - 0.5) / 2 and 100 / (4.5 - 3)
        found = break_even([{"grid": [4], "systems": systems, "rows": rows}], 100.0)
        assert {each["method"]: each["solves"] for each in found} == {"theirs": expected, "quick": None}
