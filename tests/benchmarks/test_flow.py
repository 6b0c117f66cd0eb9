"""The flow past a moving obstacle: it stays incompressible, meets its walls, and is a flow."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pinnx.solvers.linear import Multigrid, solve

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the tests run outside the tree")


@pytest.fixture(scope="module")
def flow() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("flow_of_smoke", BENCHMARKS / "flow.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules["flow_of_smoke"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_projection_takes_the_divergence_away_and_keeps_the_walls(flow: ModuleType) -> None:
    state = flow.Flow.at_rest(24)
    for _ in range(8):
        flow.push(state)
        operator, b = flow.system(state)
        pressure = solve(operator, b, direction=Multigrid(), rtol=1e-9).x.numpy().reshape(state.cells)
        before = float(b.norm())
        flow.project(state, pressure)
        assert float(flow.system(state)[1].norm()) < 1e-8 * before
    inside, speed, _ = state.obstacle()
    assert inside.sum() > 20
    walls = flow._touches(inside, 0)
    assert np.allclose(state.u[walls], speed)
    assert np.allclose(state.v[flow._touches(inside, 1)], 0.0)
    assert not state.u[[0, -1]].any()
    assert not state.v[:, 0].any()
    assert state.v[:, 1:-1].max() > 0.1  # the smoke rises
    assert state.smoke.sum() > 0
    assert state.smoke.max() <= 1.0


def test_the_wrong_pressure_leaves_divergence(flow: ModuleType) -> None:
    """The check above has teeth: half the pressure leaves half of the divergence."""
    state = flow.Flow.at_rest(24)
    for _ in range(2):
        flow.push(state)
        operator, b = flow.system(state)
        flow.project(state, 0.5 * solve(operator, b, rtol=1e-10).x.numpy().reshape(state.cells))
    assert float(flow.system(state)[1].norm()) == pytest.approx(0.5 * float(b.norm()), rel=1e-6)


def test_advection_by_a_constant_wind_shifts_the_field(flow: ModuleType) -> None:
    """Exactly so for constant and linear fields, which the interpolation reproduces."""
    state = flow.Flow.at_rest(20)
    field = np.full(state.cells, 3.25)
    state.u += 0.7
    state.v -= 0.4
    assert np.allclose(flow._advected(state, field, (0.5, 0.5)), 3.25)
    x, y = state.centers()
    moved = flow._advected(state, 2.0 * x - y, (0.5, 0.5))
    step = state.time_step
    inner = (slice(3, -3), slice(3, -3))
    assert np.allclose(moved[inner], (2.0 * (x - 0.7 * step) - (y + 0.4 * step))[inner])


def test_all_methods_find_the_same_pressure(flow: ModuleType) -> None:
    directions = {name: None if name == "CG" else Multigrid() for name in ("geometric multigrid", "CG")}
    found = flow.run(16, 6, 2, directions, [6])
    assert found["rows"]["CG"]["frame"] == [2, 4, 6]
    assert flow.summary(found["rows"])["CG"]["failures"] == 0
    assert found["divergence"] <= 2 * flow.TOLERANCE
    assert len(found["pictures"]) == 1
