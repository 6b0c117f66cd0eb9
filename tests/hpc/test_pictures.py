"""The figures of a sweep."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pinnx.hpc.pictures import _against
from pinnx.views.figures import new_figure


@pytest.mark.parametrize(("lowest", "scale"), [(0.5, "log"), (-0.5, "symlog")])
def test_losses_that_are_negative_are_shown(lowest: float, scale: str) -> None:
    """Without a reference settings are compared by their losses, which can be negative where they are unbiased."""
    groups = [
        SimpleNamespace(settings={"width": str(width)}, values=values)
        for width, values in ((8, [1.0, 2.0]), (16, [0.7, lowest]))
    ]
    comparison: Any = SimpleNamespace(groups=groups, measure="loss")
    axes = new_figure(3.0, 3.0).subplots()
    _against(axes, comparison, "width")
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    assert low < lowest < 2.0 < high
