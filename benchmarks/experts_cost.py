"""What a constraint costs: a training step and an inference of one constraint, and of mixtures, at the same points.

    python benchmarks/experts_cost.py              # ten minutes; writes results/experts_cost.json and the page
    python benchmarks/experts_cost.py --processes  # only the rows on two processes, on a quiet machine
    python benchmarks/experts_cost.py --quick      # two small sizes, writes nothing

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
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

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
EQUATIONS = ("heat", "burgers")
PAIRS = ("one constraint", "independent, K = 16", "interface, K = 16", "windows, K = 16")
COEFFICIENTS, SEED = 16, 6_120_311


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="two small sizes, write nothing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", action="store_true", help="measure only the rows on two processes")
    parser.add_argument("--page-only", action="store_true", help="write the page from the last measurement")
    asked = parser.parse_args()
    if asked.worker:
        print(json.dumps(worker(*json.loads(asked.worker))))
        return 0
    if asked.quick:
        print(render({**_about(), "rows": rows(SIDES[:2], 1), "processes": []}))
        return 0
    result = json.loads(JSON.read_text(encoding="utf-8")) if JSON.is_file() else {"processes": []}
    if asked.processes:
        result["processes"] = pairs(asked.rounds)
    elif not asked.page_only:
        result = {**result, **_about(), "rows": rows(SIDES, asked.rounds)}
    JSON.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{render(result)}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    print(render(result))
    return 0


def _about() -> dict[str, Any]:
    import torch

    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread a process",
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "coefficients": COEFFICIENTS,
    }


def rows(sides: tuple[int, ...], rounds: int) -> list[dict[str, Any]]:
    """All rows on one process; the methods take turns, so that a slow minute of the machine hits all of them."""
    import torch

    from pinnx.solvers.live_memory import peak_bytes

    torch.set_num_threads(1)
    result = []
    for equation in EQUATIONS:
        for side in sides:
            tasks = {name: Task(equation, side, *method) for name, method in METHODS.items()}
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
            memory = {name: peak_bytes(task.step, torch.device("cpu")) for name, task in tasks.items()}
            for _ in range(rounds):
                for name, task in tasks.items():
                    times[name].append((_busy(task.step), _busy(task.infer)))
            for name, task in tasks.items():
                step, infer = zip(*times[name], strict=True)
                row = {
                    "equation": equation,
                    "points": side**2,
                    "instances": INSTANCES[side],
                    "method": name,
                    "step": statistics.median(step),
                    "step_spread": [min(step), max(step)],
                    "inference": statistics.median(infer),
                    "memory": memory[name],
                    "iterations": task.iterations,
                    "converged": task.converged,
                }
                result.append(row)
                print(row, file=sys.stderr, flush=True)
    return result


def pairs(rounds: int) -> list[dict[str, Any]]:
    """The times of the clock of the largest row on one process and on two."""
    found = []
    for number in range(rounds):
        for name in PAIRS:
            for processes in (1, 2):
                seconds = launch(name, processes)
                found.append(
                    {"round": number, "method": name, "processes": processes, "points": SIDES[-1] ** 2, **seconds}
                )
                print(found[-1], file=sys.stderr, flush=True)
    return found


def launch(name: str, processes: int) -> dict[str, float]:
    """The slowest process of a row."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        ranks = [
            subprocess.Popen(
                [sys.executable, __file__, "--worker", json.dumps([name, rank, processes, f"{folder}/store"])],
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


def worker(name: str, rank: int, count: int, store: str) -> dict[str, float]:
    """Times of the clock of one process, of Burgers at the largest size."""
    import torch
    import torch.distributed as dist

    from pinnx.solvers.experts import Processes

    torch.set_num_threads(1)
    if count > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
    task = Task("burgers", SIDES[-1], *METHODS[name], sharing=Processes() if count > 1 else None)
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


def render(result: dict[str, Any]) -> str:
    """The tables, as Markdown."""
    lines = [
        f"Measured on {result['date']} ({result['machine']}, PyTorch {result['torch']}); {result['coefficients']} "
        "basis functions; processor seconds of a training step · of an inference (largest memory of a step); behind a "
        "name the iterations of the slowest instance at each size, with a star where one did not converge."
        + result.get("note", ""),
        "",
    ]
    for equation in EQUATIONS:
        mine = [row for row in result["rows"] if row["equation"] == equation]
        sizes = sorted({row["points"] for row in mine})
        lines += [
            f"| {equation} | "
            + " | ".join(
                f"{size} points × {next(row['instances'] for row in mine if row['points'] == size)}" for size in sizes
            )
            + " |"
        ]
        lines += ["| --- |" + " ---: |" * len(sizes)]
        for name in METHODS:
            cells = [row for size in sizes for row in mine if (row["points"], row["method"]) == (size, name)]
            counts = ", ".join(f"{row['iterations']}{'' if row['converged'] else '*'}" for row in cells)
            shown = [f"{row['step']:.3g} · {row['inference']:.3g} ({row['memory'] / 2**20:.3g} MB)" for row in cells]
            lines.append(f"| {name} ({counts}) | " + " | ".join(shown) + " |")
        lines.append("")
    if result["processes"]:
        lines += [
            "| clock seconds of a step, Burgers | one process | two processes | gain |",
            "| --- | ---: | ---: | ---: |",
        ]
    for name in PAIRS if result["processes"] else ():
        one, two = (
            [row["step"] for row in result["processes"] if (row["method"], row["processes"]) == (name, count)]
            for count in (1, 2)
        )
        gains = [single / double for single, double in zip(one, two, strict=True)]
        spread = f"{statistics.median(gains):.2f} ({min(gains):.2f} to {max(gains):.2f})"
        lines.append(f"| {name} | {statistics.median(one):.2f} | {statistics.median(two):.2f} | {spread} |")
    return "\n".join(lines).strip()


if __name__ == "__main__":
    sys.exit(main())
