"""The published table: every row is there, has a case file, and its page says what was measured."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pinnx.case import load_case
from pinnx.solvers.derivatives import Smoothing
from pinnx.solvers.pinn import Pinn

ROOT = Path(__file__).parents[2]
FILE = ROOT / "benchmarks" / "paper.py"
CASES = ROOT / "cases" / "paper"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="the tests run outside the tree")
#: Dimensions in the publication, by the first word or two of our rows.
PUBLISHED = {
    "Fokker-Planck isotropic": (10, 100, 1000, 10_000),
    "Fokker-Planck anisotropic": (10, 100, 250, 500, 1000, 10_000),
    "HJB quadratic": (10, 20, 30, 40),
    "HJB Rosenbrock": (10, 20, 30, 40),
    "Burgers": (5, 10, 20, 25),
    "Allen-Cahn": (10, 100, 1000),
    "Sine-Gordon": (10, 100, 1000),
}
NAMES = {
    "Fokker-Planck isotropic": "fokker_planck_isotropic",
    "Fokker-Planck anisotropic": "fokker_planck_anisotropic",
    "HJB quadratic": "hjb_quadratic",
    "HJB Rosenbrock": "hjb_rosenbrock",
    "Burgers": "burgers",
    "Allen-Cahn": "allen_cahn",
    "Sine-Gordon": "sine_gordon",
}


@pytest.fixture(scope="module")
def paper() -> ModuleType:
    spec = importlib.util.spec_from_file_location("paper", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["paper"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_published_row_is_there(paper: ModuleType) -> None:
    assert len(set(paper.GOALS) & set(paper.ROWS)) == len(paper.GOALS) == 13
    assert list(paper.ROWS) == [f"{name} {d}" for name, dimensions in PUBLISHED.items() for d in dimensions]
    for name, row in paper.ROWS.items():
        assert row.equation.dimension == int(name.split()[-1])
        # Sine–Gordon has no full correction; hybrid was not run for HJB and Burgers
        assert {"biased", "unbiased-loss"} <= set(row.published)
        assert ("unbiased" in row.published) == (not name.startswith("Sine"))
        assert ("hybrid" in row.published) == (not name.startswith(("HJB", "Burgers")))


@pytest.mark.parametrize(("name", "d"), [(name, d) for name, dimensions in PUBLISHED.items() for d in dimensions])
def test_every_row_has_a_case_of_the_published_size(paper: ModuleType, name: str, d: int) -> None:
    case = load_case(CASES / f"{NAMES[name]}.toml", [f"equation.dimension={d}"])
    assert case.equation == paper.ROWS[f"{name} {d}"].equation
    assert (case.network.width, case.network.depth) == (128, 3)  # type: ignore[attr-defined]
    solver = case.solver
    assert isinstance(solver, Pinn)
    assert solver.steps == 10_000
    assert solver.points == (1000 if name.startswith("HJB") else 100)
    derivatives = solver.derivatives
    assert isinstance(derivatives, Smoothing)
    assert derivatives.samples == (
        128 if d in PUBLISHED["Allen-Cahn"] and name in ("Allen-Cahn", "Sine-Gordon") else 1024
    )
    published = Smoothing(weights="stein", space="full", baseline="center", realization="independent")
    for option in ("sigma", "weights", "space", "baseline", "realization"):
        assert getattr(derivatives, option) == getattr(published, option)


def test_a_run_of_few_steps_and_its_page(paper: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trivial answers beside ours; rows that miss the published best are named."""
    row = paper.Row(paper.Burgers(5), {"biased": 1e-2, "unbiased-loss": 1e-9}, samples=4, steps=4, exact=0.5)
    monkeypatch.setattr(paper, "ROWS", {"Burgers 5": row})
    results = [paper._run("Burgers 5", method, seed) for method in paper.METHODS for seed in (1, 2)]
    assert Counter(each["steps"] for each in results) == {4: 6, 2: 2}
    assert all(each["baselines"]["affine"] for each in results)
    page = paper.page(results)
    assert "Not reached with so few steps: Burgers 5" in page.replace("\n", " ")
    assert "| Burgers 5 * | 1.00e-02 | 1.00e-09 |" in page
    assert "reduced variants" in page
    assert all(f"{error:.1e}" in page for error in results[0]["baselines"].values())


def test_only_what_is_corrected_and_has_all_seeds_counts(paper: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    row = paper.Row(paper.Burgers(5), {"biased": 1.0, "unbiased-loss": 0.9})
    monkeypatch.setattr(paper, "ROWS", {"Burgers 5": row})

    def result(method: str, seed: int, error: float, switched_at: int | None) -> dict[str, Any]:
        trivial = dict.fromkeys(("zero", "constant", "affine"), 1.0)
        common = {"row": "Burgers 5", "samples": 4, "steps": 9, "cpu_seconds": 1.0, "baselines": trivial}
        return {**common, "method": method, "seed": seed, "relative_l2": error, "switched_at": switched_at}

    unbiased = [result("unbiased", seed, error, 0) for seed, error in ((1, 0.3), (2, 0.1), (3, 0.9))]
    biased = [result("biased", seed, 0.01, None) for seed in (1, 2, 3)]
    for hybrid, expected in (
        ([result("hybrid", 1, 0.01, 5)], "3.0"),  # of one seed
        ([result("hybrid", seed, 0.01, None if seed == 2 else 5) for seed in (1, 2, 3)], "3.0"),  # not corrected
        ([result("hybrid", seed, 0.1, 5) for seed in (1, 2, 3)], "9.0"),
    ):
        page = paper.page(unbiased + biased + hybrid)
        cells = [cell.strip() for cell in next(line for line in page.splitlines() if "| Burgers" in line).split("|")]
        assert cells[5:8] == ["3.00e-01 (9.00e-01)", cells[6], expected]
        assert cells[6].endswith("†") == (hybrid[-1]["relative_l2"] == 0.01 and len(hybrid) == 3)
