"""Every coupling passes the conformance kit, and does what only it does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pinnx.solvers.experts import (
    Coupling,
    Gated,
    Independent,
    Interface,
    Windows,
)
from pinnx.testing import CouplingConformance


class TestCouplings(CouplingConformance):
    def couplings(self) -> Sequence[Coupling]:
        return [
            Independent(),
            Interface(weight=3.0),
            Windows(),
            Gated(),
        ]


@pytest.mark.slow
class TestFurtherOptions(CouplingConformance):
    seed = 90_451

    def couplings(self) -> Sequence[Coupling]:
        return [
            Independent(conditions="own"),
            Interface(derivatives="all"),
            Windows(overlap=1.0),
            Gated(top_k=3, temperature=2.0),
        ]
