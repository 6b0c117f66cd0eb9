"""What a problem is, in words and formulas, for readers that shall not need torch."""

from __future__ import annotations

from typing import Any

from pinnx import registry
from pinnx.problem import Equation


def describe(equation: Equation | None) -> dict[str, Any]:
    """The content of `problem.json`; without an equation that of a linear system."""
    if equation is None:
        return {
            "equation": "linear system",
            "unknowns": ["x"],
            "dimension": None,
            "coordinates": [],
            "residuals": [{"text": "A x − b", "latex": "A x - b"}],
            "conditions": [],
            "has_reference": False,
            "references": [],
        }
    problem = equation.problem()
    coordinates = problem.domain.coordinates
    member = registry.identify(type(equation))
    sizes = dict(coordinates.groups)
    return {
        "equation": _short_name(member[1] if member else type(equation).__name__),
        "unknowns": list(equation.unknowns),
        "dimension": max(sizes.get("x", 0), 1) if "x" in sizes else coordinates.total,
        "coordinates": [list(group) for group in coordinates.groups],
        "residuals": [{"text": each.text(), "latex": each.latex()} for each in equation.residuals()],
        "conditions": [
            {"name": each.name, "weight": each.weight, "text": each.residual.text(), "latex": each.residual.latex()}
            for each in problem.conditions
        ],
        "has_reference": bool(problem.exacts),
        "references": list(equation.references),
    }


def _short_name(reference: str) -> str:
    """The class alone for an equation that is named by its place."""
    return reference.rpartition(":")[2]
