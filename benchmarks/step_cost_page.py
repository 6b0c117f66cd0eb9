"""The page docs/benchmarks.md, made from the measurements of step_cost.py and from nothing else."""

from __future__ import annotations

import ast
import statistics
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Measurement = dict[str, Any]
TITLES = {"pinnx": "pinnx", "deepxde": "DeepXDE", "pina": "PINA"}


def task_facts() -> dict[str, Any]:
    """The constants of peers/task.py, read without importing it (it imports PyTorch)."""
    tree = ast.parse((Path(__file__).parent / "peers" / "task.py").read_text(encoding="utf-8"))
    return {
        node.targets[0].id.lower(): node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }


def median(values: Iterable[float]) -> float:
    """The median of some numbers."""
    return statistics.median(values)


def render(result: dict[str, Any]) -> str:
    """The page as Markdown."""
    measurements: list[Measurement] = result["measurements"]
    packages = [name for name in TITLES if any(m["package"] == name for m in measurements)]
    sections = [
        "# Cost of a training step",
        "<!-- Written by benchmarks/step_cost.py from benchmarks/results/step_cost.json: do not edit. -->",
        *_setting(result, packages),
        "## Milliseconds a step",
        _steps_table(measurements, packages),
        _paragraph(
            "A ratio is taken within each round; its range is that of the rounds. The losses of the first step agree",
            f"to {_disagreement(measurements):.0e} (relative) between the packages: they do the same work.",
        ),
        "## What grows with the dimension",
        _paragraph(
            "In pinnx the only work that depends on the dimension $d$ is that of the first layer: the products of its",
            "weight $W$ with the points, the Gram matrix $W W^\\mathsf{T}$, their gradients, and Adam on $W$. Done",
            "alone, on the same sizes, right after each step, it takes this much of the step, in milliseconds:",
        ),
        _breakdown_table(measurements),
        _paragraph(
            f"Below the width {result['task']['width']} of the network a step is cheaper, because the Laplacian needs",
            "only $d$ directions. Drawing fresh points in the ball, as a run does at every step unless told otherwise,",
            "comes on top.",
        ),
        "## Do it yourself",
        "```console\nmake bench\n```",
        _paragraph(
            "makes the environments of the other packages, measures, and writes this page;",
            '`make bench ARGS="--quick"` takes a minute and writes nothing.',
        ),
    ]
    return "\n\n".join(sections) + "\n"


def _setting(result: dict[str, Any], packages: list[str]) -> list[str]:
    """What was measured, where, and how."""
    task, machine = result["task"], result["machine"]
    versions = {m["package"]: m["version"] for m in result["measurements"]}
    torch = sorted({m["torch"] for m in result["measurements"]})
    return [
        _paragraph(
            "One step of training a network on $\\Delta u + u - u^3 = 0$ with the **exact** Laplacian, in float32: the",
            f"residual at {task['points']} points, its mean square, the gradient, one step of Adam. The network is a",
            f"perceptron with {task['depth']} hidden layers of {task['width']} neurons and tanh. All packages get the",
            "same points and the same initial weights, and run their own training loop; the points stay the same.",
        ),
        _paragraph(
            f"Measured on {result['date']} with {machine['threads']} thread of {machine['processor']}",
            f"({machine['cores']} cores), PyTorch {', '.join(torch)},",
            f"{', '.join(f'{TITLES[name]} {versions[name]}' for name in packages)}; commit `{result['commit'][:12]}`.",
            f"Each package runs in processes of its own; {result['rounds']} rounds, interleaved. A number is the",
            "median over the rounds of a round's median step; its range goes from the fastest round to the slowest.",
        ),
        *[f"{TITLES[name]} could not be installed: {reason}." for name, reason in result["missing"].items()],
    ]


def _steps_table(measurements: list[Measurement], packages: list[str]) -> str:
    peers = [name for name in packages if name != "pinnx"]
    header = ["d", *(TITLES[name] for name in packages), *(f"{TITLES[name]} / pinnx" for name in peers)]
    rows = [header, ["---:"] * len(header)]
    for dimension in sorted({m["dimension"] for m in measurements}):
        times = {name: _by_round(measurements, name, dimension, _step) for name in packages}
        ratios = [{i: t / times["pinnx"][i] for i, t in times[peer].items()} for peer in peers]
        cells = [_spread(times[name].values(), _milliseconds) for name in packages]
        rows.append([_count(dimension), *cells, *(_spread(ratio.values(), "{:.1f}×".format) for ratio in ratios)])
    return _table(rows)


def _breakdown_table(measurements: list[Measurement]) -> str:
    rows = [["d", "step", "first layer alone", "the rest", "drawing points"], ["---:"] * 5]
    for dimension in sorted({m["dimension"] for m in measurements}):
        columns = [
            _by_round(measurements, "pinnx", dimension, each).values()
            for each in (
                _step,
                _first_layer,
                lambda m: _step(m) - _first_layer(m),
                lambda m: median(m["drawing_seconds"]),
            )
        ]
        rows.append([_count(dimension), *(_spread(column, _milliseconds) for column in columns)])
    return _table(rows)


def _step(measurement: Measurement) -> float:
    return median(measurement["seconds"])


def _first_layer(measurement: Measurement) -> float:
    return median(measurement["first_layer_seconds"])


def _by_round(
    measurements: list[Measurement], package: str, dimension: int, read: Callable[[Measurement], float]
) -> dict[int, float]:
    return {m["round"]: read(m) for m in measurements if (m["package"], m["dimension"]) == (package, dimension)}


def _disagreement(measurements: list[Measurement]) -> float:
    """Largest relative difference of the first step's loss between packages."""
    worst = 0.0
    for dimension in {m["dimension"] for m in measurements}:
        losses = [m["loss"] for m in measurements if m["dimension"] == dimension]
        worst = max(worst, (max(losses) - min(losses)) / max(losses))
    return worst


def _spread(values: Iterable[float], form: Callable[[float], str]) -> str:
    values = list(values)
    if not values:
        return "–"
    if len(values) == 1:
        return form(values[0])
    return f"{form(median(values))} ({form(min(values))} – {form(max(values))})"


def _milliseconds(seconds: float) -> str:
    value = 1000 * seconds
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}"


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _paragraph(*parts: str) -> str:
    return textwrap.fill(" ".join(parts), 120, break_long_words=False, break_on_hyphens=False)


def _table(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
