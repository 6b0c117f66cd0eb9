"""Conformance kits: subclass one in a test module, name your class, and inherit the tests."""

from __future__ import annotations

from pinnx.testing.couplings import CouplingConformance
from pinnx.testing.equations import EquationConformance
from pinnx.testing.estimators import EstimatorConformance
from pinnx.testing.linear import LinearSolverConformance

__all__ = ["CouplingConformance", "EquationConformance", "EstimatorConformance", "LinearSolverConformance"]
