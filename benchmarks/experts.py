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
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pinnx.case import Case, load_case
from pinnx.family import relative_l2
from pinnx.solvers.constrained.family_training import KNOWN, FamilyTraining

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
    """

    table: str
    method: str
    case: str
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Table and method."""
        return f"{self.table}: {self.method}"


METHODS = ("soft", "single", "independent", "independent, data as rows", "interface", "windows")
FLOW = ("soft", "single", "interface", "windows")


def rows_of(table: str, methods: tuple[str, ...], case: str, *changes: str) -> list[Row]:
    """The rows of a table."""
    as_rows = ('solver.known_values="rows"',)
    return [
        Row(table, each, f"{case}_{each.partition(',')[0]}", changes + (as_rows if "rows" in each else ()))
        for each in methods
    ]


ROWS = [
    *rows_of("diffusion-sorption, published", METHODS, "diffusion_sorption"),
    *rows_of("diffusion-sorption, rich", METHODS, "diffusion_sorption", 'equation.law="rich"'),
    *rows_of("extrapolation to t > 400", METHODS, "diffusion_sorption", "solver.train_until=400.0"),
    *rows_of("navier-stokes", FLOW, "navier_stokes"),
]


def measure(case: Case) -> dict[str, Any]:
    """Train a case, and measure errors on held-out instances.

    Returns:
        Plain values: errors by instance, errors of the baselines, costs, how the solves ended.
    """
    torch.set_num_threads(1)
    training = case.start(torch.device("cpu"))
    assert isinstance(training, FamilyTraining)
    began, losses, failures = time.process_time(), [], 0.0
    while training.step_number < training.total_steps:
        metrics = training.step()
        losses.append(metrics["loss"])
        failures += metrics.get("constraint_failures", 0.0)
    seconds = time.process_time() - began
    instances, reference = training.held_out()
    began = time.process_time()
    fields = training.solution().solve(instances)
    inference = (time.process_time() - began) / len(instances)
    grid = training.family.grid
    result = {
        "grid": list(grid.shape),
        "parameters": training.parameters,
        "steps": training.total_steps,
        "step_seconds": seconds / training.total_steps,
        "inference_seconds": inference,
        "loss": losses[-1],
        "errors": relative_l2(fields.values, reference, grid.measure()).tolist(),
        "residual": float(fields.residuals[next(iter(fields.residuals))].mean()),
        "failed_solves": failures / training.network_evaluations,
        "failed_held_out": sum(not status.ok for status in fields.statuses),
        "baselines": {},
    }
    known = training.family.numbered(range(training.options.known_instances), training.seed + KNOWN)
    answers = training.family.baselines(instances, known, training.family.reference(known))
    for name, values in answers.items():
        result["baselines"][name] = relative_l2(values, reference, grid.measure()).tolist()
    until = training.options.train_until
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
    grid = " × ".join(map(str, first["grid"]))
    head = (
        "| method | relative L2 error |"
        + (" for t > 400 |" if late else "")
        + " steps | CPU s per step | per instance |"
    )
    lines = [
        f"**{title[0].upper()}{title[1:]}**, {grid} nodes",
        "",
        head,
        "| --- " + "| ---: " * (head.count("|") - 2) + "|",
    ]
    for row, result in rows:
        cells = [NAMES[row.method], percent(result["errors"]), *([percent(result["late_errors"])] if late else [])]
        cells += [str(result["steps"]), f"{result['step_seconds']:.2f}", f"{result['inference_seconds']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    for name, errors in first["baselines"].items():
        cells = [f"*{name}*", percent(errors), *([percent(first["late_baselines"][name])] if late else []), "", "", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


NAMES = {
    "soft": "no constraint (soft)",
    "single": "one constraint",
    "independent": "independent experts",
    "independent, data as rows": "independent experts, data as rows (as published)",
    "interface": "interface",
    "windows": "windows",
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
        changes = [*row.changes, *([] if given.steps is None else [f"solver.steps={given.steps}"])]
        result = measure(load_case(CASES / f"{row.case}.toml", changes))
        print(row.name, percent(result["errors"]), f"{result['step_seconds']:.2f} CPU s per step", flush=True)
        if given.steps is None:
            host = {"host": platform.processor() or platform.machine(), "torch": torch.__version__}
            RESULTS.write_text(json.dumps({**read(), row.name: {**result, **host}}, indent=1) + "\n", encoding="utf-8")
    if given.steps is None and PAGE.is_file():
        write_page(read())


if __name__ == "__main__":
    main()
