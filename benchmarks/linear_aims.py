"""What the linear benchmark was set to show, and what it shows."""

from __future__ import annotations

import statistics
from typing import Any

Results = dict[str, dict[str, Any]]

TOLERANCES = ("1e-04", "1e-06", "1e-08")
_V = "v-cycle"
#: Most iterations to 1e-4, 1e-6, 1e-8, by grid and method; None where none was set.
AIMS: dict[tuple[str, str], tuple[int | None, ...]] = {
    ("64x64", "dcdm"): (15, 24, None),
    ("128x128", "dcdm"): (34, 50, None),
    **{(f"{n}x{n}", _V): (5, 7, 9) for n in (64, 128, 256)},
    ("512x512", _V): (6, 8, 10),
    **{(f"{n}x{n}x{n}", name): (5, 8, 10) for n in (64, 128) for name in (_V, "v-cycle-3d")},
}
#: CPU seconds that a training may take.
BUDGETS = {"dcdm": 600, "v-cycle-2d": 60, "v-cycle-3d": 60}


def aims(results: Results) -> str:
    """The table of aims; those whose rows have not been run are left out."""
    rows = [*_trainings(results), *_iterations(results), *_times(results), *_obstacles(results), *_promises(results)]
    if not rows:
        return ""
    lines = ["| aim | at most | found | |", "| --- | ---: | ---: | --- |"]
    for text, most, found in rows:
        verdict = "reached" if found <= most else "**missed**"
        lines.append(f"| {text} | {_number(most)} | {_number(found)} | {verdict} |")
    return "## Against the aims\n\n" + "\n".join(lines)


Row = tuple[str, float, float]
"""An aim, the most it allows, and what was found."""


def _trainings(results: Results) -> list[Row]:
    rows = [(name, most, results.get(f"train {name}")) for name, most in BUDGETS.items()]
    return [
        (f"training of {name}, data included, CPU seconds", most, values["cpu_seconds"] + values["data_cpu_seconds"])
        for name, most, values in rows
        if values
    ]


def _iterations(results: Results) -> list[Row]:
    rows: list[Row] = []
    for (grid, name), limits in AIMS.items():
        for tolerance, most in zip(TOLERANCES, limits, strict=True):
            values = results.get(f"box {grid} {name}")
            if values and most is not None:
                found = values.get(tolerance, {}).get("iterations", float("inf"))
                rows.append((f"{name}, box {grid}, iterations to {tolerance}", most, found))
    return rows


def _times(results: Results) -> list[Row]:
    """Time to 1e-4 on the largest boxes."""
    rows: list[Row] = []
    for grid in ("512x512", "128x128x128"):
        solves, totals = {}, {}
        for name in (_V, "cg", "multigrid", "pyamg-rs", "pyamg-sa"):
            values = results.get(f"box {grid} {name}")
            if values:
                solves[name] = values["1e-04"]["cpu_seconds"]
                totals[name] = solves[name] + values["setup_cpu_seconds"]
        if _V not in solves:
            continue
        start = f"v-cycle, box {grid}, time to 1e-4"
        for name, most, mine, others, text in (
            ("cg", 0.25, totals, totals, "with set-up, as a part of CG's"),
            ("pyamg-rs", 1.0, totals, totals, "with set-up, as a part of PyAMG Ruge–Stüben's"),
            ("pyamg-sa", 1.0, totals, totals, "with set-up, as a part of PyAMG smoothed aggregation's"),
            ("multigrid", 1.2, solves, solves, "as a part of geometric multigrid's"),
            ("multigrid", 1.2, totals, totals, "the same with the set-up of both"),
        ):
            if name in others:
                rows.append((f"{start}, {text}", most, mine[_V] / others[name]))
    return rows


def _obstacles(results: Results) -> list[Row]:
    rows: list[Row] = []
    for grid in ("64x64", "128x128", "32x32x32"):
        found = {name: results.get(f"obstacles {grid} {name}") for name in (_V, "pyamg-rs", "pyamg-sa")}
        totals = {name: v["setup_cpu_seconds"] + v["solve_cpu_seconds"] for name, v in found.items() if v}
        mine = found[_V]
        if mine and len(totals) > 1:
            best = min(total for name, total in totals.items() if name != _V)
            rows.append((f"v-cycle, obstacles {grid}, total as a part of PyAMG's better", 1.0, totals[_V] / best))
            rows.append((f"v-cycle, obstacles {grid}, failures", 0, mine["failures"]))
    return rows


def _promises(results: Results) -> list[Row]:
    rows: list[Row] = []
    if values := results.get("check history"):
        # Where scipy does not agree with itself, nothing can be compared.
        table = [row for row in values["table"].values() if row["scipy_reordered"] <= 1e-10]
        largest = max(row["largest_difference"] for row in table)
        rows.append((f"identity, {len(table)} matrices, difference from scipy's residual history", 1e-10, largest))
    if values := results.get("check adversaries"):
        worst = max(row["largest_ratio"] for row in values["table"].values())
        rows.append(("adversaries, iterations as a part of the fallback's", 1.1, worst))
        rows.append(("adversaries, failures", 0, sum(row["failures"] for row in values["table"].values())))
    if values := results.get("check endings"):
        wrong = sum(row["of"] - row["right"] for row in values["table"].values())
        rows.append(("systems that are none, wrong statuses", 0, wrong))
    for row, values in results.items():
        if row.startswith("columns ") and "together" in values:
            ratio = statistics.median(values["ratios"])
            rows.append((f"64 right-hand sides together, box {row.split(' ')[1]}, as a part of one by one", 1.0, ratio))
    return rows


def _number(value: float) -> str:
    if value == float("inf"):
        return "not reached"
    return f"{value:g}" if value == int(value) else f"{value:.2g}" if value < 1e-3 else f"{value:.2f}"
