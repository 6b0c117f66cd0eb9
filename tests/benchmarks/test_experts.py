"""The benchmark of hard constraints: its rows are cases that can be built, and its tables say what was measured."""

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
        assert case.solver.method == (row.method if row.method in ("soft", "single") else "mixture")
        assert training.options.coupling.kind == row.method.partition(",")[0] or case.solver.method != "mixture"
        assert (training.options.known_values == "rows") == row.method.endswith("data as rows")


def test_a_row_is_measured_and_shown(experts):
    sizes = ["network.width=2", "network.modes=2", "equation.nodes=9", "equation.times=6", "solver.steps=1"]
    sizes += ["solver.test_instances=2", "solver.known_instances=3", "solver.basis=3", "solver.train_until=400.0"]
    case = load_case(experts.CASES / "diffusion_sorption_single.toml", sizes)
    result = experts.measure(case)
    assert len(result["errors"]) == len(result["late_errors"]) == 2
    assert set(result["baselines"]) == {"offset", "persistence", "mean", "linear", "interpolation"}
    shown = experts.tables({"extrapolation to t > 400: single": result})
    assert experts.percent(result["late_errors"]) in shown
    assert "one constraint" in shown
    assert "*interpolation*" in shown
