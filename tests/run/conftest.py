"""A small case whose equation is a user's own file, and runs of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pinnx.case import Case, load_case
from pinnx.run import execute

HERE = Path(__file__).parent

CASE = """
title = "Fading <i>&amp; all</i>"
seed = 90263
[equation]
name = "./equation_file.py:Fading"
[network]
kind = "mlp"
width = 8
depth = 2
[solver]
kind = "pinn"
steps = 60
points = 8
evaluate_every = 25
precision = "float64"
[output]
every = 4
checkpoint_every = 7
"""

LoadCase = Callable[..., Case]


@pytest.fixture(scope="session")
def case_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a case file and the user's files that it needs."""
    folder = tmp_path_factory.mktemp("case")
    for name in ("equation_file.py", "beside.py"):
        shutil.copy(HERE / name, folder)
    (folder / "case.toml").write_text(CASE)
    return folder


@pytest.fixture(scope="session")
def load(case_folder: Path) -> LoadCase:
    """Load the case, with settings."""
    return lambda *settings: load_case(case_folder / "case.toml", settings)


@pytest.fixture(scope="session")
def finished(load: LoadCase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that went to its end; do not change it."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    execute(load(), directory, quiet=True)
    return directory


@pytest.fixture
def run_copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be changed at will."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture
def figures() -> None:
    """Ask for this where figures and report are to be made."""


@pytest.fixture(autouse=True)
def _no_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw no figures unless a test asks for them: drawing takes far longer than training here."""
    if "figures" not in request.fixturenames:
        monkeypatch.setattr("pinnx.run.running.write_figures_and_report", lambda *arguments: None)
