"""The accuracy that a time budget buys: problems of the literature, our optimizers, one CPU thread, three drawn seeds.

    python benchmarks/accuracy.py                           # every row, three seeds: days; resumes where it stopped
    python benchmarks/accuracy.py --budget 60 --seeds 1 --rows "Poisson 5" --optimizers spring
    python benchmarks/accuracy.py --page-only                      # the page from the results so far

A run stops when its CPU seconds of training are spent; measuring the error does not count. Schedules that fall need to
know the number of steps beforehand: it is set from a few timed steps. The error is measured some twenty times on the
way, so that the results hold a curve of error against time. Results are appended one by one to
`benchmarks/results/accuracy.json`; the page is `docs/accuracy.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from pinnx.equations import (
    AllenCahn,
    ClassicalBurgers,
    FokkerPlanck,
    HamiltonJacobiBellman,
    Heat,
    LogFokkerPlanck,
    Poisson,
    SineGordon,
)
from pinnx.errors import DivergedError
from pinnx.networks import Mlp
from pinnx.problem import Equation
from pinnx.solvers.base import Training
from pinnx.solvers.pinn import Pinn
from pinnx.solvers.training import Adam, Engd, Lbfgs, SelfScaled, Soap, Spring, Stage

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "accuracy.json"
PAGE = ROOT / "docs" / "accuracy.md"
#: Drawn once; the first `--seeds` of them are used.
SEEDS = (48_121, 77_509, 30_677)
#: Measurements of the error on the way.
MEASUREMENTS = 20
#: Seconds of the steps that are timed beforehand, at most.
TRIAL_SECONDS = 10.0


@dataclass(frozen=True)
class Row:
    """One problem.

    Attributes:
        equation: with its dimension.
        minutes: budget of a run.
        limit: error that is to be reached in every run.
        aim: error that would be good.
        network: that of all optimizers.
        points: collocation points per step of the second-order methods.
        first_order_points: those of Adam and SOAP.
        condition_points: points per step on each soft condition.
    """

    equation: Equation
    minutes: float
    limit: float | None
    aim: float | None
    network: Mlp
    points: int = 300
    first_order_points: int = 500
    condition_points: int = 100


_WIDE = Mlp(width=64, depth=3)
ROWS: dict[str, Row] = {
    "Burgers 1+1": Row(
        ClassicalBurgers(), 10, 1e-5, 1e-7, Mlp(width=20, depth=4), points=2000, first_order_points=2000
    ),
    "Poisson 5": Row(Poisson(5, solution="cosines"), 10, 1e-4, 2e-6, _WIDE),
    "heat 4+1": Row(Heat(4), 10, 2e-4, 1e-5, _WIDE),
    "Poisson 10": Row(Poisson(10, solution="products"), 10, 2e-4, 3e-5, _WIDE),
    "log-Fokker-Planck 9+1": Row(LogFokkerPlanck(9), 15, 3e-2, 3e-3, _WIDE),
    "Poisson 100": Row(Poisson(100, solution="quadratic"), 15, 6e-3, 1e-3, _WIDE, points=200, condition_points=200),
    "Fokker-Planck isotropic 100": Row(FokkerPlanck(100), 5, 5e-4, 1e-5, _WIDE, points=200),
    "HJB quadratic 20": Row(HamiltonJacobiBellman(20), 5, 2e-3, 1e-4, _WIDE),
    "Allen-Cahn 10": Row(AllenCahn(10), 10, 3e-4, 3e-5, _WIDE),
    "Sine-Gordon 10": Row(SineGordon(10), 10, 3e-4, 3e-5, _WIDE),
    "Allen-Cahn 100": Row(AllenCahn(100), 15, None, None, _WIDE, points=200),
    "Allen-Cahn 100, frequency 3": Row(AllenCahn(100, frequency=3.0), 15, None, None, _WIDE, points=200),
}
#: Of the error of the best affine ansatz, where a row has no limit of its own: at most, aim.
AFFINE_FRACTIONS = {"Allen-Cahn 100": (0.5, 0.25), "Allen-Cahn 100, frequency 3": (0.5, 0.1)}

#: The steps of a method from the seconds of one of them, budget and row; a list where there are several stages.
Method = Callable[[Row, int], tuple[Stage, ...]]


def _first_order(optimizer: Any) -> Method:
    return lambda row, steps: (Stage(steps, optimizer, points=row.first_order_points),)


def _second_order(optimizer: Any) -> Method:
    return lambda row, steps: (Stage(steps, optimizer, points=row.points),)


def _after_adam(optimizer: Any, warmup: int, resample_every: int | None = None) -> Method:
    """As published: some steps of Adam, then a method on points that stay, for a time at least."""
    first = Adam(learning_rate=5e-3)
    return lambda row, steps: (
        Stage(warmup, first, points=row.first_order_points),
        Stage(steps, optimizer, points=max(row.points, 1000), resample_every=resample_every),
    )


METHODS: dict[str, Method] = {
    "adam": _first_order(Adam()),
    "soap": _first_order(Soap()),
    "lbfgs": _after_adam(Lbfgs(), 200),
    "engd": _second_order(Engd()),
    "spring": _second_order(Spring()),
    "spring, no search": _second_order(Spring(search="none", learning_rate=0.1)),
    "ssbroyden": _after_adam(SelfScaled(), 200, resample_every=500),
}


def main() -> None:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, help="CPU seconds of training per run; by default each row's own")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many of the three seeds")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="by default all")
    parser.add_argument("--optimizers", nargs="+", choices=METHODS, default=list(METHODS), help="by default all")
    parser.add_argument("--page-only", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: list[dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    done = {(each["row"], each["optimizer"], each["seed"], each["budget"]) for each in results}
    asked = [(r, o, s) for s in SEEDS[: arguments.seeds] for r in arguments.rows for o in arguments.optimizers]
    for row, optimizer, seed in [] if arguments.page_only else asked:
        budget = arguments.budget or 60 * ROWS[row].minutes
        if (row, optimizer, seed, budget) in done:
            continue
        results.append(run(row, optimizer, seed, budget))
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        print(row, optimizer, seed, f"{results[-1]['relative_l2']:.2e}", flush=True)
    PAGE.write_text(page(results))


def _start(row: Row, stages: tuple[Stage, ...], seed: int) -> Training:
    sampling = "sobol" if row.equation.problem().domain.coordinates.total <= 3 else "uniform"
    solver = Pinn(stage=stages, condition_points=row.condition_points, precision="float64", sampling=sampling)
    return solver.start(row.equation.problem(), row.network, seed=seed, device=torch.device("cpu"))


def _stages(row: Row, method: Method, seed: int, budget: float) -> tuple[Stage, ...]:
    """The stages with as many steps in the last one as the budget allows, judged by a few timed steps."""
    *before, last = method(row, 10_000)
    seconds, used = 0.0, 0.0
    for stage in (*before, last):
        trial = _start(row, (stage,), seed)
        trial.step()
        start, count = time.process_time(), 0
        while count < 10 and time.process_time() - start < min(TRIAL_SECONDS, 0.1 * budget):
            trial.step()
            count += 1
        seconds = (time.process_time() - start) / max(count, 1)
        used += seconds * stage.steps
    used -= seconds * last.steps
    return (*before, replace(last, steps=max(10, int((budget - used) / seconds))))


def run(name: str, optimizer: str, seed: int, budget: float) -> dict[str, Any]:
    """One run, as an entry of the results."""
    row = ROWS[name]
    stages = _stages(row, METHODS[optimizer], seed, budget)
    training = _start(row, stages, seed)
    curve, spent, message, due = list[tuple[float, float]](), 0.0, "done", 0.0
    while training.step_number < training.total_steps and spent < budget:
        start = time.process_time()
        try:
            training.step()
        except DivergedError as error:
            message = str(error)
            break
        spent += time.process_time() - start
        if spent >= due:
            curve.append((round(spent, 2), _error(training)))
            due += budget / MEASUREMENTS
    final, baselines = _error(training), training.baselines()
    return {
        "row": name,
        "optimizer": optimizer,
        "seed": seed,
        "budget": budget,
        "relative_l2": final,
        "steps": training.step_number,
        "planned_steps": training.total_steps,
        "seconds": round(spent, 1),
        "parameters": training.parameters,
        "curve": [*curve, (round(spent, 2), final)],
        "baselines": {key: value.relative_l2 if value else None for key, value in baselines.items()},
        "end": message,
        "notes": list(training.notes),
        **_surroundings(),
    }


def _error(training: Training) -> float:
    errors = training.evaluate()
    assert errors is not None
    return errors.relative_l2


def _surroundings() -> dict[str, Any]:
    head = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(head, cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
        "torch": torch.__version__,
    }


def page(results: list[dict[str, Any]]) -> str:
    """The page: one table per budget, then the curves of error against time."""
    parts = [_HEAD]
    budgets = sorted({_budget_name(each) for each in results})
    for name in budgets:
        here = [each for each in results if _budget_name(each) == name]
        parts.append(f"## {name}\n\n{_table(here)}\n")
    if results:
        parts.append(f"## Error against time\n\n{_CURVES}\n\n{_curves(results)}\n")
        parts.append(_conditions(results))
    return "\n".join(parts)


_HEAD = """# The accuracy that a time budget buys

<!-- Written by `python benchmarks/accuracy.py`; change the text there. -->

Relative L2 errors after a fixed time of training on one thread of a CPU, in float64, for problems whose exact solution
is known. Of several seeds the **worst** is shown. *Affine* is the best affine function in the place of the network, a
trivial answer; *at most* is what the row is to reach, *aim* what would be good. An error that meets its limit is bold.

All optimizers here are pinnx's own. Other packages are not measured on this page yet.

Made by `python benchmarks/accuracy.py`, which goes on where it stopped; rows that are missing have not been run yet.
"""

_CURVES = (
    "The first seed's error after a tenth, a fifth, a half and the whole of the time. A method whose schedule falls is "
    "not meant to be stopped before its end."
)


def _budget_name(result: dict[str, Any]) -> str:
    own = 60 * ROWS[result["row"]].minutes
    return "The rows' own budgets" if result["budget"] == own else f"{result['budget']:g} seconds a run"


def _limits(name: str, affine: float | None) -> tuple[float | None, float | None]:
    if name in AFFINE_FRACTIONS and affine is not None:
        limit, aim = AFFINE_FRACTIONS[name]
        return limit * affine, aim * affine
    return ROWS[name].limit, ROWS[name].aim


def _table(results: list[dict[str, Any]]) -> str:
    shown = [method for method in METHODS if any(each["optimizer"] == method for each in results)]
    lines = [
        f"| problem | time | affine | at most | aim | {' | '.join(shown)} | seeds |",
        f"| --- |{' ---: |' * (len(shown) + 5)}",
    ]
    for name in ROWS:
        here = [each for each in results if each["row"] == name]
        if not here:
            continue
        affine = here[0]["baselines"]["affine"]
        limit, aim = _limits(name, affine)
        cells = [_cell([e["relative_l2"] for e in here if e["optimizer"] == method], limit) for method in shown]
        numbers = [_number(affine), _number(limit), _number(aim)]
        seeds = len({each["seed"] for each in here})
        minutes = f"{here[0]['budget'] / 60:g} min"
        lines.append(f"| {name} | {minutes} | {' | '.join([*numbers, *cells])} | {seeds} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}"


def _cell(errors: list[float], limit: float | None) -> str:
    if not errors:
        return "–"
    worst = max(errors)
    return f"**{worst:.1e}**" if limit is not None and worst <= limit else f"{worst:.1e}"


def _curves(results: list[dict[str, Any]]) -> str:
    lines = ["| problem | optimizer | steps | 10 % | 20 % | 50 % | 100 % |", "| --- | --- |" + " ---: |" * 5]
    for each in sorted(results, key=lambda each: (list(ROWS).index(each["row"]), each["budget"])):
        if each["seed"] != SEEDS[0]:
            continue
        cells = []
        for fraction in (0.1, 0.2, 0.5):
            reached = [error for seconds, error in each["curve"] if seconds <= fraction * each["budget"] + 1e-9]
            cells.append(_number(reached[-1] if reached else None))
        cells.append(_number(each["relative_l2"]))
        label = f"{each['row']}, {each['budget']:g} s"
        lines.append(f"| {label} | {each['optimizer']} | {each['steps']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _conditions(results: list[dict[str, Any]]) -> str:
    machines = sorted({f"{each['machine']}, torch {each['torch']}" for each in results})
    commits = sorted({each["commit"] for each in results})
    seconds = statistics.fsum(each["seconds"] for each in results)
    return (
        f"Measured on {'; '.join(machines)}; commits {', '.join(commits)}; {seconds / 3600:.1f} hours of CPU time of a "
        "shared machine altogether.\n"
    )


if __name__ == "__main__":
    main()
