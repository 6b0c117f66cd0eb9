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
    random_obstacle_problem,
    random_right_hand_sides,
    solve,
)
from pinnx.solvers.linear.directions import VCycle, box

#: Drawn once.
SEED = 77_269
TOLERANCES = (1e-4, 1e-6, 1e-8)
SYSTEMS = 200
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


def run(row: str) -> dict[str, Any]:
    """The values of one row."""
    kind, grid_name, name = row.split(" ")
    grid = tuple(map(int, grid_name.split("x")))
    method = METHODS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyAMG, about formats
        if kind == "box":
            return _box(grid, method)
        if kind == "obstacles":
            return _obstacles(grid, method)
        return _columns(grid, method, torch.device("cuda" if kind == "columns-gpu" else "cpu"))


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


def _box(grid: tuple[int, ...], method: Method) -> dict[str, Any]:
    """Three right-hand sides one after the other: the most iterations, the least time."""
    operator, values, generator = box(grid), {}, torch.Generator().manual_seed(SEED)
    runs = []
    for _ in range(3 if math.prod(grid) < 500_000 else 2):
        b = random_right_hand_sides(operator, 1, generator=generator)
        direction, set_up = _set_up(method, operator)
        clock = _Clock()
        limit = 10_000 if method.guarded else 100
        options = {"memory": method.memory, "safeguard": method.guarded, "max_iterations": limit, "callback": clock}
        result = solve(operator, b, direction=direction, rtol=TOLERANCES[-1], **options)
        history = result.history[:, 0]
        needed = [_first(history, tolerance) for tolerance in TOLERANCES]
        times = [clock.since_start(n) if n is not None and n < len(clock.marks) else None for n in needed]
        runs.append((needed, times, set_up, history))
    for column, tolerance in enumerate(TOLERANCES):
        iterations, times = [r[0][column] for r in runs], [r[1][column] for r in runs]
        if None not in iterations:
            values[f"{tolerance:.0e}"] = {
                "iterations": max(iterations),
                "seconds": _rounded(min(t[0] for t in times)),
                "cpu_seconds": _rounded(min(t[1] for t in times)),
            }
    history = [float(f"{float(value):.2e}") for value in runs[0][3][:400]]
    set_up_seconds, set_up_cpu = (_rounded(min(r[2][part] for r in runs)) for part in (0, 1))
    return {
        **values,
        "setup_seconds": set_up_seconds,
        "setup_cpu_seconds": set_up_cpu,
        "history": history if math.prod(grid) == 128**2 else [],
        "seed": SEED,
    }


def _first(history: Tensor, tolerance: float) -> int | None:
    below = (history <= tolerance).nonzero()
    return int(below[0]) if len(below) else None


def _obstacles(grid: tuple[int, ...], method: Method) -> dict[str, Any]:
    """200 systems, each with its own matrix, to 1e-6: total of set-up and solve.

    PyAMG is called itself, as its users do: a hierarchy per matrix and its own accelerated loop; the conversion of
    our operators to its matrices is not counted against it.
    """
    systems = SYSTEMS if len(grid) == 2 else SYSTEMS // 4
    generator = torch.Generator().manual_seed(SEED)
    operator = random_obstacle_problem(grid, systems, generator=generator)
    b = random_right_hand_sides(operator, systems, generator=generator)
    if method.title.startswith("PyAMG"):
        parts = [_pyamg(method, operator, b, system) for system in range(systems)]
    else:
        batch = systems if method.direction is None else max(1, TOGETHER // operator.shape[0])
        alone = isinstance(method.direction(len(grid)) if method.direction else None, IncompleteCholesky)
        parts = [_part(method, operator, b, part) for part in torch.arange(systems).split(1 if alone else batch)]
    iterations = [count for part in parts for count in part["iterations"]]
    totals = {
        key: _rounded(sum(part[key] for part in parts))
        for key in ("setup_seconds", "setup_cpu_seconds", "solve_seconds", "solve_cpu_seconds")
    }
    return {
        **totals,
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
    """64 right-hand sides of one box, together and one by one, to 1e-6."""
    if device.type == "cuda" and not torch.cuda.is_available():
        return {"skipped": "no CUDA device"}
    columns = 64 if math.prod(grid) < 200_000 else 16
    operator = box(grid).to(device=device)
    b = random_right_hand_sides(box(grid), columns, generator=torch.Generator().manual_seed(SEED)).to(device)
    direction, _ = _set_up(method, operator)
    solve(operator, b[:1], direction=direction, rtol=1e-6)
    values: dict[str, Any] = {"columns": columns, "seed": SEED}
    for name, parts in (("together", [b]), ("one_by_one", list(b.split(1)))):
        clock = _Clock()
        results = [solve(operator, part, direction=direction, rtol=1e-6) for part in parts]
        if device.type == "cuda":
            torch.cuda.synchronize()
        clock()
        wall, cpu = clock.since_start(-1)
        values[name] = {"seconds": _rounded(wall), "cpu_seconds": _rounded(cpu)}
        values["iterations"] = max(int(result.iterations.max()) for result in results)
    return values


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.3g}")
