"""Malformed input: exit code 2 and one message that says where, what was found and what was expected."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pinnx
from pinnx.cli import main

MINE = """\
from __future__ import annotations
from dataclasses import dataclass
from pinnx.expr import laplacian
from pinnx.options import at_least, option
from pinnx.problem import Equation, Problem

@dataclass(frozen=True)
class Mine(Equation):
    dimension: int = option(3, "dimension of space", at_least(1))
    rate: float = 1.0
    def residual(self, u):
        return laplacian(u) - self.rate
    def problem(self):
        return {}["problem"]

class Plain(Equation):
    def residual(self, u):
        return u
    def problem(self):
        pass

@dataclass(frozen=True)
class Half(Equation):
    def residual(self, u):
        return u

@dataclass(frozen=True)
class Named(Mine):
    name: str = "x"

@dataclass(frozen=True)
class Untyped(Mine):
    what: NoSuchType = 3

@dataclass(frozen=True)
class Tensors(Mine):
    drift: Equation.__class__ = None

@dataclass(frozen=True)
class Picky(Mine):
    def __post_init__(self):
        if self.rate > 2:
            raise ValueError("the rate and the dimension do not go together")

@dataclass(frozen=True)
class Crashing(Mine):
    def __post_init__(self):
        self.rate.no_such_attribute

@dataclass(frozen=True)
class Needy(Equation):
    order: int
    residual = problem = lambda self, u=None: u
"""

# name: (text after '[equation]\nname = "./mine.py:Mine"\n', line, key, what the message says)
TABLES: dict[str, tuple[str, int | None, str, str]] = {
    "unknown key": ("dimensoin = 3", 3, "equation.dimensoin", "unknown key; did you mean 'dimension'?"),
    "unknown table": ("[solvers]", 3, "solvers", "unknown key; did you mean 'solver'?"),
    "unknown nested key": ("[solver.optimizer]\nlr = 1", 4, "solver.optimizer.lr", "unknown key; known: beta1, "),
    "unknown family member": ('[network]\nkind = "mpl"', 4, "network.kind", "no network 'mpl'; did you mean 'mlp'?"),
    "unknown nested member": (
        '[solver]\nderivatives.kind = "tailor"',
        4,
        "solver.derivatives.kind",
        "no derivatives 'tailor'; did you mean 'taylor'?",
    ),
    "kind of wrong type": ("[network]\nkind = 3", 4, "network.kind", "expected a string, found the integer 3"),
    "family from a string": (
        '[solver]\noptimizer = "adam"',
        4,
        "solver.optimizer",
        'expected a table with "kind", found the string "adam"; write { kind = "adam" }',
    ),
    "options of another kind": (
        '[solver.optimizer]\nkind = "lbfgs"\nbeta1 = 0.5',
        5,
        "solver.optimizer.beta1",
        "unknown key; known: history, ",
    ),
    "top-level key in a table": (
        "[solver]\nseed = 3",
        4,
        "solver.seed",
        "unknown key; it belongs at the top of the file",
    ),
    "string for integer": ('dimension = "3"', 3, "equation.dimension", 'expected an integer, found the string "3"'),
    "float for integer": (
        "dimension = 3.0",
        3,
        "equation.dimension",
        "expected an integer, found the float 3.0; write 3",
    ),
    "boolean for integer": ("dimension = true", 3, "equation.dimension", "expected an integer, found the boolean true"),
    "boolean for float": ("rate = false", 3, "equation.rate", "expected a number, found the boolean false"),
    "array for float": ("rate = [1.0]", 3, "equation.rate", "expected a number, found an array of 1"),
    "table for float": ("rate.x = 3", 3, "equation.rate", "expected a number, found a table"),
    "date for float": ("rate = 1979-05-27", 3, "equation.rate", "expected a number, found the date or time 1979-05-27"),
    "not a number": ("rate = nan", 3, "equation.rate", "expected a number, found nan"),
    "too large": (f"dimension = {10**30}", 3, "equation.dimension", "expected a number of at most 64 bits, found"),
    "integer for boolean": (
        "[solver]\ncompile = 1",
        4,
        "solver.compile",
        "expected true or false, found the integer 1",
    ),
    "choice": (
        '[solver]\nprecision = "float16"',
        4,
        "solver.precision",
        'expected "float32" or "float64", found the string "float16"',
    ),
    "limit": ("dimension = 0", 3, "equation.dimension", "must be at least 1, found the integer 0"),
    "limit of solver": ("[solver]\nsteps = 0", 4, "solver.steps", "must be at least 1, found the integer 0"),
    "limit of nested": (
        "[solver.optimizer]\n\nlearning_rate = -1e-3",
        5,
        "solver.optimizer.learning_rate",
        "must be greater than 0, found the float -0.001",
    ),
    "limit of network": ("[network]\nwidth = 0", 4, "network.width", "must be at least 1, found the integer 0"),
    "one of": ('[network]\nactivation = "relu"', 4, "network.activation", "must be one of 'tanh', "),
    "optional": ('[solver]\nclip_gradient = "off"', 4, "solver.clip_gradient", 'expected a number or "none", found'),
    "solver is no table": ("[[solver]]", 3, "solver", 'expected a table with "kind", found an array of 1'),
    "output directory": (
        "[output]\ndirectory = 3",
        4,
        "output.directory",
        'expected a path (a string) or "none", found',
    ),
    "output frequency": ("[output]\nevery = 0.5", 4, "output.every", "expected an integer, found the float 0.5"),
    "syntax: no value": ("rate =\n", 3, "", "not valid TOML: invalid value in column 7; strings need quotes"),
    "syntax: bare string": (
        "[network]\nkind = mlp",
        4,
        "",
        "not valid TOML: invalid value in column 8; strings need quotes",
    ),
    "syntax: no key": ("= 3", 3, "", "not valid TOML: invalid statement in column 1"),
    "syntax: open string": ('title = "x', 3, "", "not valid TOML: "),
    "syntax: open table": ("[network", 3, "", "not valid TOML: expected ']' at the end of a table declaration"),
    "syntax: key twice": (
        "rate = 1\nrate = 2\n",
        4,
        "",
        "not valid TOML: cannot overwrite a value in column 9; is the",
    ),
    "syntax: table twice": ("[solver]\n[solver]", 4, "", "not valid TOML: cannot declare ('solver',) twice in column"),
    "syntax: YAML": ("rate: 3", 3, "", "not valid TOML: expected '=' after a key in a key/value pair in column 5"),
    "syntax: nesting": (f"rate = {'[' * 5000}{']' * 5000}", None, "", "nested"),
}

# name: (whole text, line, key, what the message says)
TEXTS: dict[str, tuple[str, int | None, str, str]] = {
    "empty": ("", None, "", 'the case file is empty; expected at least the table [equation] with its "name"'),
    "only comments": ("# nothing\n\n", None, "", "the case file is empty"),
    "no equation": ("seed = 3\n", None, "equation", 'is missing; expected a table with "name" (the equation and'),
    "equation is a string": (
        'equation = "heat"',
        1,
        "equation",
        'expected a table with "name", found the string "heat"; write',
    ),
    "no name": ("[equation]\nrate = 1", 1, "equation.name", "is missing; expected one of 'allen-cahn', "),
    "unknown equation": (
        '[equation]\nname = "alen-cahn"',
        2,
        "equation.name",
        "no equation 'alen-cahn'; did you mean 'allen-cahn'?",
    ),
    "kind for name": ('[equation]\nkind = "heat"', 1, "equation.name", "is missing; expected one of "),
    "no such file": ('[equation]\nname = "./no.py:Mine"', 2, "equation.name", "no such file: "),
    "no class": ('[equation]\nname = "./mine.py"', 2, "equation.name", "must name a place and a class, like './my_equ"),
    "misspelt class": (
        '[equation]\nname = "./mine.py:Mime"',
        2,
        "equation.name",
        "has no class 'Mime'; did you mean 'Mine'",
    ),
    "no subclass": (
        '[equation]\nname = "pathlib:Path"',
        2,
        "equation.name",
        "must be a subclass of pinnx.problem.Equation",
    ),
    "no module": ('[equation]\nname = "no_such.thing:Mine"', 2, "equation.name", "no module 'no_such'"),
    "no dataclass": ('[equation]\nname = "./mine.py:Plain"', 2, "equation.name", "must be a dataclass: put @dataclass"),
    "abstract": ('[equation]\nname = "./mine.py:Half"', 2, "equation.name", "class Half does not define problem"),
    "reserved field": ('[equation]\nname = "./mine.py:Named"', 2, "equation.name", "has a field 'name', which"),
    "unknown type": ('[equation]\nname = "./mine.py:Untyped"', 1, "equation", "name 'NoSuchType' is not defined"),
    "no type for a file": ('[equation]\nname = "./mine.py:Tensors"\ndrift = 3', 3, "equation.drift", "cannot hold"),
    "own check": ('[equation]\nname = "./mine.py:Picky"\nrate = 3', 1, "equation", "the rate and the dimension do not"),
    "required": ('[equation]\nname = "./mine.py:Needy"', 1, "equation.order", "is missing; expected an integer"),
    "seed": ('seed = -1\nequation.name = "./mine.py:Mine"', 1, "seed", "must be at least 0, found the integer -1"),
    "device": (
        'device = "gpu"\nequation.name = "./mine.py:Mine"',
        1,
        "device",
        'must be "auto", "cpu", "mps", "cuda" or',
    ),
    "threads": (
        'threads = 0\nequation.name = "./mine.py:Mine"',
        1,
        "threads",
        "must be at least 1, found the integer 0",
    ),
    "title": ('title = 3\nequation.name = "./mine.py:Mine"', 1, "title", "expected a string, found the integer 3"),
}

# name: (words of the command line, what the message says)
FLAGS: dict[str, tuple[list[str], str]] = {
    "no such command": (["sovle"], "no such choice: 'sovle'; did you mean 'solve'? (see pinnx --help)"),
    "no such flag": (["solve", "good.toml", "--step", "3"], "unrecognized arguments: --step 3"),
    "no case": (["solve"], "the following arguments are required: CASE (see pinnx solve --help)"),
    "no case to check": (["check"], "CASE: expected a case file or --schema"),
    "no such file": (["solve", "missing.toml"], "no such file: missing.toml"),
    "a directory": (["solve", "."], ". is a directory, expected a case file (TOML)"),
    "a path through a file": (["solve", "good.toml/x.toml"], "good.toml/x.toml: cannot be read: Not a directory"),
    "a null byte": (["solve", "a\0b.toml"], "cannot be read: embedded null byte"),
    "binary": (["check", "binary.toml"], "binary.toml: not a text in UTF-8: byte 0xff at 0"),
    "latin-1": (["check", "latin.toml"], "latin.toml: not a text in UTF-8: byte 0xe9 at 10"),
    "a Python file": (["solve", "mine.py"], "mine.py:1: not valid TOML: expected '=' after a key"),
    "set without value": (
        ["solve", "good.toml", "--set", "seed"],
        "--set: expected key=value, such as solver.steps=2000",
    ),
    "set without word": (["solve", "good.toml", "--set"], "argument --set: expected one argument"),
    "set unknown": (["solve", "good.toml", "--set", "sed=3"], "--set sed=3: sed: unknown key; did you mean 'seed'?"),
    "set wrong type": (
        ["check", "good.toml", "--set", "seed=x"],
        "--set seed=x: seed: expected an integer, found the string",
    ),
    "set through a value": (
        ["check", "good.toml", "--set", "title.x=3"],
        "--set title.x=3: title: is a value, not a table",
    ),
    "set half a list": (
        ["check", "good.toml", "--set", "seed=[3"],
        "--set seed=[3: expected a TOML value or a bare word",
    ),
    "device": (["solve", "good.toml", "--device", "gpu"], '--device gpu: device: must be "auto", "cpu", "mps", "cuda"'),
    "list what": (["list", "equation"], "no such choice: 'equation'; did you mean 'equations'?"),
    "show what": (["show", "alen-cahn"], "nothing is called 'alen-cahn'; did you mean 'allen-cahn'?"),
    "show no file": (["show", "./no.py:Mine"], "no such file: "),
    "show set": (["show", "./mine.py:Mine", "--set", "dimension=0"], "equation.dimension: must be at least 1, found"),
    "show set of network": (["show", "mlp", "--set", "width=3"], "--set: 'mlp' is no equation"),
    "cite what": (["cite", "hjb"], "nothing is called 'hjb'"),
    "cite no file": (["cite", "missing.toml"], "no such file: missing.toml"),
    "evaluate without points": (["evaluate", "runs/x"], "the following arguments are required: --points"),
    "export to what": (
        ["export", "runs/x", "--to", "stl"],
        "argument --to: no such choice: 'stl'; known: csv, h5, vtu, xdmf",
    ),
    "compare nothing": (["compare"], "the following arguments are required: RUN"),
}

HEAD = '[equation]\nname = "./mine.py:Mine"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("malformed")
    (folder / "mine.py").write_text(MINE)
    (folder / "good.toml").write_text('title = "x"\n' + HEAD)
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00\x01")
    (folder / "latin.toml").write_bytes('title = "\u00e9"'.encode("latin-1").replace(b'= "', b'=  "'))
    return folder


def _message(capsys: pytest.CaptureFixture[str], argv: list[str]) -> str:
    """Run the command; it must fail as malformed input should."""
    code = main(argv)
    captured = capsys.readouterr()
    assert code == 2, captured
    assert captured.out == ""
    assert captured.err.startswith("pinnx: error: ")
    assert captured.err.count("pinnx: error") == 1
    assert "Traceback" not in captured.err
    return captured.err


def _check_file(capsys: pytest.CaptureFixture[str], text: str, expected: tuple[int | None, str, str]) -> None:
    Path("case.toml").write_text(text, encoding="utf-8")
    message = _message(capsys, ["solve", "case.toml"])
    line, key, sentence = expected
    place = f"case.toml:{line}: " if line else "case.toml: "
    assert f"{place}{key + ': ' if key else ''}" in message
    assert sentence in message


@pytest.mark.parametrize(("text", "line", "key", "sentence"), TABLES.values(), ids=TABLES)
def test_tables(folder, monkeypatch, capsys, text: str, line: int | None, key: str, sentence: str) -> None:
    monkeypatch.chdir(folder)
    _check_file(capsys, HEAD + text, (line, key, sentence))


@pytest.mark.parametrize(("text", "line", "key", "sentence"), TEXTS.values(), ids=TEXTS)
def test_whole_files(folder, monkeypatch, capsys, text: str, line: int | None, key: str, sentence: str) -> None:
    monkeypatch.chdir(folder)
    _check_file(capsys, text, (line, key, sentence))


@pytest.mark.parametrize(("argv", "sentence"), FLAGS.values(), ids=FLAGS)
def test_flags(folder, monkeypatch, capsys, argv: list[str], sentence: str) -> None:
    monkeypatch.chdir(folder)
    assert sentence in _message(capsys, argv)


def test_several_mistakes_are_one_block(folder, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    Path("several.toml").write_text(f"{HEAD}dimension = 0\nrat = 3\n[solver]\nsteps = 'x'\n")
    message = _message(capsys, ["check", "several.toml", "--set", "seed=x"])
    assert message.splitlines() == [
        "pinnx: error: 4 mistakes",
        '  --set seed=x: seed: expected an integer, found the string "x"',
        "  several.toml:3: equation.dimension: must be at least 1, found the integer 0",
        "  several.toml:4: equation.rat: unknown key; did you mean 'rate'?",
        '  several.toml:6: solver.steps: expected an integer, found the string "x"',
    ]


USER_CODE = {
    "syntax": ("class Mine(:\n", "broken.py:1: not valid Python: "),
    "import": ("\nimport no_such_package\n", "broken.py:2: ModuleNotFoundError: No module named 'no_such_package'"),
    "runs": ("x = 1\ny = x / 0\n", "broken.py:2: ZeroDivisionError: division by zero"),
}


@pytest.mark.parametrize(("source", "sentence"), USER_CODE.values(), ids=USER_CODE)
def test_a_mistake_in_the_users_file_is_shown_there(folder, monkeypatch, capsys, source: str, sentence: str) -> None:
    monkeypatch.chdir(folder)
    Path("broken.py").write_text(source)
    Path("case.toml").write_text('seed = 3\n[equation]\nname = "./broken.py:Mine"\n')
    message = _message(capsys, ["solve", "case.toml"])
    assert sentence in message
    assert "(imported for case.toml:3)" in message


def test_a_crash_of_the_users_class_is_shown_there(folder, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    Path("case.toml").write_text('[equation]\nname = "./mine.py:Crashing"\n')
    line = MINE.splitlines().index("        self.rate.no_such_attribute") + 1
    message = _message(capsys, ["solve", "case.toml"])
    assert f"mine.py:{line}: AttributeError: 'float' object has no attribute 'no_such_attribute'" in message


@pytest.mark.parametrize("argv", [["solve", "good.toml", "--set", "seed=x"], ["sovle"]])
def test_the_process_ends_with_the_exit_code(folder: Path, argv: list[str]) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(pinnx.__file__).parents[1])}
    command = [sys.executable, "-m", "pinnx", *argv]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("pinnx: error: ")
    assert result.stderr.count("\n") == 1


def test_there_are_enough_of_them() -> None:
    assert len(TABLES) + len(TEXTS) + len(FLAGS) + len(USER_CODE) >= 40
