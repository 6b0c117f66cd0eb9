"""The measurement of accuracy: it keeps its budget, its stages fit every row, and its page says what was measured."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from pinnx.networks import Mlp
from pinnx.solvers.derivatives import Autodiff
from pinnx.solvers.system import ResidualSystem

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the tests run outside the tree")


@pytest.fixture(scope="module")
def accuracy() -> Iterator[ModuleType]:
    """The program; its neighbors are imported by their bare names, as when it is run."""
    sys.path[:0] = [str(FOLDER), str(FOLDER / "peers")]
    yield importlib.import_module("accuracy")
    del sys.path[:2]


@pytest.mark.parametrize("method", ["default", "adam", "ssbroyden"])
def test_a_run_keeps_its_budget_and_holds_a_curve(accuracy: ModuleType, method: str, monkeypatch) -> None:
    row = dataclasses.replace(accuracy.ROWS["Poisson 5"], network=Mlp(6, 2), points=20, first_order_points=20)
    monkeypatch.setitem(accuracy.ROWS, "Poisson 5", row)
    entry = accuracy.run("Poisson 5", method, 90_149, 1.0)
    assert entry["seconds"] < 2.0
    assert entry["steps"] <= entry["planned_steps"]
    assert entry["curve"][-1] == (entry["seconds"], entry["relative_l2"]) or entry["curve"][-1][0] <= 2.0
    seconds = [point[0] for point in entry["curve"]]
    assert seconds == sorted(seconds)
    assert entry["end"] == "done"
    assert {"zero", "constant", "affine"} == entry["baselines"].keys()


def test_the_peers_equations_are_ours(accuracy: ModuleType) -> None:
    """Residuals and trial solutions as the peers state them, with plain autograd, against those of pinnx."""
    import accuracy_task  # beside the peers' programs

    for name, row in accuracy.ROWS.items():
        task = accuracy_task.Task(name, 1.0, 60_331)
        network = Mlp(8, 2).build(task.columns, 1, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        points = task.problem.domain.sample(5, task.generator, dtype=torch.float64)
        x = points.tensor.clone().requires_grad_()
        u = task.trial(x, network(x))
        (slopes,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        second = [torch.autograd.grad(slopes[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(task.dimension)]
        found = accuracy_task.residual(
            task, x, u, lambda second=second: torch.stack(second).sum(0)[:, None], lambda slopes=slopes: slopes
        )
        system = ResidualSystem(row.equation.problem(), network, Autodiff())
        (expected,) = system.residual_values(points, torch.Generator())
        assert found.shape == (5, 1)
        assert torch.allclose(found[:, 0], expected, rtol=1e-9, atol=1e-9 * float(expected.detach().abs().max())), name
        for index, (where, values) in enumerate(task.boundary()):
            left = system.condition_values(index, task.points(where), torch.Generator())
            here = task.trial(where, network(where))
            assert torch.allclose((here - values)[:, 0], left, rtol=1e-9, atol=1e-9), name


def _entry(accuracy: ModuleType, row: str, method: str, seed: int, error: float) -> dict[str, object]:
    budget = accuracy.ROWS[row].budget
    own = {"baselines": {"zero": 1.0, "constant": 0.9, "affine": 8e-3}} if method not in ("deepxde", "pina") else {}
    return {
        "row": row,
        "method": method,
        "seed": seed,
        "budget": budget,
        "relative_l2": error,
        "steps": 7,
        "seconds": budget,
        "curve": [(1.0, 0.5), (budget, error)],
        "network": accuracy.network_name(accuracy.ROWS[row]),
        "notes": ["optimizer: spring, because it fits"] if own else [f"{method} 1.0"],
        "commit": "abc1234",
        "machine": "m",
        "torch": "2",
        **own,
    }


def test_the_page_shows_the_worst_seed_and_marks_what_meets_its_limit(accuracy: ModuleType) -> None:
    first, second, _ = accuracy.SEEDS
    results = [
        _entry(accuracy, "Poisson 5", "default", first, 2e-5),
        _entry(accuracy, "Poisson 5", "default", second, 7e-5),
        _entry(accuracy, "Poisson 5", "adam", first, 3e-3),
        _entry(accuracy, "Poisson 5", "deepxde", first, 2.8e-3),
        _entry(accuracy, "Poisson 5", "pina", first, 1e-2),
        _entry(accuracy, "Allen-Cahn 100", "default", first, 5e-3),
        _entry(accuracy, "Poisson 5", "default", first, 0.9) | {"network": "3 × 1, tanh"},  # an earlier one
    ]
    text = accuracy.page(results)
    numbers = "8.0e-03 | 1.0e-04 | 2.0e-06 | **7.0e-05** | 3.0e-03 | 2.8e-03 | 1.0e-02 | 40× | 2 | spring |"
    assert f"| Poisson 5 | {accuracy.ROWS['Poisson 5'].budget:g} | {numbers}" in text
    assert "8.0e-03 | 4.0e-03 | 2.0e-03 | 5.0e-03 | – | – | – | – | 1 | spring |" in text
    assert (
        "`auto` meets the limit on 1 of 2 rows. It is ahead of both packages on 1 of 1, tenfold or more on 1." in text
    )
    assert "**Allen-Cahn 100**" in text
    assert "deepxde 1.0; pina 1.0" in text
    assert "commits abc1234" in text


def test_the_page_in_the_repository_is_that_of_the_results(accuracy: ModuleType) -> None:
    assert accuracy.PAGE.read_text() == accuracy.page(accuracy._results())
