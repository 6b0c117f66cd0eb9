"""What a constraint costs: a training step and an inference of one constraint, and of mixtures, at the same points.

    python benchmarks/experts_cost.py              # ten minutes: what is not measured yet, or with an earlier layer
    python benchmarks/experts_cost.py --equations heat --sizes 100 1024
    python benchmarks/experts_cost.py --processes  # the same for the rows on two processes, on a quiet machine
    python benchmarks/experts_cost.py --again      # measures what it is asked for, whatever is there
    python benchmarks/experts_cost.py --quick      # two small sizes, writes nothing

`results/experts_cost.json` and the page are written after each equation and size, and with `--processes` after each
run, so that a measurement that was stopped goes on where it was. Each row says when, where and with which state of the
layer it was measured.

The basis is a perceptron of the coordinates with 16 outputs whose fields on a grid are differentiated by central
differences, as those of a network on grids are; four instances a step (one at the largest size); the equation is the
heat equation (one least-squares solve) or viscous Burgers (iterations). A training step is: fields, forms, solve, mean
squared residual of the mixture, gradient of the parameters. An inference is: fields, forms, solve, values. Times are of
the processor, the median of rounds that are interleaved over the methods; memory is the largest that tensors hold
during a step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from experts_cost_page import EQUATIONS, render

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
JSON = HERE / "results" / "experts_cost.json"
PAGE = ROOT / "docs" / "hard-constraints.md"
BEGIN, END = "<!-- experts cost: begin -->", "<!-- experts cost: end -->"
SIDES = (10, 32, 100, 316)
INSTANCES = {10: 4, 32: 4, 100: 4, 316: 1}
METHODS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "one constraint": ("independent", 1, {}),
    "independent, K = 4": ("independent", 2, {}),
    "independent, K = 16": ("independent", 4, {}),
    "interface, K = 4": ("interface", 2, {}),
    "interface, K = 16": ("interface", 4, {}),
    "windows, K = 4": ("windows", 2, {}),
    "windows, K = 16": ("windows", 4, {}),
    "narrow windows, K = 4": ("windows", 2, {"overlap": 0.15}),
    "narrow windows, K = 16": ("windows", 4, {"overlap": 0.15}),
}
"""Kind of coupling, blocks per axis, options of the coupling."""
PAIRS = ("one constraint", "independent, K = 16", "interface, K = 16", "windows, K = 16")
COEFFICIENTS, SEED = 16, 6_120_311


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="two small sizes, write nothing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--equations", nargs="+", choices=EQUATIONS, default=EQUATIONS)
    sizes = [side**2 for side in SIDES]
    parser.add_argument("--sizes", nargs="+", type=int, choices=sizes, default=sizes, help="numbers of points")
    parser.add_argument("--processes", action="store_true", help="measure only the rows on two processes")
    parser.add_argument("--again", action="store_true", help="measure what is there, too")
    parser.add_argument("--page-only", action="store_true", help="write the page from the last measurement")
    asked = parser.parse_args()
    if asked.worker:
        print(json.dumps(worker(*json.loads(asked.worker))))
        return 0
    if asked.quick:
        print(render({"rows": [row for each in EQUATIONS for side in SIDES[:2] for row in rows(each, side, 1)]}))
        return 0
    if asked.processes:
        measure_pairs(asked.rounds, max(asked.sizes), asked.again)
    elif not asked.page_only:
        measure_rows(asked.equations, asked.sizes, asked.rounds, asked.again)
    save(read())
    print(render(read()))
    return 0


def read() -> dict[str, list[dict[str, Any]]]:
    """What is measured so far."""
    return json.loads(JSON.read_text(encoding="utf-8")) if JSON.is_file() else {"rows": [], "processes": []}


def save(result: dict[str, Any]) -> None:
    """Write the file of results, and the page."""
    JSON.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{render(result)}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def layer() -> str:
    """The state of the constraint layer: its tree in git, which is another one after each change to it."""
    tree = ["git", "rev-parse", "--short", "HEAD:solvers/experts"]
    return subprocess.run(tree, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def measure_rows(equations: list[str], sizes: list[int], rounds: int, again: bool) -> None:
    """Measure and save equation by equation and size by size."""
    for equation in equations:
        for points in sorted(sizes):
            known, mine = read(), (equation, points)
            done = [row for row in known["rows"] if (row["equation"], row["points"]) == mine]
            if not again and {row["method"] for row in done if row["layer"] == layer()} == set(METHODS):
                continue
            found = rows(equation, round(points**0.5), rounds)
            save({**known, "rows": [row for row in known["rows"] if row not in done] + found})


def rows(equation: str, side: int, rounds: int) -> list[dict[str, Any]]:
    """All methods on one process; they take turns, so that a slow minute of the machine hits all of them."""
    import torch
    from origin import origin

    from pinnx.solvers.live_memory import peak_bytes

    torch.set_num_threads(1)
    where = {**origin(), "layer": layer(), "rounds": rounds}
    tasks = {name: Task(equation, side, *method) for name, method in METHODS.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    memory = {name: peak_bytes(task.step, torch.device("cpu")) for name, task in tasks.items()}
    for _ in range(rounds):
        for name, task in tasks.items():
            times[name].append((_busy(task.step), _busy(task.infer)))
    result = []
    for name, task in tasks.items():
        step, infer = zip(*times[name], strict=True)
        row = {
            "equation": equation,
            "points": side**2,
            "instances": INSTANCES[side],
            "method": name,
            "coefficients": COEFFICIENTS,
            "step": statistics.median(step),
            "step_spread": [min(step), max(step)],
            "inference": statistics.median(infer),
            "memory": memory[name],
            "iterations": task.iterations,
            "converged": task.converged,
            **where,
        }
        result.append(row)
        print(row, file=sys.stderr, flush=True)
    return result


def measure_pairs(rounds: int, points: int, again: bool) -> None:
    """Measure and save the times of the clock on one process and on two, run by run."""
    from origin import origin

    for number in range(rounds):
        for name in PAIRS:
            for count in (1, 2):
                known, mine = read(), (number, name, count)
                done = [row for row in known["processes"] if (row["round"], row["method"], row["processes"]) == mine]
                if not again and any((row["layer"], row["points"]) == (layer(), points) for row in done):
                    continue
                where = {**origin(), "layer": layer()}
                seconds = launch(name, count, round(points**0.5))
                row = {"round": number, "method": name, "processes": count, "points": points, **seconds, **where}
                save({**known, "processes": [each for each in known["processes"] if each not in done] + [row]})
                print(row, file=sys.stderr, flush=True)


def launch(name: str, processes: int, side: int) -> dict[str, float]:
    """The slowest process of a row."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        ranks = [
            subprocess.Popen(
                [sys.executable, __file__, "--worker", json.dumps([name, side, rank, processes, f"{folder}/store"])],
                env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(processes)
        ]
        outputs = [rank.communicate()[0] for rank in ranks]
    if any(rank.returncode for rank in ranks):
        raise SystemExit(f"a process failed: {name}")
    figures = [json.loads(output.splitlines()[-1]) for output in outputs]
    return {key: max(each[key] for each in figures) for key in figures[0]}


def worker(name: str, side: int, rank: int, count: int, store: str) -> dict[str, float]:
    """Times of the clock of one process, of Burgers."""
    import torch
    import torch.distributed as dist

    from pinnx.solvers.experts import Processes

    torch.set_num_threads(1)
    if count > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
    task = Task("burgers", side, *METHODS[name], sharing=Processes() if count > 1 else None)
    step, infer = _wall(task.step), _wall(task.infer)
    if count > 1:
        dist.destroy_process_group()
    return {"step": step, "inference": infer}


class Task:
    """A problem of a size, solved in one way."""

    def __init__(self, equation: str, side: int, kind: str, blocks: int, options: dict[str, Any], sharing: Any = None):
        import torch

        from pinnx.expr import Coordinates, Points, Unknown, Value, atoms, dt, partial, sin, value, x
        from pinnx.networks import Mlp
        from pinnx.registry import resolve
        from pinnx.solvers.experts import LeastSquaresOptions, Mixture, Partition

        along = (torch.arange(side, dtype=torch.float64) + 0.5) / side
        self.side, self.u, self.sharing = side, Unknown(), sharing
        self.points = Points(torch.cartesian_prod(along, along), Coordinates.of(x=1, t=0))
        u = self.u
        second = partial(u, x[0], x[0])
        convection = value(u) * partial(u, x[0]) if equation == "burgers" else 0.0
        self.residual = dt(u) + convection - 0.02 * second
        self.condition = value(u) - sin(6.28 * x[0])
        self.phases = torch.arange(INSTANCES[side], dtype=torch.float64)
        self.start = Points(torch.stack([along, 0 * along], 1), Coordinates.of(x=1, t=0))
        self.mixture = Mixture(
            Partition.uniform((0.0, 0.0), (1.0, 1.0), blocks), resolve("couplings", kind)(**options), sharing
        )
        self.wanted = self.mixture.requests([*atoms(self.residual), Value(u)], self.points)
        self.at_start = self.mixture.requests([Value(u)], self.start)
        generator = torch.Generator().manual_seed(SEED)
        self.network = Mlp(width=32, depth=2, input_scale=6.0).build(
            2, COEFFICIENTS, generator=generator, dtype=torch.float64
        )
        self.options = LeastSquaresOptions(ridge=1e-6)
        self.iterations, self.converged = 0, False

    def rows(self) -> list[Any]:
        """The forms of the fields, by differences on the grid."""
        import torch

        from pinnx.solvers.experts import Rows

        fields = self._fields(self.points.tensor).unflatten(1, (self.side, self.side))
        forms = {atom: self._difference(fields, atom).flatten(1, 2) for atom in self.wanted}
        first = self._fields(self.start.tensor)
        initial = {atom: first if atom.order == 0 else torch.zeros_like(first) for atom in self.at_start}
        return [
            Rows(self.residual, self.points, forms),
            Rows(self.condition, self.start, initial, role="condition", weight=10.0),
        ]

    def step(self) -> None:
        """A training step without the optimizer's."""
        import torch

        from pinnx.expr import Evaluator, atoms

        self.network.zero_grad()
        rows = self.rows()
        solved = self._solved(rows)
        whole = self.mixture.atoms(rows[0], solved.omega, atoms(self.residual))
        Evaluator(self.points, whole)(self.residual).square().mean().backward()
        if self.sharing is not None:
            for parameter in self.network.parameters():
                torch.distributed.all_reduce(parameter.grad)

    def infer(self) -> None:
        """Coefficients and values."""
        import torch

        from pinnx.expr import Value

        with torch.no_grad():
            rows = self.rows()
            self.mixture.atoms(rows[0], self._solved(rows).omega, [Value(self.u)])

    def _solved(self, rows: list[Any]) -> Any:
        solved = self.mixture.solve(rows, self.options)
        self.iterations, self.converged = int(solved.iterations.max()), bool(solved.ok.all())
        return solved

    def _fields(self, points: Any) -> Any:
        """The basis of each instance: one network, at points shifted by the instance, (B, n, N)."""
        import torch

        moved = points + 0.1 * self.phases[:, None, None] * torch.tensor([1.0, 0.0], dtype=torch.float64)
        return self.network(moved.flatten(0, 1)).unflatten(0, moved.shape[:2])

    def _difference(self, fields: Any, atom: Any) -> Any:
        import torch

        for name, _ in getattr(atom, "columns", ()):
            fields = torch.gradient(fields, spacing=1 / self.side, dim=1 if name == "x" else 2)[0]
        return fields


def _busy(call: Any) -> float:
    """Seconds of the processor."""
    start = time.process_time()
    call()
    return time.process_time() - start


def _wall(call: Any, calls: int = 2) -> float:
    """The median of seconds of the clock, after a first call that is not counted."""
    call()
    found = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


if __name__ == "__main__":
    sys.exit(main())
