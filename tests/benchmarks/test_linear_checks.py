"""The promises of the Krylov loop that the linear benchmark prints, and its table of aims."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the tests run outside the tree")


@pytest.fixture(scope="module")
def modules() -> Iterator[tuple[ModuleType, ModuleType]]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("linear_checks"), importlib.import_module("linear_aims")
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_history_of_scipy(modules: tuple[ModuleType, ModuleType]) -> None:
    table = modules[0].history()["table"].values()
    comparable = [row for row in table if row["scipy_reordered"] <= 1e-10]
    assert len(comparable) >= 8
    assert all(row["largest_difference"] <= 1e-10 and row["iterations"] == row["scipy"] for row in comparable)


def test_endings(modules: tuple[ModuleType, ModuleType]) -> None:
    assert all(row["right"] == row["of"] for row in modules[0].endings()["table"].values())


@pytest.mark.slow
def test_adversaries(modules: tuple[ModuleType, ModuleType]) -> None:
    table = modules[0].adversaries()["table"]
    assert all(row["largest_ratio"] <= 1.1 and row["failures"] == 0 and row["says"] for row in table.values())


def test_a_missed_aim_is_called_so(modules: tuple[ModuleType, ModuleType]) -> None:
    counts = {f"1e-0{digit}": {"iterations": n, "cpu_seconds": 1.0} for digit, n in ((4, 5), (6, 8), (8, 9))}
    lines = modules[1].aims({"box 64x64 v-cycle": counts}).splitlines()
    assert lines[-3:] == [
        "| v-cycle, box 64x64, iterations to 1e-04 | 5 | 5 | reached |",
        "| v-cycle, box 64x64, iterations to 1e-06 | 7 | 8 | **missed** |",
        "| v-cycle, box 64x64, iterations to 1e-08 | 9 | 9 | reached |",
    ]
