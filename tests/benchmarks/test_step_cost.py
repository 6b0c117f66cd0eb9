"""The measurement of a step's cost: it runs, does the work it names, and its page says what was measured."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.func import functional_call, hessian, vmap

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the tests run outside the tree")


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _worker(dimension: int) -> dict[str, object]:
    command = [sys.executable, BENCHMARKS / "peers" / "pinnx_step.py", "--dimension", dimension, "--seconds", 0.1]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("dimension", [10, 140])
def test_the_worker_of_pinnx_takes_the_step_that_the_task_states(
    dimension: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    answer = _worker(dimension)
    assert answer["seconds"]
    task = _load(BENCHMARKS / "peers" / "task.py")
    network = torch.nn.Sequential()
    for weight, _ in task.draw_layers(dimension):
        network.extend([torch.nn.Linear(weight.shape[1], weight.shape[0]), torch.nn.Tanh()])
    network = network[:-1]
    task.fill([layer for layer in network if isinstance(layer, torch.nn.Linear)], dimension)

    def value(point: torch.Tensor) -> torch.Tensor:
        return functional_call(network, {}, (point,))[0]

    points = task.draw_points(dimension)
    u, second = vmap(value)(points), vmap(hessian(value))(points)
    loss = (second.diagonal(dim1=1, dim2=2).sum(1) + u - u**3).square().mean()
    assert answer["loss"] == pytest.approx(loss.item(), rel=1e-4)


def _measurement(package: str, number: int, seconds: float) -> dict[str, object]:
    return {
        "package": package,
        "round": number,
        "version": "7.1",
        "torch": "2.13.0",
        "dimension": 10,
        "loss": 0.25,
        "seconds": [seconds] * 3,
        "first_layer_seconds": [seconds / 4] * 3,
        "drawing_seconds": [seconds / 10] * 3,
    }


def test_the_page_gives_medians_and_the_ratios_of_rounds() -> None:
    page = _load(BENCHMARKS / "step_cost_page.py")
    times = {"pinnx": [0.010, 0.020, 0.012], "deepxde": [0.100, 0.120, 0.150]}
    text = page.render(
        {
            "task": page.task_facts(),
            "machine": {"processor": "P", "cores": 2, "threads": 1},
            "date": "2026-01-02",
            "commit": "c0ffee",
            "rounds": 3,
            "missing": {"pina": "no such package"},
            "measurements": [_measurement(k, i, s) for k, each in times.items() for i, s in enumerate(each)],
        }
    )
    assert "| 10 | 12.0 (10.0 – 20.0) | 120 (100 – 150) | 10.0× (6.0× – 12.5×) |" in text
    assert "| 10 | 12.0 (10.0 – 20.0) | 3.0 (2.5 – 5.0) | 9.0 (7.5 – 15.0) | 1.2 (1.0 – 2.0) |" in text
    assert "PINA could not be installed: no such package." in text


def test_the_page_is_that_of_the_results() -> None:
    result = json.loads((BENCHMARKS / "results" / "step_cost.json").read_text(encoding="utf-8"))
    page = _load(BENCHMARKS / "step_cost_page.py").render(result)
    assert (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8") == page
