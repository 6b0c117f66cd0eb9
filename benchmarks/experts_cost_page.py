"""The tables of experts_cost.py, made from its measurements and from nothing else."""

from __future__ import annotations

import statistics
from typing import Any

Row = dict[str, Any]
EQUATIONS = ("heat", "burgers")


def render(result: dict[str, list[Row]]) -> str:
    """The tables, as Markdown."""
    rows, pairs = result["rows"], result.get("processes", [])
    lines = [
        f"{origins(rows)} {each('coefficients', rows)} basis functions; processor seconds of a training step · of an "
        "inference (largest memory of a step), the median of the rounds; behind a name the iterations of the slowest "
        "instance at each size, with a star where one did not converge.",
        "",
    ]
    for equation in EQUATIONS:
        mine = [row for row in rows if row["equation"] == equation]
        lines += [*_costs(equation, mine), ""] if mine else []
    if pairs:
        lines += [*_gains(pairs), "", origins(pairs)]
    return "\n".join(lines).strip()


def origins(rows: list[Row]) -> str:
    """When and where rows were measured, and which of them are not of the state of the layer that was measured last."""
    machine = f"{each('machine', rows)}, PyTorch {each('torch', rows)}"
    loads = sorted(row["load"] for row in rows)
    counts = [row for row in rows if "rounds" in row]
    rounds = f"; rounds: {each('rounds', counts)}" if counts else ""
    text = (
        f"Measured on {each('date', rows)} ({machine}; load of the machine {loads[0]:.1f} to {loads[-1]:.1f}{rounds}) "
        f"at {each('commit', rows)}."
    )
    earlier = [row for row in rows if row["layer"] != rows[-1]["layer"]]
    names = sorted({f"{row.get('equation', row['method'])} at {row['points']} points" for row in earlier})
    return text + (f" With an earlier state of the layer: {', '.join(names)}." if names else "")


def each(key: str, rows: list[Row]) -> str:
    """The different values of a key, in order."""
    return ", ".join(map(str, sorted({row[key] for row in rows})))


def _costs(equation: str, rows: list[Row]) -> list[str]:
    sizes = {row["points"]: row["instances"] for row in sorted(rows, key=lambda row: row["points"])}
    heads = [equation, *(f"{points} points × {instances}" for points, instances in sizes.items())]
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * len(sizes)]
    for name in dict.fromkeys(row["method"] for row in rows):
        cells = [row for size in sizes for row in rows if (row["points"], row["method"]) == (size, name)]
        counts = ", ".join(f"{row['iterations']}{'' if row['converged'] else '*'}" for row in cells)
        shown = [f"{row['step']:.3g} · {row['inference']:.3g} ({row['memory'] / 2**20:.3g} MB)" for row in cells]
        lines.append(f"| {name} ({counts}) | {' | '.join(shown)} |")
    return lines


def _gains(rows: list[Row]) -> list[str]:
    """The gain within each round that has both."""
    heads = [
        f"clock seconds of a step, Burgers at {each('points', rows)} points",
        "one process",
        "two processes",
        "gain (range)",
    ]
    lines = [f"| {' | '.join(heads)} |", "| --- | ---: | ---: | ---: |"]
    for name in dict.fromkeys(row["method"] for row in rows):
        one, two = (
            {row["round"]: row["step"] for row in rows if (row["method"], row["processes"]) == (name, count)}
            for count in (1, 2)
        )
        gains = [one[number] / two[number] for number in sorted(one.keys() & two.keys())]
        if gains:
            spread = f"{statistics.median(gains):.2f} ({min(gains):.2f} to {max(gains):.2f})"
            both = (f"{statistics.median(found.values()):.2f}" for found in (one, two))
            lines.append(f"| {name} | {' | '.join(both)} | {spread} |")
    return lines
