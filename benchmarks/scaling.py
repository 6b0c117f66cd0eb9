"""How a run scales over processes: strong and weak scaling on this machine, and what that says of a thousand GPUs.

    python benchmarks/scaling.py            # some minutes; writes results/scaling.json, docs/scaling.md
    python benchmarks/scaling.py --quick    # a minute, writes nothing

Repetitions are interleaved, so that a slow minute of the machine hits all of them; processes have one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import scaling_page

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
JSON = HERE / "results" / "scaling.json"
PAGE = ROOT / "docs" / "scaling.md"

DIMENSION, WIDTH, DEPTH = 100, 128, 4
POINTS = (8, 100, 200, 400)
"""Points of a step, on one process; the largest also on two (strong), and the second largest (weak, beside half)."""
CASE = """
seed = 31_847
device = "cpu"
[equation]
name = "allen-cahn"
dimension = {dimension}
[network]
kind = "mlp"
width = {width}
depth = {depth}
[solver]
kind = "pinn"
steps = {steps}
points = {points}
"""


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--worker", nargs=2, metavar=("POINTS", "STEPS"), type=int, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="few steps, write nothing")
    parser.add_argument("--page-only", action="store_true", help="write the page from the last measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    asked = parser.parse_args()
    if asked.worker:
        print(json.dumps(worker(*asked.worker)))
        return 0
    if not asked.page_only:
        result = measure(1 if asked.quick else asked.rounds, 6 if asked.quick else asked.steps)
        if asked.quick:
            print(scaling_page.render(result))
            return 0
        JSON.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(scaling_page.render(json.loads(JSON.read_text(encoding="utf-8"))), encoding="utf-8")
    return 0


def measure(rounds: int, steps: int) -> dict[str, Any]:
    """All measurements, round by round."""
    from origin import origin

    runs = [*((1, points) for points in POINTS), (2, POINTS[-1]), (2, POINTS[-2])]
    where = origin()
    measurements = [
        {"round": number, "processes": processes, "points": points, **launch(processes, points, steps)}
        for number in range(rounds)
        for processes, points in runs
    ]
    return {
        **where,
        "steps": steps,
        "dimension": DIMENSION,
        "width": WIDTH,
        "depth": DEPTH,
        "measurements": measurements,
    }


def launch(processes: int, points: int, steps: int) -> dict[str, Any]:
    """One run; the figures of rank 0, and the largest memory of all."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, __file__, "--worker", str(points), str(steps)]
    ranks = [
        subprocess.Popen(
            command,
            env={**os.environ, **common, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    outputs = [rank.communicate()[0] for rank in ranks]
    if any(rank.returncode for rank in ranks):
        raise SystemExit(f"a process failed with {processes} processes and {points} points")
    figures = [json.loads(output.splitlines()[-1]) for output in outputs]
    return {**figures[0], "memory": max(each["memory"] for each in figures)}


def worker(points: int, steps: int) -> dict[str, float]:
    """Time the steps of one process, in seconds each; on rank 0 the exchanges, too."""
    import torch

    from pinnx.case import parse_case
    from pinnx.hpc.parallel import Leader, follow, joined
    from pinnx.hpc.ranks import current_ranks
    from pinnx.run import Manner

    torch.set_num_threads(1)
    text = CASE.format(dimension=DIMENSION, width=WIDTH, depth=DEPTH, steps=steps + 2, points=points)
    case, ranks = parse_case(text), current_ranks()

    def start() -> Any:
        return case.solver.start(case.equation.problem(), case.network, seed=case.seed, device=torch.device("cpu"))

    if ranks is None:
        return {**_timed(start(), None), "exchange": 0.0, "memory": _memory()}
    with joined(ranks) as split:
        if not ranks.leads:
            follow(case, split, Manner())
            figures = {}
        else:
            figures = _timed(Leader(start(), split), split)
        alone = _exchange(sum(parameter.numel() for parameter in start().trainable))
    return {**figures, "exchange": alone, "memory": _memory()}


def _timed(training: Any, split: Any) -> dict[str, float]:
    """The times of a step, of the clock and of the processor, after two that are not counted; the share of waiting, and
    the processor's of the clock's."""
    for _ in range(2):
        training.step()
    before = split.meeting.seconds if split else 0.0
    times, busy = [], []
    while training.step_number < training.total_steps:
        start, worked = time.perf_counter(), time.process_time()
        training.step()
        times.append(time.perf_counter() - start)
        busy.append(time.process_time() - worked)
    waited = (split.meeting.seconds - before) if split else 0.0
    return {
        "median": statistics.median(times),
        "fastest": min(times),
        "busy": min(busy),
        "granted": sum(busy) / sum(times),
        "waiting": waited / sum(times),
        "parameters": training.parameters,
    }


def _exchange(numbers: int) -> float:
    """The median time of a sum of so many numbers over all processes, when none waits for another."""
    import torch
    import torch.distributed as dist

    times, values = [], torch.zeros(numbers)
    for _ in range(30):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(values)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
