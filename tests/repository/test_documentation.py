"""The examples are run: those of the docstrings, and those of the pages."""

from __future__ import annotations

import doctest
import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import pinnx

ROOT = Path(__file__).parents[2]
PACKAGE = Path(pinnx.__file__).parent


def _modules_with_examples() -> list[str]:
    found = []
    for folder, subfolders, files in os.walk(PACKAGE, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if name != "__pycache__")
        for name in sorted(files):
            path = Path(folder, name)
            if path.suffix == ".py" and ">>> " in path.read_text(encoding="utf-8"):
                dotted = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
                found.append(dotted.removesuffix(".__init__"))
    return found


@pytest.mark.parametrize("module", _modules_with_examples())
def test_docstring_examples(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(importlib.import_module(module), optionflags=options)
    assert result.attempted > 0
    assert result.failed == 0, "see the captured output"


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
