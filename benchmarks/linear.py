"""Learned directions against conjugate gradients and multigrid: iterations, set-up, solve and training time apart.

    python benchmarks/linear.py                           # all rows that are missing, then the page: half an hour
    python benchmarks/linear.py --rows "box 64x64 *"      # only rows that match a pattern
    python benchmarks/linear.py --again                   # all rows anew, in one run
    python benchmarks/linear.py --rows "box *" --again    # some of them anew, as on a quieter machine
    python benchmarks/linear.py --list                    # the names of all rows
    python benchmarks/linear.py --page-only               # the page from the results so far

Everything runs on one thread; beside each wall time stands the CPU time of the process, which a busy machine changes
less, and the methods take turns on each grid. Results go grid by grid to `benchmarks/results/linear.json`, trained
models to `benchmarks/results/linear_models/`; the page is `docs/linear-benchmark.md`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import linear_checks
import linear_models
import linear_page
import linear_rows
import torch
from origin import origin

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "linear.json"
PAGE = ROOT / "docs" / "linear-benchmark.md"


def main() -> None:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=["*"], metavar="PATTERN", help="by default all")
    parser.add_argument("--again", action="store_true", help="also rows that have been run (trainings too)")
    parser.add_argument("--list", action="store_true", help="only print the names of the rows")
    parser.add_argument("--page-only", action="store_true", help="only write the page")
    parser.add_argument("--scratch", type=Path, default=ROOT / "build" / "linear", help="for training data")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    asked = [row for row in rows() if any(fnmatch(row, pattern) for pattern in arguments.rows)]
    if arguments.list:
        print("\n".join(asked))
        return
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    wanted = [] if arguments.page_only else [row for row in asked if arguments.again or row not in results]
    for group, members in itertools.groupby(wanted, key=_group):
        print(group, flush=True)
        results = {**results, **run(list(members), arguments.scratch)}
        order = {name: place for place, name in enumerate(rows())}
        results = {name: results[name] for name in sorted(results, key=lambda n: order.get(n, -1)) if name in order}
        RESULTS.write_text(_json(results), encoding="utf-8")
    PAGE.write_text(linear_page.render(results), encoding="utf-8")


def rows() -> list[str]:
    """The names of all rows: trainings first."""
    trainings = [f"train {name}" for name in linear_models.RECIPES]
    return trainings + [f"check {name}" for name in linear_checks.CHECKS] + linear_rows.names()


def run(members: list[str], scratch: Path) -> dict[str, dict[str, Any]]:
    """The values of the rows of one group."""
    circumstances = _circumstances()
    kind, *place, _ = members[0].split(" ")
    names = [row.rsplit(" ", 1)[1] for row in members]
    if kind == "train":
        scratch.mkdir(parents=True, exist_ok=True)
        values = {name: linear_models.train(name, scratch) for name in names}
    elif kind == "check":
        values = {name: linear_checks.CHECKS[name]() for name in names}
    else:
        values = linear_rows.run(kind, tuple(map(int, place[0].split("x"))), names)
    for row, name in zip(members, names, strict=True):
        print("  ", row, {key: value for key, value in values[name].items() if key != "history"}, flush=True)
    return {row: {**values[name], **circumstances} for row, name in zip(members, names, strict=True)}


def _group(row: str) -> str:
    """Rows that are measured together: the methods on one grid; trainings and checks each alone."""
    return row if row.startswith(("train", "check")) else row.rsplit(" ", 1)[0]


def _circumstances() -> dict[str, Any]:
    return {**origin(), "machine": f"{_processor()}, {os.cpu_count()} cores, one thread"}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _json(results: dict[str, Any]) -> str:
    """One row a line."""
    lines = ",\n".join(f" {json.dumps(row)}: {json.dumps(values)}" for row, values in results.items())
    return "{\n" + lines + "\n}\n"


if __name__ == "__main__":
    main()
