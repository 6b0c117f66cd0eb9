"""The benchmark of hard constraints: its rows are cases that can be built, and its tables say what was measured."""

import copy
import sys
from pathlib import Path

import pytest
import torch

from pinnx.case import load_case

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def experts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import experts

    yield experts
    sys.modules.pop("experts")


def test_every_row_is_a_case_that_fits_together(experts):
    for row in experts.ROWS:
        case = load_case(experts.CASES / f"{row.case}.toml", [*row.changes, "network.width=2", "network.modes=2"])
        training = case.start(torch.device("cpu"))
        assert case.solver.method == (
            row.method.partition(",")[0] if row.method.startswith(("soft", "single")) else "mixture"
        )
        assert training.options.coupling.kind == row.method.partition(",")[0] or case.solver.method != "mixture"
        assert (training.options.known_values == "rows") == row.method.endswith("data as rows")


def test_a_row_is_measured_and_shown(experts):
    sizes = ["network.width=2", "network.modes=2", "equation.nodes=9", "equation.times=6", "solver.steps=1"]
    sizes += ["solver.test_instances=2", "solver.known_instances=3", "solver.basis=3", "solver.train_until=400.0"]
    case = load_case(experts.CASES / "diffusion_sorption_single.toml", sizes)
    result = experts.measure(case)
    assert len(result["errors"]) == len(result["late_errors"]) == 2
    assert set(result["baselines"]) == {"offset", "persistence", "mean", "linear", "interpolation"}
    result |= {"date": "2026-01-31", "commit": "0a1b2c3"}
    shown = experts.tables({"extrapolation to t > 400: single": result})
    assert experts.percent(result["late_errors"]) in shown
    assert "one constraint" in shown
    assert "*interpolation*" in shown


def test_a_warm_up_is_done_once_and_is_that_of_each_method(experts):
    sizes = ["network.width=2", "network.modes=2", "equation.nodes=8", "equation.times=4", "solver.steps=4"]
    sizes += ["solver.test_instances=2", "solver.known_instances=2", "solver.basis=3", "solver.warm_up=3"]
    states = []
    for method in ("single", "windows"):
        case = load_case(experts.CASES / f"navier_stokes_{method}.toml", sizes)
        alone = case.start(torch.device("cpu"))
        for _ in range(3):
            alone.step()
        shared = case.start(torch.device("cpu"))
        seconds = experts.warmed_up(case, shared)
        assert shared.step_number == 3
        states.append((seconds, alone.network.state_dict(), copy.deepcopy(shared.network.state_dict())))
        shared.step()  # must not reach what the next method begins with
    assert len(experts._WARM) == 1
    assert states[0][0] == states[1][0] > 0
    for _, expected, found in states:
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_errors_are_measured_on_the_grid_that_is_asked_for(experts):
    sizes = ["network.width=2", "network.modes=2", "equation.nodes=8", "equation.times=4", "solver.steps=1"]
    sizes += ["solver.test_instances=2", "solver.known_instances=2"]
    result = experts.measure(load_case(experts.CASES / "navier_stokes_soft.toml", sizes), nodes=12)
    assert (result["trained_on"], result["grid"]) == ([8, 8, 4], [12, 12, 4])
    assert result["constrained_steps"] == 0
    result |= {"date": "2026-01-31", "commit": "0a1b2c3"}
    assert "12 × 12 × 4 nodes, trained on 8 × 8 × 4; 2 instances" in experts.tables({"Navier-Stokes: soft": result})
