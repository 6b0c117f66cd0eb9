"""The rows of the linear benchmark: what is solved, by which method, and what is measured."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import linear_models
import torch
from torch import Tensor

from pinnx.solvers.linear import (
    AlgebraicMultigrid,
    Direction,
    GridOperator,
    IncompleteCholesky,
    Jacobi,
    Multigrid,
    SineTransform,
    random_obstacle_problem,
    random_right_hand_sides,
    solve,
)
from pinnx.solvers.linear.directions import VCycle, box

#: Drawn once.
SEED = 77_269
TOLERANCES = (1e-4, 1e-6, 1e-8)
SYSTEMS = 200
COLUMNS, COLUMN_ROUNDS = 64, 5
#: Cells that are set up and solved together: they stay in a core's cache.
TOGETHER = 1 << 17


@dataclass(frozen=True)
class Method:
    """A method of the comparison.

    Attributes:
        title: its name in the tables.
        direction: makes it, for a number of axes; None for conjugate gradients.
        memory: earlier directions that a new one is made conjugate to.
        guarded: whether the safeguards of the loop are on. They are off for the image networks, to see them alone.
        largest: most cells of a box that it is run on: beyond it takes too long or too much memory.
        axes: numbers of axes that it takes.
    """

    title: str
    direction: Callable[[int], Direction] | None
    memory: int = 1
    guarded: bool = True
    largest: int = 1 << 30
    axes: tuple[int, ...] = (1, 2, 3)


def _image(name: str) -> Method:
    titles = {"dcdm": "DCDM", "u-net": "U-Net, ReLU", "linear-u-net": "U-Net, linear"}
    return Method(titles[name], lambda axes: linear_models.load(name), 2, False, 256**2, (2,))


METHODS: dict[str, Method] = {
    "cg": Method("CG", None),
    "jacobi": Method("Jacobi", lambda axes: Jacobi(), largest=256**2),
    "ic0": Method("IC(0)", lambda axes: IncompleteCholesky()),
    "multigrid": Method("geometric multigrid", lambda axes: Multigrid(precision="float32")),
    "pyamg-rs": Method("PyAMG Ruge–Stüben", lambda axes: AlgebraicMultigrid("ruge-stuben")),
    "pyamg-sa": Method("PyAMG smoothed aggregation", lambda axes: AlgebraicMultigrid("smoothed-aggregation")),
    "sine-transform": Method("sine transform", lambda axes: SineTransform()),
    "dcdm": _image("dcdm"),
    "u-net": _image("u-net"),
    "linear-u-net": _image("linear-u-net"),
    "v-cycle-untrained": Method("V-cycle, untrained", lambda axes: VCycle().build(torch.Generator().manual_seed(SEED))),
    "v-cycle": Method("**learned V-cycle**", lambda axes: linear_models.load("v-cycle-2d")),
    "v-cycle-3d": Method("learned V-cycle, 32³", lambda axes: linear_models.load("v-cycle-3d"), axes=(3,)),
}
BOXES = ((64, 64), (128, 128), (256, 256), (512, 512), (64, 64, 64), (128, 128, 128))
OBSTACLES = ((64, 64), (128, 128), (32, 32, 32))
OBSTACLE_METHODS = ("cg", "ic0", "multigrid", "pyamg-rs", "pyamg-sa", "v-cycle-untrained", "v-cycle")


def named(grid: tuple[int, ...]) -> str:
    """A grid in the name of a row: 64x64."""
    return "x".join(map(str, grid))


def names() -> list[str]:
    """The names of all rows."""
    boxes = [
        f"box {named(grid)} {name}"
        for grid, (name, method) in itertools.product(BOXES, METHODS.items())
        if len(grid) in method.axes and math.prod(grid) <= method.largest
    ]
    obstacles = [f"obstacles {named(grid)} {name}" for grid, name in itertools.product(OBSTACLES, OBSTACLE_METHODS)]
    return [
        *boxes,
        *obstacles,
        "columns 128x128 v-cycle",
        "columns 64x64x64 v-cycle",
        "columns-gpu 128x128x128 v-cycle",
    ]


def run(kind: str, grid: tuple[int, ...], asked: list[str]) -> dict[str, dict[str, Any]]:
    """The values of the methods asked for, by name; they take turns, so that a busy machine is busy for all of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyAMG, about formats
        if kind == "box":
            return _boxes(grid, asked)
        if kind == "obstacles":
            return _obstacles(grid, asked)
        device = torch.device("cuda" if kind == "columns-gpu" else "cpu")
        return {name: _columns(grid, METHODS[name], device) for name in asked}


class _Clock:
    """Wall and CPU seconds since it was made, and at each call."""

    def __init__(self) -> None:
        self.marks = [self._now()]

    def __call__(self, iterate: Any = None) -> None:
        self.marks.append(self._now())

    def since_start(self, mark: int) -> tuple[float, float]:
        wall, cpu = (b - a for a, b in zip(self.marks[0], self.marks[mark], strict=True))
        return wall, cpu

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()


class _Ready(Direction):
    """A direction that has been set up already, so that set-up can be timed apart in CPU time too."""

    def __init__(self, direction: Direction, operator: GridOperator):
        self._direction, self._prepared = direction, direction.prepare(operator)

    @property
    def symmetric(self) -> bool:
        return self._direction.symmetric

    @property
    def linear(self) -> bool:
        return self._direction.linear

    def prepare(self, operator: Any) -> Any:
        return self._prepared


def _set_up(method: Method, operator: GridOperator) -> tuple[Direction | None, tuple[float, float]]:
    direction = method.direction(len(operator.grid)) if method.direction else None
    clock = _Clock()
    ready = None if direction is None else _Ready(direction, operator)
    clock()
    return ready, clock.since_start(-1)


def _boxes(grid: tuple[int, ...], asked: list[str]) -> dict[str, dict[str, Any]]:
    """Rounds of one right-hand side each, in which the methods take turns."""
    operator, generator = box(grid), torch.Generator().manual_seed(SEED)
    rounds = 3 if math.prod(grid) < 500_000 else 2
    right = [random_right_hand_sides(operator, 1, generator=generator) for _ in range(rounds)]
    turns = [{name: _turn(operator, b, METHODS[name]) for name in asked} for b in right]
    return {name: _summary([turn[name] for turn in turns], math.prod(grid) == 128**2) for name in asked}


@dataclass(frozen=True)
class _Turn:
    """Wall and CPU seconds of the set-up; iterations and seconds to each tolerance, None where not reached."""

    set_up: tuple[float, float]
    needed: list[int | None]
    times: list[tuple[float, float] | None]
    history: Tensor


def _turn(operator: GridOperator, b: Tensor, method: Method) -> _Turn:
    direction, set_up = _set_up(method, operator)
    clock = _Clock()
    limit = 10_000 if method.guarded else 100
    options = {"memory": method.memory, "safeguard": method.guarded, "max_iterations": limit, "callback": clock}
    result = solve(operator, b, direction=direction, rtol=TOLERANCES[-1], **options)
    history = result.history[:, 0]
    needed = [_first(history, tolerance) for tolerance in TOLERANCES]
    times = [clock.since_start(n) if n is not None and n < len(clock.marks) else None for n in needed]
    return _Turn(set_up, needed, times, history)


def _summary(turns: list[_Turn], keep_history: bool) -> dict[str, Any]:
    """The most iterations, the least seconds, and the most CPU seconds as a measure of their spread."""
    values: dict[str, Any] = {}
    for column, tolerance in enumerate(TOLERANCES):
        iterations = [turn.needed[column] for turn in turns]
        times = [time for turn in turns if (time := turn.times[column]) is not None]
        if None not in iterations and len(times) == len(turns):
            values[f"{tolerance:.0e}"] = {
                "iterations": max(n for n in iterations if n is not None),
                "seconds": _rounded(min(wall for wall, _ in times)),
                "cpu_seconds": _rounded(min(cpu for _, cpu in times)),
                "most_cpu_seconds": _rounded(max(cpu for _, cpu in times)),
            }
    history = [float(f"{float(value):.2e}") for value in turns[0].history[:400]] if keep_history else []
    return {
        **values,
        "setup_seconds": _rounded(min(turn.set_up[0] for turn in turns)),
        "setup_cpu_seconds": _rounded(min(turn.set_up[1] for turn in turns)),
        "rounds": len(turns),
        "history": history,
        "seed": SEED,
    }


def _first(history: Tensor, tolerance: float) -> int | None:
    below = (history <= tolerance).nonzero()
    return int(below[0]) if len(below) else None


def _obstacles(grid: tuple[int, ...], asked: list[str]) -> dict[str, dict[str, Any]]:
    """200 systems, each with its own matrix, to 1e-6: total of set-up and solve; the methods take turns batch by batch.

    PyAMG is called itself, as its users do: a hierarchy per matrix and its own accelerated loop; the conversion of
    our operators to its matrices is not counted against it.
    """
    systems = SYSTEMS if len(grid) == 2 else SYSTEMS // 4
    generator = torch.Generator().manual_seed(SEED)
    operator = random_obstacle_problem(grid, systems, generator=generator)
    b = random_right_hand_sides(operator, systems, generator=generator)
    parts: dict[str, list[dict[str, Any]]] = {name: [] for name in asked}
    batches = torch.arange(systems).split(max(1, TOGETHER // operator.shape[0]))
    for name in asked:  # imports of the libraries are no cost of a solve
        _solved(name, operator, b, batches[0][:1])
    for batch, name in itertools.product(batches, asked):
        parts[name] += _solved(name, operator, b, batch)
    return {name: _totals(parts[name], systems) for name in asked}


def _solved(name: str, operator: GridOperator, b: Tensor, batch: Tensor) -> list[dict[str, Any]]:
    """A batch of the systems by one method; incomplete factors are made one by one in any case."""
    if name.startswith("pyamg"):
        return [_pyamg(METHODS[name], operator, b, int(system)) for system in batch]
    return [_part(METHODS[name], operator, b, part) for part in (batch.split(1) if name == "ic0" else [batch])]


def _totals(parts: list[dict[str, Any]], systems: int) -> dict[str, Any]:
    iterations = [count for part in parts for count in part["iterations"]]
    keys = ("setup_seconds", "setup_cpu_seconds", "solve_seconds", "solve_cpu_seconds")
    return {
        **{key: _rounded(sum(part[key] for part in parts)) for key in keys},
        "systems": systems,
        "mean_iterations": round(sum(iterations) / systems, 1),
        "most_iterations": max(iterations),
        "failures": sum(part["failures"] for part in parts),
        "seed": SEED,
    }


def _part(method: Method, operator: GridOperator, b: Tensor, part: Tensor) -> dict[str, Any]:
    chosen = operator.select(part)
    direction, set_up = _set_up(method, chosen)
    clock = _Clock()
    result = solve(chosen, b[part], direction=direction, memory=method.memory, rtol=1e-6)
    clock()
    wall, cpu = clock.since_start(-1)
    failures = _failures(chosen, b[part], result.x)
    iterations = result.iterations.tolist()
    return _parts(set_up, (wall, cpu), iterations, failures)


def _pyamg(method: Method, operator: GridOperator, b: Tensor, system: int) -> dict[str, Any]:
    import pyamg
    from scipy.sparse import csr_matrix

    matrix, right = csr_matrix(operator.to_scipy(system)), b[system].numpy()
    matrix.indices, matrix.indptr = matrix.indices.astype("int32"), matrix.indptr.astype("int32")
    clock, residuals = _Clock(), []
    make = pyamg.ruge_stuben_solver if "Ruge" in method.title else pyamg.smoothed_aggregation_solver
    hierarchy = make(matrix)
    clock()
    solution = hierarchy.solve(right, tol=1e-6, accel="cg", maxiter=200, residuals=residuals)
    clock()
    (setup, setup_cpu), (total, total_cpu) = clock.since_start(1), clock.since_start(2)
    one = operator.select(torch.tensor([system]))
    failures = _failures(one, b[[system]], torch.as_tensor(solution)[None])
    return _parts((setup, setup_cpu), (total - setup, total_cpu - setup_cpu), [len(residuals) - 1], failures)


def _parts(
    setup: tuple[float, float], solved: tuple[float, float], iterations: list[int], failures: int
) -> dict[str, Any]:
    return {
        "setup_seconds": setup[0],
        "setup_cpu_seconds": setup[1],
        "solve_seconds": solved[0],
        "solve_cpu_seconds": solved[1],
        "iterations": iterations,
        "failures": failures,
    }


def _failures(operator: GridOperator, b: Tensor, x: Tensor) -> int:
    """Columns whose true residual is above the tolerance, with a tenth to spare for other stopping rules."""
    left = torch.linalg.vector_norm(operator.residual(b, x), dim=1) / torch.linalg.vector_norm(b, dim=1)
    return int((~(left <= 1.1e-6)).sum())


def _columns(grid: tuple[int, ...], method: Method, device: torch.device) -> dict[str, Any]:
    """64 right-hand sides of one box, together and one by one, to 1e-6; the two take turns in several rounds."""
    if device.type == "cuda" and not torch.cuda.is_available():
        return {"skipped": "no CUDA device"}
    operator = box(grid).to(device=device)
    b = random_right_hand_sides(box(grid), COLUMNS, generator=torch.Generator().manual_seed(SEED)).to(device)
    direction, _ = _set_up(method, operator)
    solve(operator, b[:1], direction=direction, rtol=1e-6)
    values: dict[str, Any] = {"columns": COLUMNS, "seed": SEED}
    ways, times = {"together": [b], "one_by_one": list(b.split(1))}, dict[str, list[tuple[float, float]]]()
    for _ in range(COLUMN_ROUNDS):
        for name, parts in ways.items():
            clock = _Clock()
            results = [solve(operator, part, direction=direction, rtol=1e-6) for part in parts]
            if device.type == "cuda":
                torch.cuda.synchronize()
            clock()
            times.setdefault(name, []).append(clock.since_start(-1))
            values["iterations"] = max(int(result.iterations.max()) for result in results)
    clock_used = 0 if device.type == "cuda" else 1  # the wall's, where the processor only waits
    for name, found in times.items():
        wall, cpu = min(found, key=lambda pair: pair[clock_used])
        values[name] = {"seconds": _rounded(wall), "cpu_seconds": _rounded(cpu)}
    pairs = zip(times["together"], times["one_by_one"], strict=True)
    values["ratios"] = sorted(_rounded(together[clock_used] / single[clock_used]) for together, single in pairs)
    return values


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.3g}")
