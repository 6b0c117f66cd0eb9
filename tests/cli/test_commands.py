"""What the commands print and return; the room that computes is replaced by a recorder."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import pinnx
from pinnx import registry
from pinnx.cli import main
from pinnx.cli.check import figures
from pinnx.errors import DivergedError, InputError
from pinnx.run import Manner
from pinnx.status import Outcome, Status

COMMANDS = ["solve", "check", "list", "show", "resume", "report", "compare", "evaluate", "export", "cite"]

MINE = """\
from __future__ import annotations
from dataclasses import dataclass
from pinnx.expr import laplacian
from pinnx.options import at_least, option
from pinnx.problem import Equation, Problem

@dataclass(frozen=True)
class Mine(Equation):
    \"\"\"Minus the Laplacian is a rate.

    Example:
        >>> Mine()
    \"\"\"
    references = ("A. Author. A paper. 1931.",)
    dimension: int = option(3, "dimension of space", at_least(1))
    rate: float = 1.0
    def residual(self, u):
        return laplacian(u) + self.rate
    def problem(self):
        return {}["problem"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "mine.toml").write_text('[equation]\nname = "./mine.py:Mine"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A recorder in the place of `pinnx.run`: what was called, and what it is to answer."""
    recorder = SimpleNamespace(calls=[], status=Status(Outcome.DONE, "300 steps in 2 s"), error=None)
    module: Any = ModuleType("pinnx.run")

    def record(name: str, answer: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            recorder.calls.append((name, args, kwargs))
            if recorder.error is not None:
                raise recorder.error
            return answer(*args)

        return call

    real = importlib.import_module("pinnx.run")
    module.__path__, module.Manner = real.__path__, real.Manner
    several: Any = ModuleType("pinnx.hpc.execution")
    several.execute = record(
        "execute", lambda case, directory: SimpleNamespace(status=recorder.status, directory=directory)
    )
    several.resume = record("resume", lambda directory: SimpleNamespace(status=recorder.status, directory=directory))
    monkeypatch.setitem(sys.modules, "pinnx.hpc.execution", several)
    module.report = record("report", lambda directory: directory / "report.html")
    module.compare = record("compare", lambda directories: "a table")
    module.evaluate = record("evaluate", lambda directory, points, output: output or directory / "values.csv")
    module.export = record("export", lambda directory, to, output: output or directory / f"field.{to}")
    module.check = record(
        "check", lambda case: {"parameters": 12345, "memory_bytes": 2**20, "seconds_per_step": 0.0123}
    )
    monkeypatch.setitem(sys.modules, "pinnx.run", module)
    return recorder


def _torch_after(*argv: str) -> str:
    code = f"import sys; from pinnx.cli import main; code = main({list(argv)!r}); "
    code += "print(code, sorted({'torch', 'numpy', 'rich', 'matplotlib'} & set(sys.modules)), file=sys.stderr)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.strip()


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], ["solve", "--help"], ["list"], ["list", "networks"], ["check", "--schema"]]
)
def test_light_commands_do_not_import_torch(argv: list[str]) -> None:
    assert _torch_after(*argv) == "0 []"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, "--help"]) == 0
    page = capsys.readouterr().out
    assert f"usage: pinnx {command}" in page
    assert f"\n  pinnx {command}" in page.partition("example")[2]
    assert main(["--help"]) == 0
    assert f"\n    {command} " in capsys.readouterr().out


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "exit codes:" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"pinnx {pinnx.__version__}, Python 3.")


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    everything = capsys.readouterr().out
    for family, members in registry.REGISTRY.items():
        assert f"{family}\n" in everything
        assert all(f"  {name} " in everything and entry.summary in everything for name, entry in members.items())
    assert main(["list", "solvers"]) == 0
    assert "adam" not in capsys.readouterr().out


def test_show_an_equation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "./mine.py:Mine", "--set", "rate=4.5"]) == 0
    assert capsys.readouterr().out == (
        "./mine.py:Mine (equations)\n\nMinus the Laplacian is a rate.\n\n"
        "Equation\n  laplacian(u) + 4.5 = 0\n  LaTeX: \\Delta u + 4.5 = 0\n\n"
        "Options\n  dimension  integer; default: 3\n             dimension of space (must be at least 1)\n"
        "  rate       number; default: 1.0\n\n"
        "References\n  A. Author. A paper. 1931.\n"
    )


def test_show_what_is_no_equation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "pinn"]) == 0
    page = capsys.readouterr().out
    assert 'optimizer         table with "kind"; default: kind = "adam"' in page
    assert '"float32" or "float64"; default: "float32"' in page
    assert 'clip_gradient     number or "none"; default: "none"' in page
    assert "(must be greater than 0)" in page


def test_cite(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for subject in ("mine.toml", "./mine.py:Mine"):
        assert main(["cite", subject]) == 0
        first, *others = capsys.readouterr().out.splitlines()
        assert first.startswith("The pinnx authors. pinnx: ")
        assert others[0] == "A. Author. A paper. 1931."


def test_check(folder: Path, room: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "mine.toml", "--device", "cpu"]) == 0
    assert capsys.readouterr().out == (
        "mine.toml: Mine\n  parameters     12 345\n  memory         1.0 MiB\n  time per step  0.0123 s\n"
    )
    ((_, (case,), _),) = room.calls
    assert case.device == "cpu"


def test_figures_of_all_kinds() -> None:
    table = {"notes": ["one", "two"], "peak_bytes": None, "ok": True, "loss": 0.123456, "device": "cpu"}
    assert figures(table) == [
        "  notes   one",
        "  notes   two",
        "  peak    unknown",
        "  ok      yes",
        "  loss    0.1235",
        "  device  cpu",
    ]


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"].keys() >= {"equation", "network", "solver", "seed"}


def test_solve(folder: Path, room: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", "mine.toml", "--set", "solver.steps=300", "--output", "runs/b", "--resume", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    ((name, (case, directory), options),) = room.calls
    assert (name, directory, options) == ("execute", Path("runs/b"), {"resume": True, "manner": Manner(quiet=True)})
    assert case.solver.steps == 300
    assert tomllib.loads(case.to_toml())["output"]["directory"] == "runs/b"
    assert main(["solve", "mine.toml"]) == 0
    assert capsys.readouterr().out == "300 steps in 2 s\nrun directory: runs/mine\n"


@pytest.mark.parametrize(
    ("argv", "call", "out"),
    [
        (
            ["resume", "runs/a"],
            ("resume", (Path("runs/a"),), {"manner": Manner()}),
            "300 steps in 2 s\nrun directory: runs/a",
        ),
        (["report", "runs/a"], ("report", (Path("runs/a"),), {}), "runs/a/report.html"),
        (["compare", "runs/a", "b"], ("compare", ([Path("runs/a"), Path("b")],), {}), "a table"),
        (["evaluate", "a", "--points", "p.csv"], ("evaluate", (Path("a"), Path("p.csv"), None), {}), "a/values.csv"),
        (["export", "a", "--to", "vtu", "--output", "f"], ("export", (Path("a"), "vtu", Path("f")), {}), "f"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_commands_on_runs(room: SimpleNamespace, capsys, argv: list[str], call: tuple[Any, ...], out: str) -> None:
    assert main(argv) == 0
    assert room.calls == [call]
    assert capsys.readouterr().out == f"{out}\n"


@pytest.mark.parametrize(
    ("outcome", "code"), [(Outcome.STOPPED, 3), (Outcome.DIVERGED, 4), (Outcome.FAILED, 4), (Outcome.DONE, 0)]
)
def test_exit_codes_follow_the_status(folder: Path, room: SimpleNamespace, capsys, outcome: Outcome, code: int) -> None:
    room.status = Status(outcome, "what happened")
    assert main(["solve", "mine.toml"]) == code
    out, err = capsys.readouterr()
    assert (err == "") == (code == 0)
    assert (code == 0) or err == f"pinnx: {outcome.value}: what happened\n"
    assert (code == 0) == ("run directory" in out)


class OutOfMemoryError(RuntimeError):
    """As torch's."""


ERRORS = [
    (InputError("is wrong", file="x", line=3, key="k"), 2, "pinnx: error: x:3: k: is wrong\n"),
    (DivergedError("at step 3"), 4, "pinnx: error: at step 3\n"),
    (KeyboardInterrupt(), 130, "pinnx: interrupted\n"),
    (MemoryError(), 4, "pinnx: error: out of memory (no details); lower solver.points"),
    (OutOfMemoryError("CUDA out of memory. Tried to allocate\n more"), 4, "out of memory (CUDA out of memory); lower"),
    (PermissionError(13, "Permission denied", "/runs"), 2, "pinnx: error: /runs: Permission denied\n"),
]


@pytest.mark.parametrize(("error", "code", "message"), ERRORS, ids=lambda value: type(value).__name__)
def test_errors_are_messages(folder, room, capsys, error: BaseException, code: int, message: str) -> None:
    room.error = error
    assert main(["solve", "mine.toml"]) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1


def test_what_the_users_code_raises_later_is_shown_there(folder, room, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys.modules["pinnx.run"], "check", lambda case: case.equation.problem())
    assert main(["check", "mine.toml"]) == 2
    line = MINE.splitlines().index('        return {}["problem"]') + 1
    assert capsys.readouterr().err == f"pinnx: error: {folder / 'mine.py'}:{line}: KeyError: 'problem'\n"


def test_a_bug_shows_its_traceback_and_where_to_report_it(folder, room, capsys) -> None:
    room.error = RuntimeError("our mistake")
    assert main(["solve", "mine.toml"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "RuntimeError: our mistake" in err
    assert "this is a bug in pinnx" in err


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"'{sys.executable}' -m pinnx list | head -n 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("equations\n", "")


def test_a_terminal_without_the_letters_gets_question_marks() -> None:
    command = [sys.executable, "-m", "pinnx", "list", "equations"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(pinnx.__file__).parents[1])}
    result = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert b"u_t = ??u" in result.stdout
