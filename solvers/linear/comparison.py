"""Methods beside each other on systems that training never saw: iterations, set-up and solve apart, histories."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, final

import torch
from torch import Tensor

from pinnx.errors import InputError, MissingExtraError, UnsupportedError
from pinnx.options import at_least, check_limits, option
from pinnx.problem import Equation
from pinnx.solvers.linear.base import Direction, LinearOperator, PreparedDirection
from pinnx.solvers.linear.krylov import solve
from pinnx.solvers.linear.preconditioners import (
    AlgebraicMultigrid,
    IncompleteCholesky,
    Jacobi,
    Multigrid,
    SineTransform,
)
from pinnx.solvers.linear.result import LinearResult
from pinnx.solvers.linear.stencil import grid_operator
from pinnx.solvers.linear.systems import System, SystemSource

Method = Literal[
    "conjugate-gradients",
    "jacobi",
    "incomplete-cholesky",
    "multigrid",
    "smoothed-aggregation",
    "ruge-stuben",
    "sine-transform",
]

METHODS: Mapping[str, Callable[[], Direction | None]] = {
    "conjugate-gradients": lambda: None,
    "jacobi": Jacobi,
    "incomplete-cholesky": IncompleteCholesky,
    "multigrid": Multigrid,
    "smoothed-aggregation": AlgebraicMultigrid,
    "ruge-stuben": lambda: AlgebraicMultigrid("ruge-stuben"),
    "sine-transform": SineTransform,
}
"""The classical methods, by the names that a case file gives them; all as directions of the same loop."""

LABELS: Mapping[str, str] = {
    "conjugate-gradients": "CG",
    "jacobi": "Jacobi",
    "incomplete-cholesky": "IC(0)",
    "multigrid": "geometric multigrid",
    "smoothed-aggregation": "PyAMG smoothed aggregation",
    "ruge-stuben": "PyAMG Ruge–Stüben",
    "sine-transform": "sine transform",
}
"""What they are called in tables and figures."""

#: Relative residuals to which iterations are counted, down to the tolerance asked for.
TOLERANCES = (1e-4, 1e-6, 1e-8, 1e-10)
#: Solves that take less than this are repeated, and the shortest time counts: other processes only lengthen it.
_QUICK_SECONDS, _REPEATS = 1.0, 3


def _grids_limit(grids: tuple[tuple[int, ...], ...]) -> str | None:
    good = all(1 <= len(grid) <= 3 and min(grid) >= 2 for grid in grids)
    return None if good else "must hold grids of one to three numbers of cells of at least 2"


@final
@dataclass(frozen=True)
class Comparison:
    """On what, and with what, methods are compared after training."""

    methods: tuple[Method, ...] = option(
        ("conjugate-gradients", "incomplete-cholesky", "multigrid", "smoothed-aggregation"), "the classical methods"
    )
    grids: tuple[tuple[int, ...], ...] = option((), "grids to compare on; none: that of the system", _grids_limit)
    columns: int = option(
        4, "right-hand sides on each grid; systems, each with its own, where they are random", at_least(1)
    )

    def __post_init__(self) -> None:
        check_limits(self)


@final
@dataclass(frozen=True)
class SolveOptions:
    """How each system is solved.

    Attributes:
        tolerance: relative residual at which a column has converged.
        max_iterations: limit, or None for the loop's own.
        memory: earlier directions that a learned one is made conjugate to.
    """

    tolerance: float
    max_iterations: int | None
    memory: int | Literal["full"]


def compare(
    source: SystemSource,
    options: Comparison,
    learned: Mapping[str, Direction],
    how: SolveOptions,
    *,
    seed: int,
    equation: Equation | None = None,
    device: torch.device | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> list[dict[str, Any]]:
    """Solve held-out systems with each method.

    Args:
        source: of the systems.
        options: on what and with what.
        learned: directions to judge, by the names that they are to have.
        how: tolerance and limits.
        seed: of the systems.
        equation: of the case.
        device: where to solve; the CPU where left out.
        say: told what is being done.

    Returns:
        One table per grid, plain values: `grid`, `unknowns`, `columns`, `systems`, and `rows`, see `measure`.
    """
    tables = []
    for grid in options.grids or (source.cells,):
        generator = torch.Generator().manual_seed(seed)
        system = source.held_out(options.columns, generator, equation=equation, grid=grid)
        system = on_device(system, device)
        rows = []
        for name, direction in _judged(learned, options.methods):
            say(f"comparing {name} on {' × '.join(map(str, grid or (system.operator.shape[0],)))}")
            is_learned = name in learned
            rows.append(measure(name, direction, system, how if is_learned else _plain(how), learned=is_learned))
        tables.append(table(system, grid, rows))
    return tables


def table(system: System, grid: Sequence[int] | None, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows with what they were measured on."""
    operator = system.operator
    return {
        "grid": None if grid is None else list(grid),
        "unknowns": operator.shape[0],
        "columns": len(system.b),
        "systems": operator.systems,
        "rows": rows,
    }


def measure(
    name: str, direction: Direction | None, system: System, how: SolveOptions, *, learned: bool
) -> dict[str, Any]:
    """One method on the systems.

    Returns:
        Plain values: `method`; `iterations`, by tolerance the median and the most over the columns; `setup_seconds` and
        `solve_seconds` per column; `failures`; `history`, the relative residuals of the column of median length;
        `note`, a sentence where the method failed or could not be used, and then nothing else.
    """
    try:
        _warm_up(direction, system)
        result, setup, solving = _timed(direction, system, how)
    except (UnsupportedError, MissingExtraError) as error:
        return {"method": name, "learned": learned, "note": str(error)}
    times = (setup / system.operator.systems, solving / len(system.b))
    return row(name, result, how, times, learned=learned)


def row(
    name: str, result: LinearResult, how: SolveOptions, times: tuple[float, float], *, learned: bool
) -> dict[str, Any]:
    """What `measure` returns, of a result and the seconds of set-up, per system, and solve, per column."""
    columns = len(result.status)
    failed = [status.message for status in result.status if not status.ok]
    counted = [tolerance for tolerance in TOLERANCES if tolerance > 1.01 * how.tolerance] + [how.tolerance]
    middle = result.iterations.argsort()[columns // 2]
    line = result.history[:, middle]
    return {
        "method": name,
        "learned": learned,
        "iterations": [_iterations(result, tolerance) for tolerance in counted],
        "setup_seconds": times[0],
        "solve_seconds": times[1],
        "failures": len(failed),
        "history": [float(value) for value in line[line.isfinite()]],
        "note": f"{len(failed)} of {columns} columns failed: {failed[0]}" if failed else "",
    }


def break_even(tables: Sequence[Mapping[str, Any]], training_seconds: float) -> list[dict[str, Any]]:
    """After how many solves a learned direction has repaid its training.

    A solve is that of one column; a new system's set-up is counted with each where systems are different, else once.

    Returns:
        For each grid, each learned and each classical method `solves`: a number, or None where it never does.
    """
    found = []
    for each in tables:
        good = [row for row in each["rows"] if "solve_seconds" in row and not row["failures"]]
        for ours in (row for row in good if row["learned"]):
            for other in (row for row in good if not row["learned"]):
                once, again = zip(_cost(ours, each), _cost(other, each), strict=True)
                gain = again[1] - again[0]
                solves = (training_seconds + once[0] - once[1]) / gain if gain > 0 else math.inf
                found.append(
                    {
                        "grid": each["grid"],
                        "learned": ours["method"],
                        "method": other["method"],
                        "solves": max(math.ceil(solves), 0) if math.isfinite(solves) else None,
                    }
                )
    return found


def clock(device: torch.device) -> Callable[[], float]:
    """What times are read from: on one CPU thread the process's CPU time, which a busy machine hardly lengthens; else
    wall time.
    """
    if device.type == "cuda":

        def after_all_kernels() -> float:
            torch.cuda.synchronize(device)
            return time.perf_counter()

        return after_all_kernels
    return time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def on_device(system: System, device: torch.device | None) -> System:
    """The same system on a device."""
    if device is None or system.operator.device == device:
        return system
    return System(system.operator.to(device=device), system.b.to(device), system.points)


def _cost(row: Mapping[str, Any], each: Mapping[str, Any]) -> tuple[float, float]:
    """What is paid once, and for each solve."""
    setup, solving = row["setup_seconds"], row["solve_seconds"]
    return (0.0, setup + solving) if each["systems"] > 1 else (setup, solving)


def _judged(learned: Mapping[str, Direction], methods: Sequence[str]) -> Iterator[tuple[str, Direction | None]]:
    yield from learned.items()
    for name in dict.fromkeys(methods):
        yield LABELS[name], METHODS[name]()


def _plain(how: SolveOptions) -> SolveOptions:
    """Classical directions need no more than one earlier direction."""
    return SolveOptions(how.tolerance, how.max_iterations, 1)


def _warm_up(direction: Direction | None, system: System) -> None:
    """Import what the direction imports, so that its set-up time is its own."""
    axes = len(getattr(system.operator, "grid", (8, 8)))
    small = grid_operator((8,) * axes, nodes="vertices")
    try:
        solve(small, torch.ones(small.shape[0]), direction=direction, max_iterations=1)
    except (UnsupportedError, InputError):
        return  # the system itself will tell


def _timed(direction: Direction | None, system: System, how: SolveOptions) -> tuple[LinearResult, float, float]:
    """The quickest of a few solves, if they are quick, with the times of set-up and solve."""
    now = clock(system.operator.device)

    def once() -> tuple[LinearResult, float, float]:
        start = now()
        ready = None if direction is None else _Ready(direction, system.operator)
        set_up = now()
        result = solve(
            system.operator,
            system.b,
            direction=ready,
            memory=how.memory,
            rtol=how.tolerance,
            max_iterations=how.max_iterations,
        )
        return result, set_up - start, now() - set_up

    solves = [once()]
    if sum(solves[0][1:]) < _QUICK_SECONDS:
        solves += [once() for _ in range(_REPEATS - 1)]
    return min(solves, key=lambda each: sum(each[1:]))


@final
class _Ready(Direction):
    """A direction that is set up already."""

    def __init__(self, direction: Direction, operator: LinearOperator):
        self._direction, self._prepared = direction, direction.prepare(operator)

    @property
    def symmetric(self) -> bool:
        return self._direction.symmetric

    @property
    def linear(self) -> bool:
        return self._direction.linear

    def prepare(self, operator: LinearOperator) -> PreparedDirection:
        return self._prepared


def _iterations(result: LinearResult, tolerance: float) -> dict[str, float | None]:
    """Median and most over the columns; None where one never reaches the tolerance."""
    reached: Tensor = result.history <= tolerance
    counts = [int(column.float().argmax()) if bool(column.any()) else None for column in reached.T]
    if any(count is None for count in counts):
        return {"tolerance": tolerance, "median": None, "most": None}
    whole = [count for count in counts if count is not None]
    return {"tolerance": tolerance, "median": median(whole), "most": max(whole)}
