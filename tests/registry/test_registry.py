"""Names to classes and back, and what happens when the class is the user's."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from pinnx import registry
from pinnx.errors import InputError
from pinnx.problem import Equation
from pinnx.registry import lookup

NAMES = [(family, name) for family, members in registry.REGISTRY.items() for name in members]

MINE = """\
from __future__ import annotations
from dataclasses import dataclass
from pinnx.expr import laplacian
from pinnx.problem import Equation, Problem

@dataclass(frozen=True)
class Mine(Equation):
    rate: float = 2.5
    def residual(self, u):
        return laplacian(u) - self.rate
    def problem(self):
        return 1 / 0

class NoEquation:
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


@pytest.mark.parametrize(("family", "name"), NAMES)
def test_every_entry_is_a_frozen_dataclass_of_its_family(family: str, name: str) -> None:
    cls = registry.resolve(family, name)
    module, _, base = registry.BASES[family].partition(":")
    assert issubclass(cls, getattr(importlib.import_module(module), base))
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # pyright: ignore[reportAttributeAccessIssue]
    assert registry.identify(cls) == (family, name)
    if family != "equations":
        assert cls.kind == name


@pytest.mark.parametrize("family", registry.REGISTRY)
def test_every_base_is_known_by_its_type(family: str) -> None:
    module, _, base = registry.BASES[family].partition(":")
    assert registry.family_of(getattr(importlib.import_module(module), base)) == family


def test_names_are_listed_without_importing_torch() -> None:
    code = "import sys; from pinnx import registry; [registry.entries(f) for f in registry.REGISTRY]; "
    code += "registry.families_of('adam'); print([m for m in ('torch', 'numpy') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("family", "name", "hint"),
    [
        ("networks", "mpl", "did you mean 'mlp'?"),
        ("optimizers", "sgd", "known: adam, auto, engd, lbfgs, soap, spring, ssbroyden"),
        ("solvers", "./mine.py:Mine", "known: hard-constraint, linear-system, pinn"),
        ("network", "mlp", "did you mean 'networks'?"),
    ],
)
def test_unknown_names_list_the_known(family: str, name: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        registry.resolve(family, name)
    assert hint in str(error.value)


def test_a_file_gives_one_class_until_it_changes(folder: Path) -> None:
    first = registry.resolve("equations", "./mine.py:Mine", folder)
    assert first is registry.resolve("equations", str(folder / "mine.py:Mine"))
    assert first() == registry.resolve("equations", "./mine.py:Mine", folder)()
    assert registry.user_file(first) == folder / "mine.py"
    (folder / "mine.py").write_text(MINE.replace("2.5", "7.5"))
    assert registry.resolve("equations", "./mine.py:Mine", folder)().rate == 7.5


def test_a_class_of_a_file_is_named_by_its_path(folder: Path) -> None:
    cls = registry.resolve("equations", "./mine.py:Mine", folder)
    assert registry.identify(cls) == ("equations", f"{folder.as_posix()}/mine.py:Mine")
    assert registry.identify(cls, folder) == ("equations", "./mine.py:Mine")
    assert registry.identify(cls, folder / "elsewhere") == ("equations", f"{folder.as_posix()}/mine.py:Mine")


def test_a_class_of_a_module_beside_the_case(folder: Path) -> None:
    (folder / "beside_the_case.py").write_text(MINE)
    path = list(sys.path)
    cls = registry.resolve("equations", "beside_the_case:Mine", folder)
    assert issubclass(cls, Equation)
    assert registry.identify(cls) == ("equations", "beside_the_case:Mine")
    assert registry.user_file(cls) is None
    assert sys.path == path


def test_a_file_may_import_its_neighbour(folder: Path) -> None:
    (folder / "neighbour_of_mine.py").write_text("RATE = 3.5\n")
    (folder / "two.py").write_text("from neighbour_of_mine import RATE\n" + MINE.split("import annotations\n")[1])
    assert registry.resolve("equations", "./two.py:Mine", folder)().rate == 2.5


BAD_REFERENCES = {
    "no such file": ("./other.py:Mine", "", None, "no such file: "),
    "no class": ("./mine.py", "", None, "must name a place and a class, like './my_equation.py:MyEquation'"),
    "empty class": ("./mine.py:", "", None, "must name a place and a class"),
    "a folder": ("./folder.py:Mine", "", None, "cannot read "),
    "misspelt class": ("./mine.py:Mime", "", None, "has no class 'Mime'; did you mean 'Mine'?"),
    "nothing to mean": ("./bad.py:Mine", "x = 1\n", None, "it defines no subclass of Equation"),
    "no subclass": ("./mine.py:NoEquation", "", None, "must be a subclass of pinnx.problem.Equation"),
    "not a class": ("./bad.py:x", "x = 1\n", None, "must be a subclass of pinnx.problem.Equation"),
    "syntax": ("./bad.py:Mine", "x = 1\nclass Mine(:\n", 2, "not valid Python: "),
    "import": ("./bad.py:Mine", "\n\nimport no_such_package_of_mine\n", 3, "No module named 'no_such_package_of_mine'"),
    "at import": ("./bad.py:Mine", "def f():\n    return 1 / 0\nf()\n", 2, "ZeroDivisionError: division by zero"),
    "exit": ("./bad.py:Mine", "import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
    "torch at import": ("./bad.py:Mine", "import torch\ntorch.ones(2) @ torch.ones(3)\n", 2, "RuntimeError: "),
    "no module": ("no_such_package_of_mine.sub:Mine", "", None, "no module 'no_such_package_of_mine'"),
    "no submodule": ("email.no_such_module:Mine", "", None, "no module 'email.no_such_module'"),
    "module fails": ("bad_module_of_mine:Mine", "x = {}['key']\n", 1, "KeyError: 'key'"),
    "module imports": ("bad_module_of_mine:Mine", "import no_such_package_of_mine\n", 1, "No module named"),
    "a notebook": ("__main__:Mine", "", None, "Mine was defined in a script or notebook that is not running"),
    "module syntax": ("bad_module_of_mine:Mine", "x = (\n", 1, "not valid Python: "),
}


@pytest.mark.parametrize(("reference", "source", "line", "sentence"), BAD_REFERENCES.values(), ids=BAD_REFERENCES)
def test_each_bad_reference_is_one_message(
    folder: Path, reference: str, source: str, line: int | None, sentence: str
) -> None:
    (folder / "bad.py").write_text(source)
    (folder / "bad_module_of_mine.py").write_text(source)
    (folder / "folder.py").mkdir()
    importlib.invalidate_caches()
    with pytest.raises(InputError) as error:
        registry.resolve("equations", reference, folder)
    assert sentence in error.value.message
    assert error.value.line == line
    if line is not None:
        assert Path(str(error.value.file)).parent == folder


def test_a_mistake_in_the_users_code_is_told_from_ours(folder: Path) -> None:
    equation = registry.resolve("equations", "./mine.py:Mine", folder)()
    with pytest.raises(ZeroDivisionError) as theirs:
        equation.problem()
    mistake = registry.user_mistake(theirs.value)
    assert str(mistake) == f"{folder / 'mine.py'}:12: ZeroDivisionError: division by zero"
    with pytest.raises(KeyError) as ours:
        {}["ours"]
    assert registry.user_mistake(ours.value) is None
    assert registry.user_mistake(InputError("known")) is None


def _register(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    monkeypatch.setattr(lookup, "entry_points", lambda group: [point for point in points if point.group == group])


def test_packages_register_members(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.syspath_prepend(str(folder))
    (folder / "plugin_of_mine.py").write_text(MINE)
    _register(
        monkeypatch,
        EntryPoint("mine", "plugin_of_mine:Mine", "pinnx.equations"),
        EntryPoint("poisson", "plugin_of_mine:Mine", "pinnx.equations"),
        EntryPoint("gone", "plugin_of_mine:Gone", "pinnx.equations"),
        EntryPoint("other", "plugin_of_mine:NoEquation", "pinnx.solvers"),
    )
    assert registry.names("equations")[-2:] == ("mine", "gone")
    assert registry.identify(registry.resolve("equations", "mine")) == ("equations", "mine")
    assert registry.entries("equations")["poisson"].target.startswith("pinnx.equations.")
    with pytest.raises(InputError, match="'gone', from the package .*, cannot be imported: AttributeError"):
        registry.resolve("equations", "gone")
    with pytest.raises(InputError, match=r"'other', .*, is not a subclass of pinnx.solvers.base:Solver"):
        registry.resolve("solvers", "other")
