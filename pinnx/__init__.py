"""Solve high-dimensional partial differential equations with neural networks.

The names below are imported when they are first used, so that `import pinnx` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinnx.api import load, load_direction, solve, solve_linear
    from pinnx.case import Case, load_case
    from pinnx.problem import Condition, Equation, Problem
    from pinnx.solvers.solution import Solution

__version__ = "0.1.0"

_HOMES = {
    "Case": "pinnx.case",
    "Condition": "pinnx.problem",
    "Equation": "pinnx.problem",
    "Problem": "pinnx.problem",
    "Solution": "pinnx.solvers.solution",
    "load": "pinnx.api",
    "load_case": "pinnx.case",
    "load_direction": "pinnx.api",
    "solve": "pinnx.api",
    "solve_linear": "pinnx.api",
}

__all__ = [
    "Case",
    "Condition",
    "Equation",
    "Problem",
    "Solution",
    "__version__",
    "load",
    "load_case",
    "load_direction",
    "solve",
    "solve_linear",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pinnx' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
