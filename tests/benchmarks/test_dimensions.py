"""The measurement from 100 to a million dimensions: it runs on the device that it is given and tables what it found."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the tests run outside the tree")


def _load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_short_training_and_its_row(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dimensions = _load("dimensions", monkeypatch)
    row = dimensions.measure(300, 3, device)
    assert row["device"] == device
    assert row["steps_per_second"] > 0
    assert row["gigabytes_with_errors"] < 4
    assert 0 < row["relative_l2"] < 10
    assert row["baselines"]["zero"] == pytest.approx(1.0)
    assert dimensions.table([row]).splitlines()[-1].startswith("| 300 | ")


def test_noise_of_its_own_for_each_point_and_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 points the gradient of the loss is several times less noisy."""
    sharing = _load("sharing", monkeypatch)
    rows = {str(d): {kind: sharing.measure(d, kind, 12) for kind in sharing.KINDS} for d in (40,)}
    for row in rows["40"].values():
        assert row["shared"]["relative_std"] > 2 * row["per-point"]["relative_std"]
    last = sharing.table({"rows": rows}).splitlines()[-1]
    assert last.startswith("| 40 | hutchinson | ")
    assert last.count("|") == 8
