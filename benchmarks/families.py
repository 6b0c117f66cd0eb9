"""How good the grids of families can be at all, and what is answered without any method: docs/families.md.

Run `python benchmarks/families.py` to measure (a few minutes on one core), `--write` to make the tables from the
committed measurements. Nothing here is trained.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

from pinnx.equations import Darcy, DiffusionSorption, NavierStokes, RandomBurgers
from pinnx.expr import Evaluator, Unknown, Value, atoms, dt, partial, with_explicit_values, x
from pinnx.family import Axis, Family, Grid, relative_l2
from pinnx.problem import Equation
from pinnx.solvers.experts import LeastSquaresOptions, Rows, solve_coefficients
from pinnx.solvers.experts.grid_atoms import TIME_SCHEMES, forms

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "families.json", HERE.parent / "docs" / "families.md"
SEED, INSTANCES = 42_718_309, 8
#: Principal fields of how many solved instances make the best basis.
FIELDS, SOLVED = 16, 100
GRIDS = [(65, 51, 1.0), (65, 101, 1.0), (129, 101, 1.0), (65, 101, 2.0), (129, 101, 2.0)]
CORNERS = (0.0, 10.0, 20.0, 40.0, 80.0)
FAMILIES: dict[str, tuple[Equation, int, int]] = {
    "diffusion-sorption, published": (DiffusionSorption(nodes=65), 32, 32),
    "diffusion-sorption, rich": (DiffusionSorption(nodes=65, law="rich"), 32, 32),
    "… with layers as the offset": (DiffusionSorption(nodes=65, law="rich", offset="layers"), 32, 32),
    "navier-stokes": (NavierStokes(times=17), 16, 16),
    "random-burgers, periodic": (RandomBurgers(), 32, 64),
    "random-burgers, Dirichlet": (RandomBurgers(nodes=129, ends="dirichlet"), 32, 64),
    "darcy": (Darcy(), 32, 64),
}
ANSWERS = ("offset", "persistence", "mean", "linear", "interpolation")


def family_of(equation: Equation) -> Family:
    """The family of instances of an equation."""
    family = equation.problem().instances
    assert family is not None
    return family


# -- what the differences alone cost


def one_axis(axis: Axis, atom: Any, scheme: str) -> sparse.csr_array:
    """The matrix of a derivative along one axis."""
    unit = torch.eye(axis.nodes, dtype=torch.float64)[None]
    return sparse.csr_array(forms(unit, [atom], Grid((axis,)), scheme)[atom][0].numpy())  # pyright: ignore[reportArgumentType]


def discrete_solution(equation: DiffusionSorption, scheme: str, start: Tensor) -> np.ndarray:
    """The field (nodes, times) for which the differences of the grid satisfy equation and conditions, by Newton."""
    family = family_of(equation)
    space, time = family.grid.axes
    u = Unknown("u")
    unit = [sparse.eye_array(axis.nodes) for axis in (space, time)]
    rate = sparse.kron(unit[0], one_axis(time, dt(u), scheme))
    slope = sparse.kron(one_axis(space, partial(u, x[0]), scheme), unit[1])
    second = sparse.kron(one_axis(space, partial(u, x[0], x[0]), scheme), unit[1])
    (condition,) = family.conditions()
    (residual,) = map(with_explicit_values, equation.residuals())
    chosen = [
        sparse.diags_array(where.flatten().double().numpy())
        for where in (family.weight != 0, condition.nodes, family.grid.known())
    ]
    field = start.flatten().numpy().copy()
    for _ in range(20):
        values = {
            atom: torch.from_numpy(matrix @ field).requires_grad_()
            for atom, matrix in (
                (Value(u), sparse.eye_array(len(field))),
                (dt(u), rate),
                (partial(u, x[0], x[0]), second),
            )
        }
        left = Evaluator(family.grid.points(), values)(residual)
        parts = [part.numpy() for part in torch.autograd.grad(left.sum(), list(values.values()))]
        jacobian = sparse.diags_array(parts[0]) + sparse.diags_array(parts[1]) @ rate
        jacobian = jacobian + sparse.diags_array(parts[2]) @ second
        outflow = sparse.eye_array(len(field)) + equation.diffusion * slope
        matrix = chosen[0] @ jacobian + chosen[1] @ outflow + chosen[2]
        step = spsolve(sparse.csc_array(matrix), -(chosen[0] @ left.detach().numpy() + chosen[1] @ (outflow @ field)))
        field += step
        if np.abs(step).max() < 1e-10:
            break
    return field.reshape(family.grid.shape)


def measure_floors() -> list[dict[str, Any]]:
    """The error of the discrete solutions on each grid by each scheme."""
    rows = []
    for nodes, times, grading in GRIDS:
        equation = DiffusionSorption(nodes=nodes, times=times, grading=grading)
        family = family_of(equation)
        reference = family.reference(family.numbered(range(INSTANCES), SEED))
        for scheme in TIME_SCHEMES:
            found = np.stack([discrete_solution(equation, scheme, each[0]) for each in reference])
            errors = relative_l2(torch.from_numpy(found)[:, None], reference, family.grid.measure())
            rows.append(
                {"nodes": nodes, "times": times, "grading": grading, "scheme": scheme, "errors": errors.tolist()}
            )
            print(rows[-1], flush=True)
    return rows


# -- what the weight around singular corners does


def measure_corners() -> list[dict[str, Any]]:
    """The error of least squares in the best basis that there is: principal fields of solved instances."""
    equation = DiffusionSorption(nodes=65, law="rich")
    family = family_of(equation)
    solved = family.numbered(range(1000, 1000 + SOLVED), SEED)
    snapshots = (family.reference(solved) - family.offset(solved)).flatten(1)
    basis = family.grid.unflat(torch.linalg.svd(snapshots, full_matrices=False).Vh[:FIELDS])[None]
    instances = family.numbered(range(INSTANCES), SEED)
    reference, offset = family.reference(instances), family.offset(instances)
    flat = family.grid.flat(basis[0])
    difference = (reference - offset).flatten(1)
    nearest = relative_l2((difference @ flat.T @ flat).reshape(reference.shape) + offset, reference)
    rows: list[dict[str, Any]] = [
        {"corner": None, "scheme": "the nearest field of the basis", "errors": nearest.tolist()}
    ]
    for scheme in TIME_SCHEMES:
        for corner in CORNERS:
            weighted = DiffusionSorption(nodes=65, law="rich", corner=corner)
            found = least_squares(weighted, basis.expand(INSTANCES, *basis.shape[1:]), offset, scheme)
            rows.append({"corner": corner, "scheme": scheme, "errors": relative_l2(found, reference).tolist()})
            print(rows[-1], flush=True)
    return rows


def least_squares(equation: DiffusionSorption, basis: Tensor, offset: Tensor, scheme: str) -> Tensor:
    """The field offset + Σ ω b with the smallest weighted residual, (B, 1, *grid)."""
    family = family_of(equation)
    (condition,) = family.conditions()
    every = torch.ones_like(family.weight)
    stated = [(equation.residuals()[0], family.weight), (condition.residual, every * condition.nodes)]
    stated = [(with_explicit_values(residual), weight) for residual, weight in stated]
    value = Value(Unknown("u"))
    wanted = list(dict.fromkeys([*atoms(*(residual for residual, _ in stated)), value]))
    made = {k: v.flatten(1, 2) for k, v in forms(basis, wanted, family.grid, scheme).items()}  # pyright: ignore[reportArgumentType]
    held = {k: v.flatten(1, 2)[..., 0] for k, v in forms(offset, wanted, family.grid, scheme).items()}  # pyright: ignore[reportArgumentType]
    rows = []
    for residual, weight in stated:
        at = weight.flatten().nonzero()[:, 0]
        rows.append(
            Rows(
                residual,
                family.grid.points().rows(at),
                {k: v[:, at] for k, v in made.items()},
                {k: v[:, at] for k, v in held.items()},
                weight=weight.flatten()[at].square(),
            )
        )
    omega = solve_coefficients(rows, LeastSquaresOptions()).omega.reshape(len(basis), -1, 1)
    return family.grid.unflat(held[value] + (made[value] @ omega)[..., 0])[:, None]


# -- what is answered without a method


def measure_baselines() -> list[dict[str, Any]]:
    """The errors of the baselines of each family on instances that they do not know."""
    rows = []
    for name, (equation, asked, known) in FAMILIES.items():
        family = family_of(equation)
        instances, solved = family.numbered(range(asked), SEED), family.numbered(range(1000, 1000 + known), SEED)
        reference = family.reference(instances)
        answers = family.baselines(instances, solved, family.reference(solved))
        errors = {answer: relative_l2(values, reference).tolist() for answer, values in answers.items()}
        rows.append({"family": name, "grid": list(family.grid.shape), "known": known, "errors": errors})
        print(name, {answer: statistics.mean(each) for answer, each in errors.items()}, flush=True)
    return rows


# -- the page


def tables(result: dict[str, Any]) -> dict[str, str]:
    """The tables of the page by name, as Markdown."""
    return {
        name: "\n".join(make(result[name]))
        for name, make in (("floors", _floors), ("corners", _corners), ("baselines", _baselines))
    }


def _percent(errors: list[float]) -> str:
    mean = 100 * statistics.mean(errors)
    return f"{mean:.2f} %" if mean < 9.95 else f"{mean:.0f} %"


def _with_range(errors: list[float]) -> str:
    return f"{_percent(errors)} ({100 * min(errors):.2f} – {100 * max(errors):.2f})"


def _floors(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield f"| nodes × times | grading | {' | '.join(f'`{scheme}`' for scheme in TIME_SCHEMES)} |"
    yield "| --- | ---: |" + " ---: |" * len(TIME_SCHEMES)
    for nodes, times, grading in GRIDS:
        here = {
            row["scheme"]: row["errors"]
            for row in rows
            if (row["nodes"], row["times"], row["grading"]) == (nodes, times, grading)
        }
        yield f"| {nodes} × {times} | {grading:g} | {' | '.join(_percent(here[scheme]) for scheme in TIME_SCHEMES)} |"


def _corners(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield f"| `corner` | {' | '.join(f'`{scheme}`' for scheme in TIME_SCHEMES)} |"
    yield "| ---: |" + " ---: |" * len(TIME_SCHEMES)
    for corner in CORNERS:
        here = {row["scheme"]: row["errors"] for row in rows if row["corner"] == corner}
        yield f"| {corner:g} | {' | '.join(_with_range(here[scheme]) for scheme in TIME_SCHEMES)} |"
    yield ""
    yield f"The nearest field of the basis is {_with_range(rows[0]['errors'])} away."


def _baselines(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "| family | grid | network 0 | persistence | mean | affine | interpolation |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        cells = [_percent(row["errors"][name]) if name in row["errors"] else "–" for name in ANSWERS]
        yield f"| {row['family']} | {' × '.join(map(str, row['grid']))} | {' | '.join(cells)} |"


def written(page: str, result: dict[str, Any]) -> str:
    """The page with its tables replaced."""
    for name, table in tables(result).items():
        pattern = rf"(<!-- measured: {name} -->\n).*?(<!-- end -->)"
        page, count = re.subn(pattern, rf"\1\n{table}\n\n\2", page, flags=re.DOTALL)
        assert count == 1, f"{PAGE} has no place for the table {name}"
    return page


def main() -> None:
    """Measure, or write the tables of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables of the committed measurements only")
    if not parser.parse_args().write:
        torch.set_num_threads(1)
        result = {
            "date": datetime.now(UTC).date().isoformat(),
            "torch": torch.__version__,
            "instances": INSTANCES,
            "floors": measure_floors(),
            "corners": measure_corners(),
            "baselines": measure_baselines(),
        }
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), result), encoding="utf-8")


if __name__ == "__main__":
    main()
