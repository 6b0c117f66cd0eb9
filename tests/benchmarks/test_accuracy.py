"""The measurement of accuracy: it keeps its budget, its stages fit every row, and its page says what was measured."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pinnx.networks import Mlp

ROOT = Path(__file__).parents[2]
FILE = ROOT / "benchmarks" / "accuracy.py"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="the tests run outside the tree")


@pytest.fixture(scope="module")
def accuracy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("accuracy", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["accuracy"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("optimizer", ["adam", "spring", "ssbroyden"])
def test_a_run_keeps_its_budget_and_holds_a_curve(accuracy: ModuleType, optimizer: str, monkeypatch) -> None:
    row = dataclasses.replace(accuracy.ROWS["Poisson 5"], network=Mlp(6, 2), points=20, first_order_points=20)
    monkeypatch.setitem(accuracy.ROWS, "Poisson 5", row)
    entry = accuracy.run("Poisson 5", optimizer, 90_149, 1.0)
    assert entry["seconds"] < 2.0
    assert entry["steps"] <= entry["planned_steps"]
    assert entry["curve"][-1] == (entry["seconds"], entry["relative_l2"]) or entry["curve"][-1][0] <= 2.0
    seconds = [point[0] for point in entry["curve"]]
    assert seconds == sorted(seconds)
    assert entry["end"] == "done"
    assert {"zero", "constant", "affine"} == entry["baselines"].keys()


def _entry(accuracy: ModuleType, row: str, optimizer: str, seed: int, error: float) -> dict[str, object]:
    return {
        "row": row,
        "optimizer": optimizer,
        "seed": seed,
        "budget": 60.0,
        "relative_l2": error,
        "steps": 7,
        "seconds": 60.0,
        "curve": [(1.0, 0.5), (60.0, error)],
        "baselines": {"zero": 1.0, "constant": 0.9, "affine": 8e-3},
        "commit": "abc1234",
        "machine": "m",
        "torch": "2",
    }


def test_the_page_shows_the_worst_seed_and_marks_what_meets_its_limit(accuracy: ModuleType) -> None:
    first, second, _ = accuracy.SEEDS
    text = accuracy.page(
        [
            _entry(accuracy, "Poisson 5", "spring", first, 2e-5),
            _entry(accuracy, "Poisson 5", "spring", second, 7e-5),
            _entry(accuracy, "Poisson 5", "adam", first, 3e-3),
            _entry(accuracy, "Allen-Cahn 100", "spring", first, 3e-3),
        ]
    )
    assert "| Poisson 5 | 1 min | 8.0e-03 | 1.0e-04 | 2.0e-06 | 3.0e-03 | **7.0e-05** | 2 |" in text
    assert "| Allen-Cahn 100 | 1 min | 8.0e-03 | 4.0e-03 | 2.0e-03 | – | **3.0e-03** | 1 |" in text
    assert "Other packages are not measured" in text
    assert "commits abc1234" in text


def test_the_page_in_the_repository_is_that_of_the_results(accuracy: ModuleType) -> None:
    results = json.loads(accuracy.RESULTS.read_text()) if accuracy.RESULTS.is_file() else []
    assert accuracy.PAGE.read_text() == accuracy.page(results)
