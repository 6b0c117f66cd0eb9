"""Hard constraints beside each other: soft, one constraint, and mixtures of experts, on families of instances.

    python benchmarks/experts.py                 # every row that is not there yet; resumes where it stopped
    python benchmarks/experts.py --rows rich     # rows whose name contains this
    python benchmarks/experts.py --steps 5       # a quick look: nothing is written
    python benchmarks/experts.py --page-only     # the tables of the page from the results so far

Each row is a case of `cases/hard_constraints/`, with a few settings changed. Results are appended row by row to
`benchmarks/results/experts.json`; the tables stand in `docs/hard-constraints.md`. Times are processor time of one
thread, so that rows measured on a busy machine compare.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from origin import origin

from pinnx.case import Case, Output, load_case
from pinnx.family import HELD_OUT, relative_l2
from pinnx.solvers.constrained.family_training import KNOWN, FamilyTraining
from pinnx.solvers.experts import Windows
from pinnx.solvers.hard_constraint import HardConstraint

ROOT = Path(__file__).resolve().parents[1]
CASES = ROOT / "cases" / "hard_constraints"
RESULTS = ROOT / "benchmarks" / "results" / "experts.json"
PAGE = ROOT / "docs" / "hard-constraints.md"
BEGIN, END = "<!-- tables of benchmarks/experts.py -->", "<!-- end of tables -->"


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        table: which table it belongs to.
        method: its name there.
        case: name of the case file.
        changes: settings that replace values of it.
        nodes: along each axis of space, where errors are measured; None for the grid of the training.
    """

    table: str
    method: str
    case: str
    changes: tuple[str, ...] = ()
    nodes: int | None = None

    @property
    def name(self) -> str:
        """Table and method."""
        return f"{self.table}: {self.method}"


METHODS = ("soft", "single", "independent", "independent, data as rows", "interface", "windows")
FLOW = ("soft", "single", "independent", "interface", "windows")
FLOW_TABLE = "Navier-Stokes"


def rows_of(table: str, methods: tuple[str, ...], case: str, *changes: str, nodes: int | None = None) -> list[Row]:
    """The rows of a table."""
    as_rows = ('solver.known_values="rows"',)
    return [
        Row(table, each, f"{case}_{each.partition(',')[0]}", changes + (as_rows if "rows" in each else ()), nodes)
        for each in methods
    ]


ROWS = [
    *rows_of("diffusion-sorption, published", METHODS, "diffusion_sorption"),
    *rows_of("diffusion-sorption, rich", METHODS, "diffusion_sorption", 'equation.law="rich"'),
    *rows_of("extrapolation to t > 400", METHODS, "diffusion_sorption", "solver.train_until=400.0"),
    *rows_of(FLOW_TABLE, FLOW, "navier_stokes", nodes=64),
    Row(
        FLOW_TABLE, "windows, 16 blocks", "navier_stokes_windows", ("solver.blocks=[4, 4, 1]", "solver.steps=4940"), 64
    ),
    Row(FLOW_TABLE, "single, when solving only", "navier_stokes_single", ("solver.steps=4800",), 64),
    Row(
        FLOW_TABLE,
        "windows, 16 blocks, when solving only",
        "navier_stokes_windows",
        ("solver.blocks=[4, 4, 1]", "solver.steps=4800"),
        64,
    ),
]


def measure(case: Case, nodes: int | None = None) -> dict[str, Any]:
    """Train a case, and measure errors on held-out instances.

    Args:
        case: says how to train.
        nodes: as in `Row`.

    Returns:
        Plain values: errors by instance, errors of the baselines, costs, how the solves ended.
    """
    torch.set_num_threads(1)
    training = case.start(torch.device("cpu"))
    assert isinstance(training, FamilyTraining)
    seconds, losses, failures = warmed_up(case, training), [], 0.0
    began = time.process_time()
    while training.step_number < training.total_steps:
        metrics = training.step()
        losses.append(metrics["loss"])
        failures += metrics.get("constraint_failures", 0.0)
    seconds += time.process_time() - began
    return {
        "trained_on": list(training.family.grid.shape),
        "parameters": training.parameters,
        "steps": training.total_steps,
        "constrained_steps": 0
        if training.options.method == "soft"
        else training.total_steps - training.options.warm_up,
        "seconds": seconds,
        "step_seconds": seconds / training.total_steps,
        "loss": losses[-1] if losses else None,
        "failed_solves": failures / training.network_evaluations,
        **_errors(training, nodes),
    }


_WARM: dict[Case, tuple[float, dict[str, Any]]] = {}


def warmed_up(case: Case, training: FamilyTraining) -> float:
    """Do the warm-up of a training; its processor seconds. The same warm-up of several methods is done once."""
    options = case.solver
    assert isinstance(options, HardConstraint)
    if not options.warm_up:
        return 0.0
    shared = replace(options, method="single", coupling=Windows(), blocks=1, steps=options.warm_up + 1)
    key = replace(case, title="", solver=shared, output=Output())
    if key not in _WARM:
        began = time.process_time()
        while training.step_number < options.warm_up:
            training.step()
        _WARM[key] = time.process_time() - began, copy.deepcopy(training.state_dict())
    seconds, state = _WARM[key]
    training.load_state_dict(copy.deepcopy(state))
    return seconds


def _errors(training: FamilyTraining, nodes: int | None) -> dict[str, Any]:
    """What a trained network and the baselines answer for held-out instances."""
    equation: Any = training.problem.equation
    operator = training.solution().operator(equation=equation if nodes is None else replace(equation, nodes=nodes))
    family, grid, options = operator.family, operator.grid, training.options
    instances = family.numbered(range(options.test_instances), training.seed + HELD_OUT)
    reference = family.reference(instances)
    began = time.process_time()
    fields = training.solution().solve(instances, equation=operator.setting.equation)
    result = {
        "grid": list(grid.shape),
        "inference_seconds": (time.process_time() - began) / len(instances),
        "errors": relative_l2(fields.values, reference, grid.measure()).tolist(),
        "residual": float(fields.residuals[next(iter(fields.residuals))].mean()),
        "failed_held_out": sum(not status.ok for status in fields.statuses),
    }
    known = family.numbered(range(options.known_instances), training.seed + KNOWN)
    answers = family.baselines(instances, known, family.reference(known))
    result["baselines"] = {
        name: relative_l2(values, reference, grid.measure()).tolist() for name, values in answers.items()
    }
    until = options.train_until
    if until is not None:
        late = grid.points().t.reshape(grid.shape) > until * (1 + 1e-9)
        share = grid.measure() * late
        result["late_errors"] = relative_l2(fields.values, reference, share).tolist()
        result["late_baselines"] = {
            name: relative_l2(each, reference, share).tolist() for name, each in answers.items()
        }
    return result


def read() -> dict[str, Any]:
    """The results so far, by name of the row."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}


def tables(results: dict[str, Any]) -> str:
    """The tables of all rows that are there, as Markdown."""
    parts = []
    for title in dict.fromkeys(row.table for row in ROWS):
        rows = [(row, results[row.name]) for row in ROWS if row.table == title and row.name in results]
        if rows:
            parts.append(_table(title, rows))
    return "\n".join(parts)


def _table(title: str, rows: list[tuple[Row, dict[str, Any]]]) -> str:
    first = rows[0][1]
    late = "late_errors" in first
    grids = [" × ".join(map(str, first[name])) for name in ("grid", "trained_on")]
    dates = sorted({result["date"] for _, result in rows})
    heads = ["method", "relative L2 error", *(["for t > 400"] if late else []), "steps", "of them constrained"]
    heads += ["CPU s", "per step", "per instance", "residual"]
    trained = "" if grids[0] == grids[1] else f", trained on {grids[1]}"
    lines = [
        f"**{title[0].upper()}{title[1:]}**, {grids[0]} nodes{trained}; {len(first['errors'])} instances; "
        f"{', '.join(dates)} at {', '.join(sorted({result['commit'] for _, result in rows}))}",
        "",
        f"| {' | '.join(heads)} |",
        "| --- " + "| ---: " * (len(heads) - 1) + "|",
    ]
    for row, result in rows:
        cells = [NAMES[row.method], percent(result["errors"]), *([percent(result["late_errors"])] if late else [])]
        cells += [str(result["steps"]), str(result["constrained_steps"]), f"{result['seconds']:.0f}"]
        cells += [f"{result[name]:.2g}" for name in ("step_seconds", "inference_seconds", "residual")]
        lines.append(f"| {' | '.join(cells)} |")
    for name, errors in first["baselines"].items():
        cells = [f"*{name}*", percent(errors), *([percent(first["late_baselines"][name])] if late else [])]
        lines.append(f"| {' | '.join(cells)} |{' |' * (len(heads) - len(cells))}")
    return "\n".join(lines) + "\n"


NAMES = {
    "soft": "no constraint (soft)",
    "single": "one constraint",
    "independent": "independent experts",
    "independent, data as rows": "independent experts, data as rows (as published)",
    "interface": "interface",
    "windows": "windows",
    "windows, 16 blocks": "windows, 4 × 4 in space",
    "single, when solving only": "one constraint, when solving only",
    "windows, 16 blocks, when solving only": "windows, 4 × 4 in space, when solving only",
}


def percent(errors: list[float]) -> str:
    """Mean ± standard deviation over the instances, in percent."""
    values = 100 * torch.tensor(errors)
    return f"{float(values.mean()):.3g} ± {float(values.std()):.2g} %"


def write_page(results: dict[str, Any]) -> None:
    """Put the tables into the page, between their marks."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables(results)}\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--steps", type=int, help="so few steps; nothing is written")
    parser.add_argument("--page-only", action="store_true")
    given = parser.parse_args()
    for row in [] if given.page_only else ROWS:
        if given.rows not in row.name or (given.steps is None and row.name in read()):
            continue
        case = load_case(CASES / f"{row.case}.toml", row.changes)
        if given.steps is not None:
            short = {"steps": given.steps, "warm_up": min(case.solver.warm_up, given.steps // 2)}  # type: ignore[attr-defined]
            case = replace(case, solver=replace(case.solver, **short))  # type: ignore[arg-type]
        result = {**measure(case, row.nodes), **origin()}
        print(row.name, percent(result["errors"]), f"{result['seconds']:.0f} CPU s", flush=True)
        if given.steps is None:
            RESULTS.write_text(json.dumps({**read(), row.name: result}, indent=1) + "\n", encoding="utf-8")
    if given.steps is None and PAGE.is_file():
        write_page(read())


if __name__ == "__main__":
    main()
