"""The tables of docs/families.md are those of the committed measurements, which measure what they say."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from pinnx.equations import DiffusionSorption
from pinnx.expr import Evaluator, atoms, with_explicit_values
from pinnx.solvers.experts.grid_atoms import forms

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the tests run outside the tree")


@pytest.fixture(scope="module")
def families() -> ModuleType:
    spec = importlib.util.spec_from_file_location("families", BENCHMARKS / "families.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_tables_of_the_measurements(families: ModuleType) -> None:
    page = families.PAGE.read_text(encoding="utf-8")
    assert families.written(page, json.loads(families.RESULT.read_text(encoding="utf-8"))) == page


@pytest.mark.parametrize("scheme", ["backward", "bdf2", "centered"])
def test_the_discrete_solution_satisfies_the_differences(families: ModuleType, scheme: str) -> None:
    equation = DiffusionSorption(nodes=17, times=11, grading=1.5)
    family = families.family_of(equation)
    instances = family.numbered([0], 61_029)
    reference = family.reference(instances)
    found = torch.from_numpy(families.discrete_solution(equation, scheme, reference[0, 0]))[None, None]
    known = family.grid.known()
    torch.testing.assert_close(found[..., known], reference[..., known], rtol=0, atol=1e-10)
    (condition,) = family.conditions()
    for residual, where in ((equation.residuals()[0], family.weight != 0), (condition.residual, condition.nodes)):
        expr = with_explicit_values(residual)
        values = {
            atom: form[..., 0].flatten(1) for atom, form in forms(found, atoms(expr), family.grid, scheme).items()
        }
        left = family.grid.unflat(Evaluator(family.grid.points(), values)(expr))[:, where]
        assert float(left.abs().max()) < 1e-9


def test_least_squares_find_a_field_of_the_basis(families: ModuleType) -> None:
    """With the solution of the differences among the basis, its coefficient is one."""
    equation = DiffusionSorption(nodes=17, times=11)
    family = families.family_of(equation)
    instances = family.numbered([0], 61_029)
    offset = family.offset(instances)
    discrete = torch.from_numpy(families.discrete_solution(equation, "bdf2", family.reference(instances)[0, 0]))
    other = (
        torch.rand(family.grid.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * family.factor
    )
    basis = torch.stack([discrete - offset[0, 0], other])[None]
    found = families.least_squares(equation, basis, offset, "bdf2")
    torch.testing.assert_close(found[0, 0], discrete, rtol=0, atol=1e-6)
