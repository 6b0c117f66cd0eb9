"""The docstrings: there is one for every public method, and their examples are run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import pinnx

PACKAGE = Path(pinnx.__file__).parent


def _modules() -> dict[str, Path]:
    """Dotted names and files of all modules of the package, those behind its links included."""
    found = {}
    for folder, subfolders, files in os.walk(PACKAGE, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if name != "__pycache__")
        for name in sorted(files):
            path = Path(folder, name)
            if path.suffix == ".py" and name != "__main__.py":
                dotted = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
                found[dotted.removesuffix(".__init__")] = path
    return found


MODULES = _modules()
WITH_EXAMPLES = [name for name, path in MODULES.items() if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_docstring_examples(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(importlib.import_module(module), optionflags=options)
    assert result.attempted > 0
    assert result.failed == 0, "see the captured output"


def _documentable(owner: type) -> Iterator[tuple[str, object]]:
    """The public methods and properties that the class itself defines."""
    for name, member in vars(owner).items():
        if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
            yield name, getattr(owner, name)


@pytest.mark.parametrize("module", MODULES)
def test_public_methods_are_documented(module: str) -> None:
    """Each has a docstring, its own or that of the contract it fulfills."""
    loaded = importlib.import_module(module)
    public = [
        value
        for name, value in vars(loaded).items()
        if inspect.isclass(value) and value.__module__ == module and not name.startswith("_")
    ]
    bare = [f"{owner.__name__}.{name}" for owner in public for name, m in _documentable(owner) if not inspect.getdoc(m)]
    assert not bare
