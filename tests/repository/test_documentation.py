"""The examples are run: those of the docstrings, and those of the pages."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import pinnx

ROOT = Path(__file__).parents[2]
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


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, the file that its `title` names, its text and its first line's number."""

    language: str
    title: str | None
    text: str
    line: int


# ```python title="poisson.py"
_FENCE = re.compile(r"^```(?P<language>\w+)(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


def _blocks(page: Path) -> list[Block]:
    """The blocks of a page; one whose info string says `illustration` is shown but not run."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            match["language"],
            title.group(1) if (title := re.search(r'title="([^"]+)"', match["info"])) else None,
            match["text"],
            text.count("\n", 0, match.start()) + 2,
        )
        for match in _FENCE.finditer(text)
        if "illustration" not in match["info"]
    ]


def _pages() -> list[Path]:
    pages = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if page.is_file()]
    return [page for page in pages if any(block.language == "python" for block in _blocks(page))]


@pytest.mark.parametrize("page", _pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks with a title are written to that file, Python blocks are run in order, in one namespace a page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in _blocks(page):
        if block.title is not None:
            Path(block.title).write_text(block.text, encoding="utf-8")
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), namespace)
