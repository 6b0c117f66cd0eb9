"""Runs on families: what the run directory holds of held-out instances, the figures, the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import pinnx
from pinnx.cli.main import main
from pinnx.errors import InputError
from pinnx.family import HELD_OUT, relative_l2
from pinnx.run.reporting import report
from pinnx.views.operator_figures import blocks_figure, errors_figure, instances_figure, operator_figures
from pinnx.views.operators import OperatorView, block_table, median_and_worst, read_view, root_mean_squares

CASE = """\
seed = 5120
device = "cpu"
[equation]
name = "diffusion-sorption"
nodes = 17
times = 9
[network]
kind = "fno"
width = 4
modes = 3
layers = 1
[solver]
kind = "hard-constraint"
method = "mixture"
basis = 4
blocks = [2, 2]
steps = 2
instances_per_step = 1
test_instances = 3
known_instances = 4
[solver.coupling]
kind = "interface"
[solver.constraint]
max_iterations = 3
"""
NAMES = ["offset", "persistence", "mean", "linear", "interpolation"]


def view(axes: dict[str, int], blocks: np.ndarray, instances: int = 4) -> OperatorView:
    drawn = np.random.default_rng(720_113)
    shape = tuple(axes.values())
    errors = {name: drawn.uniform(0.01, 1.0, instances) for name in ("solution", "offset", "mean", "mine")}
    shown = median_and_worst(errors["solution"])
    residual = drawn.normal(size=(instances, *shape))
    experts = int(blocks.max()) + 1
    return OperatorView(
        axes={name: np.linspace(0, 1, count) for name, count in axes.items()},
        unknowns=("u",),
        shown=shown,
        values=drawn.normal(size=(len(shown), 1, *shape)),
        reference=drawn.normal(size=(len(shown), 1, *shape)),
        residual=residual[list(shown)],
        blocks=blocks,
        errors=errors,
        block_residuals=root_mean_squares(residual, blocks, np.ones(shape, bool), experts),
        messages=("converged", "stopped at 20 iterations"),
    )


QUARTERS = np.add.outer(2 * (np.arange(6) >= 4), np.arange(5) >= 3).astype(int)


def test_a_view_comes_back_from_its_file(tmp_path: Path) -> None:
    written = view({"x1": 6, "t": 5}, QUARTERS)
    path = tmp_path / "instances.h5"
    path.write_bytes(written.to_bytes(17))
    found, step = read_view(path)
    assert step == 17
    assert (found.unknowns, found.shown, found.messages) == (written.unknowns, written.shown, written.messages)
    assert list(found.axes) == ["x1", "t"], "in their order, which is not that of the alphabet"
    for name in ("values", "reference", "residual", "blocks", "block_residuals"):
        np.testing.assert_array_equal(getattr(found, name), getattr(written, name))
    assert {name: array.tolist() for name, array in found.errors.items()} == {
        name: array.tolist() for name, array in written.errors.items()
    }
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"instances.h5: not a file of held-out instances"):
        read_view(path)


def test_blocks_of_a_partition() -> None:
    assert block_table(QUARTERS).tolist() == [[0, 1], [2, 3]]
    space_time = np.broadcast_to(QUARTERS[:, :, None], (6, 5, 4)).copy()
    space_time[:, :, 2:] += 4
    assert block_table(space_time).tolist() == [[[0, 4], [1, 5]], [[2, 6], [3, 7]]]
    residual = np.stack([QUARTERS + 1.0, -2.0 * QUARTERS])
    counted = np.ones((6, 5), bool)
    counted[4:, 3:] = False
    found = root_mean_squares(residual, QUARTERS, counted, 4)
    np.testing.assert_allclose(found, [[1, 2, 3, np.nan], [0, 2, 4, np.nan]])


def test_median_and_worst() -> None:
    assert median_and_worst(np.array([0.5, 0.1, 0.9, 0.2])) == {3: "median error", 2: "largest error"}
    assert median_and_worst(np.array([0.5])) == {0: "median error"}


@pytest.mark.parametrize(
    ("axes", "blocks"),
    [
        ({"x1": 6, "t": 5}, QUARTERS),
        ({"x1": 6, "x2": 5}, np.zeros((6, 5), int)),
        ({"x1": 6, "x2": 5, "t": 4}, np.broadcast_to(np.arange(4) >= 2, (6, 5, 4)).astype(int)),
    ],
    ids=["line", "plane", "flow"],
)
def test_figures_tell_what_they_show(axes: dict[str, int], blocks: np.ndarray) -> None:
    seen = view(axes, blocks)
    figures = operator_figures(seen)
    assert list(figures) == ["instances", "errors", *(["blocks"] if seen.experts > 1 else [])]
    panels = [each for each in figures["instances"].axes if each.get_xlabel()]
    assert len(panels) == 8
    last = panels[3]
    numbers = {text.get_text() for text in last.texts}
    assert numbers == ({"1", "2", "3", "4"} if "x2" not in axes else {"2"} if seen.experts > 1 else set())
    assert last.get_title() == ("|residual| and experts" if seen.experts > 1 else "|residual|")
    (legend,) = figures["errors"].legends
    told = [text.get_text() for text in legend.get_texts()]
    assert told[0].startswith("solution: ")
    assert any(text.startswith("mine: ") for text in told)


def test_the_map_of_blocks_has_time_to_the_right() -> None:
    seen = view({"x1": 6, "t": 5}, QUARTERS)
    (axes,) = blocks_figure(seen).axes
    assert axes.get_xlabel() == "block along $t$"
    rms = np.sqrt((seen.block_residuals**2).mean(0))
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written[1, 0] == f"{rms[1]:.1e}", "block 2 is the later one at the left end"
    assert written[0, 1] == f"{rms[2]:.1e}"


def test_solution_and_reference_share_their_colors() -> None:
    seen = view({"x1": 6, "t": 5}, QUARTERS)
    panels = [each for each in instances_figure(seen).axes if each.get_xlabel()]
    assert panels[0].collections[0].get_clim() == panels[1].collections[0].get_clim()
    low, high = panels[2].collections[0].get_clim()
    assert low == -high
    points = errors_figure(seen).axes[0].lines[-1].get_ydata()
    np.testing.assert_array_equal(points, np.sort(seen.errors["solution"]))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("operator")
    (folder / "case.toml").write_text(CASE)
    assert main(["solve", str(folder / "case.toml"), "--output", str(folder / "run"), "-q"]) == 0
    return folder / "run"


def test_the_run_directory_holds_the_instances(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    assert list(result["baselines"]) == NAMES
    seen, step = read_view(run / "instances.h5")
    assert step == 2
    assert list(seen.errors) == ["solution", *NAMES]
    for name in ("solution", *NAMES):
        mean = result["relative_l2"] if name == "solution" else result["baselines"][name]["relative_l2"]
        assert float(seen.errors[name].mean()) == pytest.approx(mean, rel=1e-12)
    assert len(seen.messages) == 3
    assert block_table(seen.blocks).shape == (2, 2)
    assert {file.name for file in (run / "plots").glob("*.png")} >= {"instances.png", "errors.png", "blocks.png"}
    page = (run / "report.html").read_text()
    for words in ("mean of solved instances", "between two solved instances", "held-out instances", "of 3: "):
        assert words in page


def test_the_instances_are_those_that_were_never_trained_on(run: Path) -> None:
    solution = pinnx.load(run)
    seen, _ = read_view(run / "instances.h5")
    family = solution.family
    held_out = family.numbered(range(3), 5120 + HELD_OUT)
    found, reference = solution.solve(held_out), family.reference(held_out)
    errors = relative_l2(found.values, reference, family.grid.measure()).numpy()
    np.testing.assert_allclose(errors, seen.errors["solution"], rtol=1e-10)
    for row, number in enumerate(seen.shown):
        np.testing.assert_allclose(seen.values[row], found.values[number], rtol=1e-10)
        np.testing.assert_array_equal(seen.reference[row], reference[number])


def test_the_report_is_made_again_when_it_is_old(run: Path) -> None:
    before = (run / "instances.h5").read_bytes()
    (run / "instances.h5").write_bytes(read_view(run / "instances.h5")[0].to_bytes(1))
    report(run)
    assert (run / "instances.h5").read_bytes() == before


@pytest.mark.parametrize("words", [["evaluate", "--points", "p.csv"], ["export", "--to", "csv"]])
def test_an_operator_is_no_function(run: Path, words: list[str], tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.csv").write_text("x1,t\n0.5,1\n")
    assert main([words[0], str(run), *words[1:]]) == 2
    assert "the run learned an operator for a family of instances" in capsys.readouterr().err
