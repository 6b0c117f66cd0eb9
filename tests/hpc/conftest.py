"""A folder with a tiny case, and commands that run in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pinnx.cli import main
from tests.small import POISSON

CASE = f"""\
title = "Tiny"
seed = 8117
{POISSON}steps = 5
[output]
every = 2
"""

MINE = """\
from __future__ import annotations
from dataclasses import dataclass
import kept_beside
from pinnx.domain import Box
from pinnx.expr import Coefficient, laplacian
from pinnx.problem import Equation, Problem

@dataclass(frozen=True)
class Mine(Equation):
    factor: float = 1.0

    def residual(self, u):
        return laplacian(u) - self.factor * Coefficient("g", kept_beside.source)

    def problem(self):
        return Problem(self, Box(0.0, 1.0, dimension=2))
"""

BESIDE = """\
def source(points):
    return points.x.prod(1)
"""

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder but for the cases, which is the current one."""
    (tmp_path / "tiny.toml").write_text(CASE)
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "mine.py").write_text(MINE)
    (tmp_path / "user" / "kept_beside.py").write_text(BESIDE)
    (tmp_path / "user" / "alone").mkdir()
    (tmp_path / "user" / "alone" / "alone.py").write_text(
        MINE.replace("import kept_beside\n", "").replace("kept_beside.source", "lambda points: points.x.prod(1)")
    )
    for place in ("mine.py", "alone/alone.py"):
        own = CASE.replace('name = "poisson"\ndimension = 2', f'name = "./{place}:Mine"')
        (tmp_path / "user" / f"{Path(place).stem}.toml").write_text(own)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PINNX_SITE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in the folder: its exit code, what it printed and what it complained of."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        output, errors = capsys.readouterr()
        return code, output, errors

    return run
