"""The pages of the documentation: their examples are run, and the commands, names and files that they tell of exist."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import pinnx
from pinnx.cli.main import main, parser
from pinnx.registry import REGISTRY

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, the mark above it, the file that its `title` names, its text, and the
    number of its first line."""

    language: str
    mark: str | None
    title: str | None
    text: str
    line: int


# <!-- run -->
# ```python title="poisson.py"
_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>run|illustration) -->\n)?```(?P<language>\w+)(?P<info>[^\n]*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


_STEPS = re.compile(r"(\bsteps ?= ?)(\d[\d_]*)")
FEW_STEPS = 20


def _blocks(page: Path, *, illustrations: bool = False) -> list[Block]:
    """The blocks of a page; those below `<!-- illustration -->` are shown but not run."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            match["language"],
            match["mark"],
            title.group(1) if (title := re.search(r'title="([^"]+)"', match["info"])) else None,
            _STEPS.sub(lambda steps: f"{steps[1]}{min(int(steps[2]), FEW_STEPS)}", match["text"]),
            text.count("\n", 0, match.start("text")) + 1,
        )
        for match in _FENCE.finditer(text)
        if illustrations or match["mark"] != "illustration"
    ]


PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if page.is_file()]


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _is_run(block: Block) -> bool:
    return block.language == "python" or (block.language == "console" and block.mark == "run")


@pytest.mark.parametrize("page", [page for page in PAGES if any(map(_is_run, _blocks(page)))], ids=_name)
def test_pages(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Blocks with a title are written to that file; Python blocks are run in order, in one namespace a page, and so are
    the commands of the console blocks below `<!-- run -->`. All of it with few steps, whatever the page says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in _blocks(page):
        if block.title is not None:
            Path(block.title).write_text(block.text, encoding="utf-8")
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), namespace)
        elif _is_run(block):
            for command, expected in _commands(block):
                capfd.readouterr()
                code = _execute(command)
                output = "".join(capfd.readouterr())
                assert code == (2 if "error:" in expected else 0), f"{command}\n{output}"
                _assert_shown(expected, output)


def _commands(block: Block) -> Iterator[tuple[list[str], str]]:
    """The commands of a console block as words, each with the output that the page shows.

    With a prompt "$ " before the commands, the other lines are output; without, every line is a command.
    """
    text = re.sub(r"\\\n\s*", "", block.text)
    if "$ " not in text:
        text = "".join(f"$ {line}\n" for line in text.splitlines())
    for part in text.split("$ ")[1:]:
        line, _, output = part.partition("\n")
        if words := shlex.split(line, comments=True):
            yield words, output.strip()


def _execute(command: list[str]) -> int:
    if command[0] == "pinnx":
        return main(command[1:])
    assert command[0] == "pytest", f"pages run pinnx and pytest only, not {command}"
    place = {"PYTHONPATH": str(Path(pinnx.__file__).parents[1])}  # also where pinnx is not installed
    run = [sys.executable, "-m", "pytest", "-q", *command[1:]]
    return subprocess.run(run, env={**os.environ, **place}, check=False).returncode


def _assert_shown(expected: str, output: str) -> None:
    """The lines that the page shows are among those printed, in order; "…" stands for anything."""
    lines = [re.escape(" ".join(line.split())).replace("…", ".*") for line in expected.splitlines() if line.strip()]
    printed = "\n".join(" ".join(line.split()) for line in output.splitlines())
    assert re.search("(.|\n)*".join(lines), printed), f"expected\n{expected}\nprinted\n{output}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_exist(page: Path) -> None:
    """Every command line that a page shows, run or not, is one that the parser takes; so is every goal of make."""
    goals = _goals()
    for block in _blocks(page, illustrations=True):
        for command, _ in _commands(block) if block.language == "console" else ():
            if command[0] == "pinnx":
                parser().parse_args(command[1:])
            elif command[0] == "make" and goals:
                assert {word for word in command[1:] if "=" not in word} <= goals, f"line {block.line}: {command}"
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`pinnx ([a-z][a-z-]*)\b", text))
    assert named <= _subparsers().keys(), f"no such command: {named - _subparsers().keys()}"
    assert not goals or set(re.findall(r"`make ([a-z][a-z-]*)\b", text)) <= goals


def _goals() -> set[str]:
    """What make can be asked for; empty outside the tree."""
    makefile = ROOT / "Makefile"
    if not makefile.is_file():
        return set()
    return set(re.findall(r"^([a-z-]+):.*## ", makefile.read_text(encoding="utf-8"), re.MULTILINE))


def _subparsers() -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands, by name."""
    (commands,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return commands.choices


@pytest.mark.parametrize("command", _subparsers())
def test_the_page_of_commands_tells_every_flag(command: str) -> None:
    """docs/command-line.md has a section for the command, with its arguments and flags, and no others."""
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## pinnx ([a-z]+)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))
    assert sections.keys() == _subparsers().keys()
    actions = [action for action in _subparsers()[command]._actions if action.dest != "help"]
    flags = {flag for action in actions for flag in action.option_strings}
    told = set(re.findall(r"(?<![\w-])--?[a-z]+(?:-[a-z]+)*\b", sections[command]))
    assert told <= flags, "these do not exist"
    assert {flag for flag in flags if flag.startswith("--")} <= told, "these are not told"
    for action in actions:
        if not action.option_strings:
            assert action.metavar in sections[command]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_names_exist(page: Path) -> None:
    """Every dotted name of pinnx and every Python file of the tree that a page names in code is there."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for name in re.findall(r"`(pinnx(?:\.\w+)+)", text):
        assert _exists(name), f"no {name}"
    for file in re.findall(r"`((?:pinnx|equations|solvers|tests|cases|docs|benchmarks)/[\w/.-]+\.\w+)`", text):
        assert not (ROOT / "Makefile").is_file() or (ROOT / file).is_file(), f"no {file}"


def _exists(name: str) -> bool:
    """Whether a dotted name is a module, an entry-point group or an attribute of a module."""
    if name.removeprefix("pinnx.") in REGISTRY:
        return True
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return module.startswith("pinnx") and hasattr(importlib.import_module(module), attribute)
    return True
