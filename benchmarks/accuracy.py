"""The accuracy that a time budget buys: problems of the literature, one CPU thread, three drawn seeds.

    python benchmarks/accuracy.py                           # what is missing of the table; resumes where it stopped
    python benchmarks/accuracy.py --rows "Poisson 5" --methods default deepxde
    python benchmarks/accuracy.py --budget 600 --seeds 1 --rows "Burgers 1+1" --methods ssbroyden
    python benchmarks/accuracy.py --page-only                      # the page from the results so far

`default` is what `optimizer = "auto"` chooses. `deepxde` and `pina` are DeepXDE and PINA, Adam and then L-BFGS, in
environments of their own (made once), on the same problem with the same network; they run with one seed. The problems
are in `accuracy_rows.py`, the peers' programs in `peers/`.

A run stops when its CPU seconds of training are spent; measuring the error does not count. Schedules that fall need to
know the number of steps beforehand: it is set from a few timed steps. The error is measured some twenty times on the
way, so that the results hold a curve of error against time. Results are appended one by one to
`benchmarks/results/accuracy.json`; several processes may do so. The page is `docs/accuracy.md`.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accuracy_page import PAGE, TABLE, draw, page
from accuracy_rows import PEER_SEED, ROWS, SEEDS, Row, network_name
from environments import REQUIREMENTS, prepare
from origin import origin

from pinnx.errors import DivergedError
from pinnx.solvers.base import Training
from pinnx.solvers.pinn import Pinn
from pinnx.solvers.sampling import Uniform
from pinnx.solvers.training import Adam, AutoOptimizer, Constant, Engd, Lbfgs, SelfScaled, Soap, Spring, Stage

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results" / "accuracy.json"
#: Measurements of the error on the way.
MEASUREMENTS = 20
#: Seconds of the steps that are timed beforehand, at most.
TRIAL_SECONDS = 10.0

#: The steps of a method from the seconds of one of them, budget and row; a list where there are several stages.
Method = Callable[[Row, int], tuple[Stage, ...]]


def _first_order(optimizer: Any) -> Method:
    return lambda row, steps: (
        Stage(steps, optimizer, points=row.first_order_points, condition_points=row.first_order_condition_points),
    )


def _second_order(optimizer: Any) -> Method:
    def stages(row: Row, steps: int) -> tuple[Stage, ...]:
        main = Stage(steps, optimizer, points=row.points, resample_every=row.resample_every)
        first = Adam(learning_rate=5e-3)
        return (Stage(row.warmup, first, points=row.first_order_points), main) if row.warmup else (main,)

    return stages


def _after_adam(optimizer: Any, warmup: int, resample_every: int | None = None) -> Method:
    """As published: some steps of Adam, then a method on points that stay, for a time at least."""
    first = Adam(learning_rate=5e-3)
    return lambda row, steps: (
        Stage(warmup, first, points=row.first_order_points),
        Stage(steps, optimizer, points=max(row.points, 1000), resample_every=resample_every),
    )


METHODS: dict[str, Method] = {
    "default": _second_order(AutoOptimizer()),
    "adam": _first_order(Adam(learning_rate=5e-3)),
    "soap": _first_order(Soap()),
    "lbfgs": _after_adam(Lbfgs(), 200),
    "engd": _second_order(Engd()),
    "spring": _second_order(Spring()),
    "spring, no search": _second_order(Spring(search="none", learning_rate=0.1)),
    "ssbroyden": _after_adam(SelfScaled(), 200, resample_every=500),
}


def main() -> None:
    """Run what is missing, then write the page."""
    asked = _arguments()
    torch.set_num_threads(1)
    for seed in SEEDS[: asked.seeds]:
        for row in asked.rows:
            for method in asked.methods:
                budget = asked.budget or ROWS[row].budget
                if (method in METHODS or seed == PEER_SEED) and not _done(row, method, seed, budget):
                    result = _run_peer(row, method, seed, budget) if method in REQUIREMENTS else None
                    result = result or run(row, method, seed, budget)
                    _add(result)
                    print(row, method, seed, f"{result['relative_l2']:.2e}", flush=True)
    PAGE.write_text(page(_results()))
    draw(_results())


def _arguments() -> argparse.Namespace:
    methods = [*METHODS, *REQUIREMENTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, help="CPU seconds of training per run; by default each row's own")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many of the three seeds")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="by default all")
    parser.add_argument("--methods", nargs="+", choices=methods, default=list(TABLE), help="by default the table's")
    parser.add_argument("--page-only", action="store_true", help="only write the page")
    asked = parser.parse_args()
    if asked.page_only:
        asked.rows = []
    return asked


def _results() -> list[dict[str, Any]]:
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else []


def _done(row: str, method: str, seed: int, budget: float) -> bool:
    keys = ((each["row"], each["method"], each["seed"], each["budget"], each["network"]) for each in _results())
    return (row, method, seed, budget, network_name(ROWS[row])) in keys


def _add(result: dict[str, Any]) -> None:
    """Add a result to the file, of which other processes may hold a version that is older than it."""
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        RESULTS.write_text(json.dumps([*_results(), result], indent=1) + "\n")


def _run_peer(row: str, method: str, seed: int, budget: float) -> dict[str, Any]:
    """One run of another package, as an entry of the results."""
    python = prepare(method, HERE / ".environments")
    program = HERE / "peers" / f"accuracy_{method}.py"
    command = [python, program, "--row", row, "--budget", str(budget), "--seed", str(seed)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    output = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if output.returncode:
        raise SystemExit(f"{method} failed on {row}:\n{output.stderr[-2000:]}")
    found = json.loads(output.stdout.splitlines()[-1])
    return {"row": row, "method": method, "seed": seed, "budget": budget, **found, **_surroundings(ROWS[row])}


def _start(row: Row, stages: tuple[Stage, ...], seed: int) -> Training:
    second_order = not isinstance(stages[-1].optimizer, Adam | Soap)
    sampling = "sobol" if row.equation.problem().domain.coordinates.total <= 3 else "uniform"
    solver = Pinn(
        stage=stages,
        condition_points=row.condition_points,
        precision="float64",
        sampling=sampling,
        resampling=row.resampling if second_order else Uniform(),
    )
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
    if isinstance(trial.legs[-1].optimizer.schedule, Constant):  # type: ignore[attr-defined]
        seconds /= 4  # the number does not matter to it: the clock ends the run
    return (*before, replace(last, steps=max(10, int((budget - used) / seconds))))


def run(name: str, method: str, seed: int, budget: float) -> dict[str, Any]:
    """One run, as an entry of the results."""
    row = ROWS[name]
    stages = _stages(row, METHODS[method], seed, budget)
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
        "method": method,
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
        **_surroundings(row),
    }


def _error(training: Training) -> float:
    errors = training.evaluate()
    assert errors is not None
    return errors.relative_l2


def _surroundings(row: Row) -> dict[str, Any]:
    return {**origin(), "network": network_name(row)}


if __name__ == "__main__":
    main()
