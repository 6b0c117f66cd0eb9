"""The layout that DESIGN promises to a user: names, versions, what ships, what does not."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import metadata, version
from importlib.resources import files
from pathlib import Path

import pytest

import pinnx

ROOT = Path(__file__).parents[2]
in_checkout = pytest.mark.skipif(not (ROOT / "Makefile").is_file(), reason="the tests run outside the tree")


def _python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


@in_checkout
@pytest.mark.parametrize("name", ["equations", "solvers"])
def test_bare_name_is_refused_and_the_dotted_one_named(name: str) -> None:
    result = _python(f"import {name}", ROOT)
    assert result.returncode != 0
    assert result.stderr.strip().splitlines()[-1].startswith("ImportError")
    assert f"import pinnx.{name}" in result.stderr


@pytest.mark.parametrize("name", ["equations", "solvers"])
def test_dotted_name_is_imported(name: str, tmp_path: Path) -> None:
    result = _python(f"import pinnx.{name}", tmp_path)
    assert result.returncode == 0, result.stderr


@in_checkout
@pytest.mark.parametrize("name", ["equations", "solvers"])
def test_links_are_relative(name: str) -> None:
    link = ROOT / "pinnx" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..", name)


@pytest.mark.parametrize("module", ["pinnx", "pinnx.cli", "pinnx.registry", "pinnx.run"])
def test_import_is_quick(module: str, tmp_path: Path) -> None:
    """These alone must not load torch: it takes seconds, and `pinnx --help` should not."""
    result = _python(f"import {module}, sys; print('torch' in sys.modules)", tmp_path)
    assert result.stdout.strip() == "False", result.stderr


def test_version_is_stated_once() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", pinnx.__version__)
    assert version("pinnx") == pinnx.__version__, "the installed metadata is old: remove .venv/.ready, run make setup"


def test_license_is_stated() -> None:
    assert metadata("pinnx")["License-Expression"] == "Apache-2.0"


@in_checkout
def test_citation_and_changelog_know_the_version() -> None:
    assert f"version: {pinnx.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changelog or f"## [{pinnx.__version__}]" in changelog


def test_type_marker_ships() -> None:
    assert files("pinnx").joinpath("py.typed").is_file()


def _tracked_text() -> list[tuple[str, str]]:
    """Every text file that git tracks, with its content."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = []
    for name in filter(None, listing.split("\0")):
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if b"\0" not in content:
                found.append((name, content.decode("utf-8")))
    return found


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git history here")
def test_no_path_of_a_machine_is_committed() -> None:
    """Absolute paths of somebody's machine, and package indexes by name, work nowhere else."""
    forbidden = re.compile(r"(?<![\w.])/(home|root|Users|work|opt|mnt)/[\w.-]+|--(extra-)?index-url|--find-links")
    here = Path(__file__).name
    found = [
        f"{name}: {match.group()}"
        for name, text in _tracked_text()
        if not name.endswith(here) and (match := forbidden.search(text))
    ]
    assert not found, "\n".join(found)


@in_checkout
def test_constraints_are_exact_and_cover_every_requirement() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins), "one exact version a line"
    pinned = {_canonical(pin.split("==")[0]) for pin in pins}
    required = {_canonical(re.split(r"[^\w.-]", text)[0]) for text in metadata("pinnx").get_all("Requires-Dist") or ()}
    assert required - {"pinnx"} <= pinned


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
