"""The benchmark of what a constraint costs goes on where it stopped, and its page says where each figure is from."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
WHERE = {"date": "2026-01-31", "commit": "0a1b2c3", "machine": "one", "torch": "2", "load": 0.5}


@pytest.fixture
def cost(monkeypatch, tmp_path):
    """The benchmark with measurements that are made up, and its list of calls."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import experts_cost

    calls = []

    def rows(equation, side, rounds):
        calls.append((equation, side))
        figures = {"step": 2.0, "inference": 1.0, "memory": 2**20, "iterations": 3, "converged": True}
        common = {"equation": equation, "points": side**2, "instances": 4, "coefficients": 16, "rounds": rounds}
        layer = experts_cost.layer()
        return [{**common, **figures, **WHERE, "method": name, "layer": layer} for name in experts_cost.METHODS]

    def launch(name, count, side):
        calls.append((name, count))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {"step": 3.0 / count, "inference": 1.0}

    (tmp_path / "page.md").write_text(f"before\n{experts_cost.BEGIN}\n{experts_cost.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(experts_cost, "JSON", tmp_path / "results.json")
    monkeypatch.setattr(experts_cost, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(experts_cost, "layer", lambda: "layer 1")
    monkeypatch.setattr(experts_cost, "rows", rows)
    monkeypatch.setattr(experts_cost, "launch", launch)
    monkeypatch.setattr(experts_cost, "PAIRS", ("one constraint", "windows, K = 16"))
    yield experts_cost, calls
    sys.modules.pop("experts_cost")


def test_rows_are_measured_once_for_each_state_of_the_layer(cost, monkeypatch):
    experts_cost, calls = cost
    experts_cost.measure_rows(["heat"], [1024, 100], 2, again=False)
    experts_cost.measure_rows(["heat", "burgers"], [100], 2, again=False)
    assert calls == [("heat", 10), ("heat", 32), ("burgers", 10)]
    experts_cost.measure_rows(["heat"], [100], 2, again=True)
    assert calls[3:] == [("heat", 10)]
    monkeypatch.setattr(experts_cost, "layer", lambda: "layer 2")
    experts_cost.measure_rows(["heat"], [1024], 2, again=False)
    assert calls[4:] == [("heat", 32)]
    page = experts_cost.PAGE.read_text(encoding="utf-8")
    assert (
        "rounds: 2) at 0a1b2c3. With an earlier state of the layer: burgers at 100 points, heat at 100 points." in page
    )
    assert "| heat | 100 points × 4 | 1024 points × 4 |" in page
    assert "| one constraint (3, 3) | 2 · 1 (1 MB) | 2 · 1 (1 MB) |" in page
    assert page.startswith("before")
    assert page.endswith("after\n")


def test_runs_on_two_processes_go_on_after_a_stop(cost):
    experts_cost, calls = cost
    experts_cost.measure_rows(["heat"], [100], 1, again=False)
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        experts_cost.measure_pairs(1, 100, again=False)
    assert len(json.loads(experts_cost.JSON.read_text(encoding="utf-8"))["processes"]) == 2
    experts_cost.measure_pairs(1, 100, again=False)
    runs = [(name, count) for name in experts_cost.PAIRS for count in (1, 2)]
    assert calls == [*runs[:2], runs[2], *runs[2:]]
    assert "| windows, K = 16 | 3.00 | 1.50 | 2.00 (2.00 to 2.00) |" in experts_cost.PAGE.read_text(encoding="utf-8")
