"""The page of the linear benchmark, from its results."""

from __future__ import annotations

import math
import statistics
from typing import Any

from linear_aims import AIMS, TOLERANCES, aims
from linear_checks import MATRICES
from linear_models import RECIPES
from linear_rows import BOXES, METHODS, OBSTACLE_METHODS, OBSTACLES, named

Results = dict[str, dict[str, Any]]


def render(results: Results) -> str:
    """The whole page as Markdown."""
    parts = [
        _HEAD,
        aims(results),
        _trainings(results),
        _boxes(results),
        _obstacles(results),
        _columns(results),
        _checks(results),
        _even(results),
        _made(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_HEAD = """# Learned directions, measured

Iterations and times of the learned search directions beside conjugate gradients and multigrid, each of them inside the
same loop (`pinnx.solvers.linear.solve`), one thread, float64 outside and float32 inside of the networks. Set-up,
solve and training stand apart. On each grid the methods take turns. Times are CPU milliseconds of the process, which a
busy machine changes less than wall time; wall times, and the most beside the least time, are in
`benchmarks/results/linear.json`.

The learned V-cycle is one file for all rows, in two dimensions and in three: its weights are made from each matrix, so
that a training on 64 × 64 grids serves all sizes; *32³* is one that was trained in three dimensions. *Untrained* is the
same cycle at its classical start: the difference is what training brings. The image networks (DCDM, U-Nets) run without
the safeguards of the loop, to be seen alone, and stop after 100 iterations."""


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _trainings(results: Results) -> str:
    rows = []
    for name in RECIPES:
        if values := results.get(f"train {name}"):
            cost = f"{values['cpu_seconds']:.0f}"
            rows.append([name, str(values["parameters"]), str(values["steps"]), cost, str(values["seed"])])
    return "## Training\n\n" + _table(["model", "parameters", "steps", "CPU seconds", "seed"], rows) if rows else ""


def _boxes(results: Results) -> str:
    parts = [
        "## Boxes\n\nThe classical 5- and 7-point matrix of a box, white right-hand sides: most iterations of three, "
        "least time. A star marks an aim that was missed."
    ]
    for grid in BOXES:
        rows = []
        for name, method in METHODS.items():
            values = results.get(f"box {named(grid)} {name}")
            if values:
                cells = [_iterations(values, named(grid), name), *(_milliseconds(values, t) for t in TOLERANCES[:2])]
                rows.append([method.title, *cells, f"{1000 * values['setup_cpu_seconds']:.1f}"])
        if rows:
            head = ["method", "iterations to 1e-4 / 1e-6 / 1e-8", "ms to 1e-4", "ms to 1e-6", "ms set-up"]
            parts.append(f"### {' × '.join(map(str, grid))}\n\n{_table(head, rows)}")
    return "\n\n".join(parts)


def _iterations(values: dict[str, Any], grid: str, name: str) -> str:
    aims = AIMS.get((grid, name), (None,) * 3)
    cells = []
    for tolerance, aim in zip(TOLERANCES, aims, strict=True):
        found = values.get(tolerance, {}).get("iterations")
        missed = aim is not None and (found is None or found > aim)
        cells.append(("–" if found is None else str(found)) + ("\\*" if missed else ""))
    return " / ".join(cells)


def _milliseconds(values: dict[str, Any], tolerance: str) -> str:
    return f"{1000 * values[tolerance]['cpu_seconds']:.1f}" if tolerance in values else "–"


def _obstacles(results: Results) -> str:
    parts = [
        "## Every system another\n\nObstacles in 20–30 % of the cells, mixed walls, jumps of the coefficient up to "
        "1000 (`random_obstacle_problem`), each system with its own matrix, solved to 1e-6. Totals over all systems. "
        "PyAMG runs in its own loop, and is not charged for the conversion of the matrices; ours are set up and solved "
        "in batches. A failure is a true residual above the tolerance."
    ]
    for grid in OBSTACLES:
        rows = []
        for name in OBSTACLE_METHODS:
            if values := results.get(f"obstacles {named(grid)} {name}"):
                setup, solve = values["setup_cpu_seconds"], values["solve_cpu_seconds"]
                iterations = f"{values['mean_iterations']:.1f} / {values['most_iterations']}"
                times = [f"{setup:.2f}", f"{solve:.2f}", f"{setup + solve:.2f}"]
                rows.append([METHODS[name].title, iterations, *times, str(values["failures"])])
        if rows:
            systems = next(v["systems"] for r, v in results.items() if r.startswith(f"obstacles {named(grid)} "))
            head = ["method", "iterations, mean / most", "s set-up", "s solve", "s total", "failures"]
            parts.append(f"### {systems} systems of {' × '.join(map(str, grid))}\n\n{_table(head, rows)}")
    return "\n\n".join(parts) if len(parts) > 1 else ""


def _range(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def _columns(results: Results) -> str:
    rows = []
    for row, values in results.items():
        if row.startswith("columns") and "together" in values:
            times = [1000 * values[key]["cpu_seconds"] / values["columns"] for key in ("together", "one_by_one")]
            if row.startswith("columns-gpu"):
                times = [1000 * values[key]["seconds"] / values["columns"] for key in ("together", "one_by_one")]
            place = row.split(" ")[1] + (", GPU" if row.startswith("columns-gpu") else ", CPU")
            rows.append([place, str(values["columns"]), *(f"{t:.1f}" for t in times), _range(values["ratios"])])
    head = ["grid", "columns", "ms per column, together", "ms per column, one by one", "together / one by one"]
    text = "The learned V-cycle to 1e-6. The ratio is the median of several rounds, in brackets the least and the most."
    return f"## Many right-hand sides\n\n{text}\n\n" + _table(head, rows) if rows else ""


def _checks(results: Results) -> str:
    parts = []
    if values := results.get("check history"):
        rows = []
        for name in (n for n in MATRICES if n in values["table"]):
            row = values["table"][name]
            found = [row["iterations"], row["scipy"], row["largest_difference"], row["scipy_reordered"]]
            rows.append([name, *map(str, found)])
        head = ["matrix", "iterations", "scipy's", "largest difference", "scipy, unknowns in another order"]
        parts.append(
            "## The identity is conjugate gradients\n\nRelative residual norms to 1e-8, iteration by iteration, beside "
            "those of `scipy.sparse.linalg.cg`: the largest difference. The last column is scipy beside itself, the "
            "unknowns in another order: where it is large, rounding decides, and no two implementations agree.\n\n"
            + _table(head, rows)
        )
    if values := results.get("check adversaries"):
        rows = [
            [name, str(row["solves"]), f"{row['largest_ratio']:.3f}", str(row["failures"]), row["says"]]
            for name, row in values["table"].items()
        ]
        head = ["direction", "solves", "most iterations / fallback's", "failures", "what the first result says"]
        parts.append(
            "## Directions that mean harm\n\nOn boxes, with reaction, and with obstacles and jumps, memory 0, 1 and 2, "
            "to 1e-8: the iterations as a part of those of conjugate gradients, the largest of all solves.\n\n"
            + _table(head, rows)
        )
    if values := results.get("check endings"):
        rows = [
            [name, f"`{row['status']}`", f"{row['right']} of {row['of']}", row["says"]]
            for name, row in values["table"].items()
        ]
        head = ["system", "status", "found", "message"]
        parts.append(
            "## Systems that are none\n\nSolved without a direction and with each of those above.\n\n"
            + _table(head, rows)
        )
    return "\n\n".join(parts)


def _even(results: Results) -> str:
    """After how many solves the training has paid for itself."""
    training = results.get("train v-cycle-2d")
    rows = []
    for grid in BOXES:
        mine = _total(results.get(f"box {named(grid)} v-cycle"))
        cells = [
            _solves(training, mine, _total(results.get(f"box {named(grid)} {name}")))
            for name in ("cg", "pyamg-rs", "pyamg-sa", "multigrid", "v-cycle-untrained")
        ]
        rows.append([f"box {' × '.join(map(str, grid))}", *cells])
    for grid in OBSTACLES:
        totals = {
            name: _each(results.get(f"obstacles {named(grid)} {name}"))
            for name in ("v-cycle", "cg", "pyamg-rs", "pyamg-sa", "multigrid", "v-cycle-untrained")
        }
        mine = totals.pop("v-cycle")
        cells = [_solves(training, mine, total) for total in totals.values()]
        rows.append([f"obstacles {' × '.join(map(str, grid))}", *cells])
    rows = [row for row in rows if any(cell != "–" for cell in row[1:])]
    head = ["systems", "CG", "PyAMG RS", "PyAMG SA", "geometric multigrid", "V-cycle, untrained"]
    text = (
        "## Break-even\n\nThe number of solves to 1e-6, each with its own set-up, after which the training of the "
        "learned V-cycle has paid for itself against another method; *never* where the other is faster."
    )
    return f"{text}\n\n{_table(head, rows)}" if rows else ""


def _total(values: dict[str, Any] | None) -> float | None:
    if not values or "1e-06" not in values:
        return None
    return values["1e-06"]["cpu_seconds"] + values["setup_cpu_seconds"]


def _each(values: dict[str, Any] | None) -> float | None:
    return (values["setup_cpu_seconds"] + values["solve_cpu_seconds"]) / values["systems"] if values else None


def _solves(training: dict[str, Any] | None, mine: float | None, other: float | None) -> str:
    if training is None or mine is None or other is None:
        return "–"
    return "never" if other <= mine else f"{math.ceil(training['cpu_seconds'] / (other - mine))}"


def _made(results: Results) -> str:
    loads: dict[str, list[float]] = {}
    for values in results.values():
        machine = f"{values['date']}, commit {values['commit']}, {values['machine']}, torch {values['torch']}"
        loads.setdefault(machine, []).append(values["load"])
    listed = "\n".join(f"- {name}, load {min(load)} to {max(load)}" for name, load in sorted(loads.items()))
    return (
        "## How it was made\n\n`python benchmarks/linear.py --again`; rows that are missing have not been run yet, and "
        f"`--again --rows PATTERN` runs some anew. Measured on:\n\n{listed}"
    )
