"""What the choice of points is worth: strategies side by side on problems with peaks and fronts, equal processor time.

    python benchmarks/adaptive.py                                  # what is missing; resumes where it stopped
    python benchmarks/adaptive.py --seconds 5 --rows "two peaks" --strategies rad uniform --output build/adaptive
    python benchmarks/adaptive.py --page-only                      # the table and the figures from the results so far

A run stops when its processor seconds of training are spent, the choice of points among them; measuring the error does
not count. The learning rate falls to zero over a number of steps that is set from timed steps beforehand. Results go to
`benchmarks/results/adaptive.json`, the table into `docs/adaptive-points.md`, the figures into `docs/images`.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from origin import origin

from pinnx.equations import ClassicalBurgers, GaussianPeak, TwoPeaks
from pinnx.errors import DivergedError
from pinnx.networks import FourierMlp, Mlp
from pinnx.problem import Equation
from pinnx.solvers.pinn import Pinn, PinnTraining
from pinnx.solvers.sampling import R3, Aas, Das, Importance, Rad, RarD, Resampling, Uniform
from pinnx.solvers.training import Adam, SelfScaled, Soap, Stage
from pinnx.views.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, new_figure, style

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "adaptive.json"
PAGE = ROOT / "docs" / "adaptive-points.md"
IMAGES = ROOT / "docs" / "images"
#: Drawn once; the first `--seeds` of them are used.
SEEDS = (50_923, 18_466)
#: Measurements of the error on the way, and points of a run that are kept.
MEASUREMENTS, POINTS_KEPT = 15, 400
_COLORS = {
    "uniform": "0.35", "rad": BLUE, "rar-d": SKY, "r3": GREEN, "importance": ORANGE, "aas": VERMILION, "das": PURPLE
}  # fmt: skip

Strategies = dict[str, tuple[Resampling, int | None]]
"""By name: the options, and the steps between two choices of points where they are not the strategy's own."""


@dataclass(frozen=True)
class Row:
    """One problem.

    Attributes:
        equation: with its dimension.
        network: that of all strategies.
        strategies: those that are compared.
        optimizer: options of the solver that say how parameters move, from the number of steps.
        options: further ones.
    """

    equation: Equation
    network: Any
    strategies: Strategies
    optimizer: Callable[[int], dict[str, Any]]
    options: dict[str, Any] = field(default_factory=dict)


_FIRST_ORDER: Strategies = {
    "uniform": (Uniform(), None),
    "rad": (Rad(), None),
    "rar-d": (RarD(added=25, most=1500), None),
    "r3": (R3(), None),
    "importance": (Importance(), None),
    "aas": (Aas(), None),
    "das": (Das(), None),
}
#: A peak that one point in a million meets wants large pools.
_TEN_DIMENSIONS: Strategies = {
    **_FIRST_ORDER,
    "rad": (Rad(pool=60), None),
    "aas": (Aas(pool=60, updates=10, smoothness=1e-3), 40),
    "das": (Das(pool=60, updates=10, learning_rate=5e-3), 40),
}
#: Quasi-Newton steps want points that stay for a while, whoever chooses them.
_QUASI_NEWTON: Strategies = {"uniform": (Uniform(), 100), "rad": (Rad(), 100), "r3": (R3(), 100)}


def _after_adam(steps: int) -> dict[str, Any]:
    return {"stage": (Stage(300, Adam(learning_rate=5e-3)), Stage(steps, SelfScaled()))}


ROWS: dict[str, Row] = {
    "two peaks, 2 d": Row(
        TwoPeaks(constraints="hard"),
        FourierMlp(width=64, depth=2, scale=10.0),
        _FIRST_ORDER,
        lambda steps: {"steps": steps, "optimizer": Soap(learning_rate=3e-3)},
        {"points": 500},
    ),
    "Gaussian peak, 10 d": Row(
        GaussianPeak(10),
        Mlp(width=64, depth=3),
        _TEN_DIMENSIONS,
        lambda steps: {"steps": steps, "optimizer": Adam(learning_rate=2e-3)},
        {"points": 500, "condition_points": 200},
    ),
    "Burgers, 1 + 1 d": Row(
        ClassicalBurgers(),
        Mlp(width=20, depth=4),
        _QUASI_NEWTON,
        _after_adam,
        {"points": 1000, "precision": "float64"},
    ),
}


def main() -> None:
    """Run what is missing, then write table and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="processor seconds of training per run")
    parser.add_argument("--seeds", type=int, default=1, help="how many of the drawn seeds")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), help="parts of the rows' names; by default all")
    parser.add_argument("--strategies", nargs="+", choices=_FIRST_ORDER, default=list(_FIRST_ORDER))
    parser.add_argument("--output", type=Path, help="write results and figures there, and no page")
    parser.add_argument("--page-only", action="store_true", help="only write table and figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    output: Path | None = arguments.output
    file = RESULTS if output is None else output / "adaptive.json"
    results: list[dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else []
    done = {(each["row"], each["strategy"], each["seed"], each["budget"]) for each in results}
    rows = [name for name in ROWS if any(part in name for part in arguments.rows)]
    asked = [(r, s, seed) for seed in SEEDS[: arguments.seeds] for r in rows for s in ROWS[r].strategies]
    for row, strategy, seed in [] if arguments.page_only else asked:
        if strategy not in arguments.strategies or (row, strategy, seed, arguments.seconds) in done:
            continue
        results.append(run(row, strategy, seed, arguments.seconds))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(results, indent=1) + "\n")
        print(row, strategy, seed, f"{results[-1]['relative_l2']:.2e}", flush=True)
    draw(results, IMAGES if output is None else output)
    if output is None:
        text = PAGE.read_text()
        marks = r"(<!-- measured -->\n).*(<!-- end -->)"
        PAGE.write_text(re.sub(marks, lambda m: f"{m[1]}\n{table(results)}\n{m[2]}", text, flags=re.DOTALL))


def _start(row: Row, strategy: str, seed: int, steps: int) -> PinnTraining:
    resampling, every = row.strategies[strategy]
    choice = {"resampling": resampling, "resample_every": every}
    solver = Pinn(**{**row.options, **choice, **row.optimizer(steps)})
    training = solver.start(row.equation.problem(), row.network, seed=seed, device=torch.device("cpu"))
    assert isinstance(training, PinnTraining)
    return training


def _steps(row: Row, strategy: str, seed: int, budget: float) -> int:
    """So many steps as the budget allows, judged by some of them, two choices of points among them."""
    training = _start(row, strategy, seed, 10**6)
    training.step()
    start, count = time.process_time(), 2 * training.leg.resample_every or 100
    for _ in range(count):
        training.step()
    each = (time.process_time() - start) / count
    growth = 2.0 if strategy == "rar-d" else 1.0  # of its points, on average
    return max(50, int(0.95 * budget / (growth * each)))


def run(name: str, strategy: str, seed: int, budget: float) -> dict[str, Any]:
    """One run, as an entry of the results."""
    row = ROWS[name]
    staged = "stage" in row.optimizer(1)  # its learning rate does not fall: it stops anywhere
    steps = 10**6 if staged else _steps(row, strategy, seed, budget)
    training = _start(row, strategy, seed, steps)
    curve, spent, due, message, metrics = list[tuple[float, float]](), 0.0, 0.0, "done", dict[str, float]()
    while training.step_number < training.total_steps and spent < budget:
        start = time.process_time()
        try:
            metrics = training.step()
        except DivergedError as error:
            message = str(error)
            break
        spent += time.process_time() - start
        if spent >= due:
            curve.append((round(spent, 2), _error(training)))
            due += budget / MEASUREMENTS
    final = _error(training)
    batch = training.batches.current
    points = [] if batch is None else batch[0].tensor[:, :2].double().numpy()
    order = np.random.default_rng(seed).permutation(len(points))[:POINTS_KEPT]
    return {
        "row": name,
        "strategy": strategy,
        "seed": seed,
        "budget": budget,
        "relative_l2": final,
        "steps": training.step_number,
        "planned_steps": None if staged else training.total_steps,
        "seconds": round(spent, 1),
        "points": len(points),
        "residual_ratio": metrics.get("residual_ratio"),
        "curve": [*curve, (round(spent, 2), final)],
        "last_points": np.round(np.asarray(points)[order], 3).tolist() if "2 d" in name else [],
        "end": message,
        **origin(),
    }


def _error(training: PinnTraining) -> float:
    errors = training.evaluate()
    assert errors is not None
    return errors.relative_l2


def table(results: list[dict[str, Any]]) -> str:
    """Errors by problem and strategy: of several seeds the worst, with the best behind it."""
    rows = [name for name in ROWS if any(each["row"] == name for each in results)]
    lines = [f"| points | {' | '.join(rows)} |", f"| --- |{' ---: |' * len(rows)}"]
    for strategy in _FIRST_ORDER:
        cells = []
        for name in rows:
            errors = sorted(e["relative_l2"] for e in results if (e["row"], e["strategy"]) == (name, strategy))
            steps = [e["steps"] for e in results if (e["row"], e["strategy"]) == (name, strategy)]
            spread = f" ({errors[0]:.1e})" if len(errors) > 1 else ""
            cells.append(f"{errors[-1]:.1e}{spread}, {min(steps)} steps" if errors else "–")
        lines.append(f"| `{strategy}` | {' | '.join(cells)} |")
    budgets = sorted({each["budget"] for each in results})
    machines = sorted({f"{each['machine']}, torch {each['torch']}" for each in results})
    seeds = len({each["seed"] for each in results})
    told = "one seed" if seeds == 1 else f"up to {seeds} seeds: the worst error, in brackets the best"
    return (
        "\n".join(lines)
        + f"\n\nRelative $L^2$ errors after {', '.join(f'{each:g}' for each in budgets)} seconds of processor time, "
        + f"{told}. Measured on {'; '.join(machines)}, a shared machine, by `benchmarks/adaptive.py`.\n"
    )


def draw(results: list[dict[str, Any]], folder: Path) -> None:
    """Two figures: error against time, and the last points on the square of the two peaks."""
    folder.mkdir(parents=True, exist_ok=True)
    first = [each for each in results if each["seed"] == SEEDS[0]]
    rows = [name for name in ROWS if any(each["row"] == name for each in first)]
    if not rows:
        return
    with style():
        figure = new_figure(2.6 * len(rows), 2.6)
        panels = figure.subplots(1, len(rows), squeeze=False)[0]
        for axes, name in zip(panels, rows, strict=True):
            for each in first:
                if each["row"] == name:
                    seconds, errors = zip(*each["curve"], strict=True)
                    axes.plot(seconds, errors, color=_COLORS[each["strategy"]], label=each["strategy"])
            axes.set(yscale="log", title=name, xlabel="processor time (s)")
        panels[0].set_ylabel("relative $L^2$ error")
        handles = {
            label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
        figure.savefig(folder / "adaptive_errors.png", dpi=160)
        shown = [each for each in first if each["last_points"]]
        if not shown:
            return
        columns = min(4, len(shown))
        lines = -(-len(shown) // columns)
        figure = new_figure(1.9 * columns, 2.0 * lines)
        for index, each in enumerate(shown):
            axes = figure.add_subplot(lines, columns, index + 1)
            x = np.array(each["last_points"])
            axes.plot(x[:, 0], x[:, 1], ".", markersize=2, color=_COLORS[each["strategy"]])
            axes.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal", title=each["strategy"], xticks=[-1, 0, 1])
            axes.set_yticks([-1, 0, 1])
        figure.savefig(folder / "adaptive_points.png", dpi=160)


if __name__ == "__main__":
    main()
