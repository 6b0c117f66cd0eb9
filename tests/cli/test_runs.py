"""Commands on real runs, small ones: from a case file to a run directory and on; and malformed run directories."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pinnx.cli import main
from pinnx.run import read_metrics, running
from pinnx.solvers.pinn import PinnTraining
from tests.small import POISSON

CASE = f"""\
title = "A small one"
seed = 8117
{POISSON}steps = 6
precision = "float64"
[output]
directory = "run"
every = 2
checkpoint_every = 3
"""

MINE = """\
from __future__ import annotations
from dataclasses import dataclass
from pinnx.domain import Box
from pinnx.expr import Coefficient, laplacian
from pinnx.problem import Equation, Problem

@dataclass(frozen=True)
class Mine(Equation):
    mistake: str = "none"

    def residual(self, u):
        return laplacian(u) - Coefficient("g", self.source)

    def source(self, points):
        return points.x @ points.x if self.mistake == "shape" else points.x.sum(1)

    def problem(self):
        if self.mistake == "problem":
            raise KeyError("no domain")
        return Problem(self, Box(0.0, 1.0, dimension=2))
"""


def _draw_nothing(patch: pytest.MonkeyPatch) -> None:
    """Leave out the figures: they take seconds, and these tests do not look at them."""
    patch.setattr(running, "write_figures_and_report", lambda *arguments: None)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "small.toml").write_text(CASE)
    (folder / "mine.py").write_text(MINE)
    (folder / "mine.toml").write_text(
        CASE.replace('name = "poisson"\ndimension = 2', 'name = "./mine.py:Mine"').replace('"run"', '"mine"')
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _draw_nothing(patch)
        assert main(["solve", "small.toml", "--quiet"]) == 0
    return folder


@pytest.fixture
def folder(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder to work in."""
    shutil.copytree(workshop, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    _draw_nothing(monkeypatch)
    return tmp_path / "copy"


def _message(capsys: pytest.CaptureFixture[str], argv: list[str]) -> str:
    capsys.readouterr()
    code = main(argv)
    out, err = capsys.readouterr()
    assert code == 2, (out, err)
    assert err.startswith("pinnx: error: ")
    assert len(err.splitlines()) == 1
    return err


def test_a_run_is_solved_and_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", "small.toml", "--output", "second", "--set", "solver.steps=4"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "run directory: second\n" in out
    result = json.loads((folder / "second" / "result.json").read_text())
    assert (result["status"], result["steps"], result["seed"]) == ("done", 4, 8117)
    assert main(["report", "second"]) == 0
    assert capsys.readouterr().out == f"{Path('second/report.html')}\n"


def test_the_case_of_the_run_directory_is_the_case(folder: Path) -> None:
    from pinnx.case import load_case

    assert load_case("run/case.toml") == load_case("small.toml")


def test_a_run_of_the_users_equation_can_be_moved(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", "mine.toml", "--quiet"]) == 0
    (folder / "mine").rename(folder / "moved")
    (folder / "mine.py").unlink()
    assert main(["resume", "moved", "--quiet"]) == 0


def test_quiet_is_quiet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", "run", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_signal_of_choice_stops_a_run_which_goes_on_by_itself(folder: Path, capsys, monkeypatch) -> None:
    original = PinnTraining.step

    def step(self: PinnTraining) -> dict[str, float]:
        if self.step_number == 3:
            signal.raise_signal(signal.SIGUSR1)
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(PinnTraining, "step", step)
        words = ["solve", "small.toml", "--output", "other", "--quiet", "--stop-on", "USR1"]
        assert main(words) == 3
    assert "SIGUSR1 ended the run after step 4 of 6" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    found, whole = (read_metrics(folder / name / "metrics.h5") for name in ("other", "run"))
    assert found["loss"].tolist() == whole["loss"].tolist()


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [("problem", "mine.py:19: KeyError: 'no domain'"), ("shape", "mine.py:15: RuntimeError: ")],
)
def test_a_mistake_of_the_users_equation_is_shown_there(folder, capsys, mistake: str, sentence: str) -> None:
    message = _message(capsys, ["solve", "mine.toml", "--quiet", "--set", f"equation.mistake={mistake}"])
    assert sentence in message


def _nothing(run: Path) -> None:
    shutil.rmtree(run)


def _a_file(run: Path) -> None:
    shutil.rmtree(run)
    run.write_text("")


def _no_case(run: Path) -> None:
    (run / "case.toml").unlink()


def _bad_case(run: Path) -> None:
    (run / "case.toml").write_text((run / "case.toml").read_text().replace("width = 6", 'width = "six"'))


def _other_case(run: Path) -> None:
    (run / "case.toml").write_text((run / "case.toml").read_text().replace("width = 6", "width = 7"))


def _checkpoints(content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        for file in (run / "checkpoints").iterdir():
            file.write_bytes(content(file.read_bytes()))

    return spoil


def _bad_result(run: Path) -> None:
    (run / "result.json").write_text('{"status": ')


def _bad_metrics(run: Path) -> None:
    (run / "metrics.h5").write_bytes(b"no HDF5")


DAMAGES: dict[str, tuple[Callable[[Path], None], list[str], str]] = {
    "missing": (_nothing, ["resume", "run"], "run: no such run directory"),
    "missing, report": (_nothing, ["report", "run"], "run: no such run directory"),
    "a file": (_a_file, ["resume", "run"], "run: expected a run directory, found a file"),
    "a file, solve": (_a_file, ["solve", "small.toml"], "run: is a file; expected a directory for the run"),
    "no case": (_no_case, ["resume", "run"], "run: not a run directory: expected the file case.toml in it"),
    "no case, report": (_no_case, ["report", "run"], "run: not a run directory: expected the file case.toml in it"),
    "no case, solve": (_no_case, ["solve", "small.toml"], "run: is not empty"),
    "bad case": (_bad_case, ["resume", "run"], "network.width: expected an integer, found the string"),
    "another case": (_other_case, ["resume", "run"], "does not fit the case in case.toml"),
    "empty checkpoints": (_checkpoints(lambda _: b""), ["resume", "run"], "not a checkpoint of pinnx, or damaged"),
    "cut checkpoints": (
        _checkpoints(lambda all: all[:-99]),
        ["resume", "run"],
        "not a checkpoint of pinnx, or damaged",
    ),
    "solve twice": (lambda run: None, ["solve", "small.toml"], "run: holds a run already"),
    "resume another": (
        lambda run: None,
        ["solve", "small.toml", "--resume", "--set", "network.width=9"],
        "holds a run of another case: network.width is 6 there, 9 here",
    ),
    "bad result": (_bad_result, ["report", "run"], "result.json"),
    "bad metrics": (_bad_metrics, ["report", "run"], "metrics.h5"),
    "no device": (
        lambda run: None,
        ["solve", "small.toml", "--device", "cuda:97", "--output", "x"],
        "device: asks for",
    ),
    "not writable": (lambda run: None, ["solve", "small.toml", "--output", "small.toml/run"], "small.toml"),
}


@pytest.mark.parametrize(("damage", "argv", "sentence"), DAMAGES.values(), ids=DAMAGES)
def test_malformed_run_directories(
    folder, capsys, damage: Callable[[Path], None], argv: list[str], sentence: str
) -> None:
    damage(folder / "run")
    assert sentence in _message(capsys, argv)


def test_check_tells_what_a_run_costs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "small.toml", "--set", "network.width=100"]) == 0
    figures = capsys.readouterr().out.partition("\n\n")[0]
    lines = dict(line.strip().split("  ", 1) for line in figures.splitlines()[1:])
    assert lines["parameters"].strip() == "10 501"  # 3·100 + 101·100 + 101
    assert lines["time per step"].endswith(" s")
    assert set(folder.iterdir()) == {folder / name for name in ("small.toml", "mine.toml", "mine.py", "run")}


def test_check_compares_estimators(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["small.toml", "--set", "solver.derivatives.kind=hutchinson", "--set", "solver.derivatives.samples=4"]
    assert main(["check", *settings]) == 0
    compact = capsys.readouterr().out
    for word in ("* hutchinson, orthogonal, row space", "  taylor (exact)", "  sdgd", "time / step", 'kind = "auto"'):
        assert word in compact
    assert "MiB" not in compact.partition("derivatives (*")[2]
    assert main(["check", *settings, "--estimators"]) == 0
    full = capsys.readouterr().out.partition("derivatives (*")[2]
    for word in ("Stein", "memory / step", "bias of square", "fixed points"):
        assert word in full


def test_check_gives_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "small.toml", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["parameters"] == 6 * 3 + 6 * 7 + 7
    assert [each["kind"] for each in table["diagnostics"]["estimators"]][:2] == ["taylor", "smoothing"]


def test_check_says_which_estimators_cannot_serve(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "mine.toml", "--set", "equation.name=burgers-1d", "--estimators"]) == 0
    assert "smoothing" in capsys.readouterr().out


def test_values_at_points_and_on_a_slice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "points.csv").write_text("x1,x2\n0.25,0.5\n0.5,0.75\n")
    assert main(["evaluate", "run", "--points", "points.csv", "--output", "values.csv"]) == 0
    assert capsys.readouterr().out == "values.csv\n"
    assert (folder / "values.csv").read_text().startswith("x1,x2,u,u_exact,u_error\n")
    for kind in ("vtu", "xdmf", "h5", "csv"):
        assert main(["export", "run", "--to", kind, "--output", f"field.{kind}"]) == 0
        assert (folder / f"field.{kind}").stat().st_size > 0


def test_runs_are_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", "small.toml", "--quiet", "--output", "wide", "--set", "network.width=9"]) == 0
    assert main(["compare", "run", "wide"]) == 0
    table = capsys.readouterr().out
    assert "run" in table
    assert "wide" in table
    assert "width" in table


POINTS: dict[str, tuple[str, bytes, str]] = {
    "text": ("p.csv", b"x1,x2\n0.5,half\n", "p.csv"),
    "columns": ("p.csv", b"x1,x2,x3\n0.5,0.5,0.5\n", "p.csv"),
    "names": ("p.csv", b"x1,y\n0.5,0.5\n", "p.csv"),
    "ragged": ("p.csv", b"x1,x2\n0.5,0.5\n0.5\n", "p.csv"),
    "not finite": ("p.csv", b"x1,x2\n0.5,nan\n", "p.csv"),
    "no text": ("p.csv", b"\xff\xfe\x00", "p.csv"),
    "no NPY": ("p.npy", b"no array", "p.npy"),
    "no HDF5": ("p.h5", b"no HDF5", "p.h5"),
    "no VTU": ("p.vtu", b"<VTKFile>", "p.vtu"),
    "no such kind": ("p.xlsx", b"", "p.xlsx"),
}


@pytest.mark.parametrize(("name", "content", "sentence"), POINTS.values(), ids=POINTS)
def test_malformed_points(folder: Path, capsys, name: str, content: bytes, sentence: str) -> None:
    (folder / name).write_bytes(content)
    assert sentence in _message(capsys, ["evaluate", "run", "--points", name])


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["evaluate", "run", "--points", "none.csv"], "none.csv: no such file"),
        (["evaluate", "none", "--points", "none.csv"], "none: no such run directory"),
        (["export", "none", "--to", "vtu"], "none: no such run directory"),
        (["export", "run", "--to", "vtu", "--output", "."], "is a folder"),
        (["compare", "run", "none"], "none: no such run directory"),
        (["check", "small.toml", "--device", "cuda:97"], "device: asks for 'cuda:97', but "),
        (["check", "mine.toml", "--set", "equation.mistake=problem"], "mine.py:19: KeyError: 'no domain'"),
    ],
)
def test_malformed_requests(folder: Path, capsys, argv: list[str], sentence: str) -> None:
    assert sentence in _message(capsys, argv)


@pytest.mark.parametrize(
    ("file", "content", "argv", "sentence"),
    [
        ("run/case.toml", b"\xff\xfe", ["resume", "run"], "case.toml: not a text in UTF-8"),
        ("p.csv", b"", ["evaluate", "run", "--points", "p.csv"], "p.csv"),
        ("p.csv", b"x1,x2\n", ["evaluate", "run", "--points", "p.csv"], "p.csv"),
    ],
    ids=["binary case", "empty points", "no rows"],
)
def test_files_without_content(folder: Path, capsys, file: str, content: bytes, argv: list[str], sentence: str) -> None:
    (folder / file).write_bytes(content)
    assert sentence in _message(capsys, argv)
