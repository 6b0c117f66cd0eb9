"""Smoke that rises past a moving obstacle: incompressible flow, whose pressure system is another one in every frame.

The obstacle moves, so that matrix and set-up change with every frame: what a preconditioner costs to make counts as
much as what it saves. Every fifth frame's system is solved by all methods, from the pressure of the frame before; the
flow goes on with the first method's pressure. Run it from the root of the repository:

    python benchmarks/flow.py                        # writes results/flow.json and two pictures for the documentation
    python benchmarks/flow.py --size 64 --frames 40  # a quick look

The grid is staggered (MAC): pressure and smoke in cells, velocities on faces. Advection is semi-Lagrangian (J. Stam,
Stable Fluids, SIGGRAPH 1999), the walls are free of friction, the top is open.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import linear_models
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from origin import origin
from scipy.ndimage import map_coordinates

import pinnx
from pinnx.solvers.linear import (
    AlgebraicMultigrid,
    Direction,
    GridOperator,
    IncompleteCholesky,
    LinearOperator,
    LinearResult,
    Multigrid,
    PreparedDirection,
    grid_operator,
    solve,
)
from pinnx.views.figures import BLUE, GREEN, ORANGE, PURPLE, VERMILION, new_figure, style

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "flow.json"
PICTURES = ROOT / "docs" / "images"
#: Relative residual of the pressure; what is left of the divergence changes no pixel.
TOLERANCE = 1e-5
#: Height over width of the box; the width is 1.
TALL = 1.5
BUOYANCY, DISSIPATION = 4.0, 0.15
RADIUS, REACH, PERIOD, HEIGHT = 0.13, 0.17, 2.4, 0.62
SPEED = 2.0  # sets the time step: this velocity crosses a cell and a half


@dataclass
class Flow:
    """The state of the flow on `cells` (x, y), y upwards.

    Attributes:
        u: velocity across vertical faces, (nx + 1, ny).
        v: velocity across horizontal faces, (nx, ny + 1).
        smoke: density in cells, (nx, ny).
        pressure: of the last frame, times the time step, (nx, ny).
        seconds: since the start.
    """

    cells: tuple[int, int]
    u: np.ndarray
    v: np.ndarray
    smoke: np.ndarray
    pressure: np.ndarray
    seconds: float = 0.0

    @classmethod
    def at_rest(cls, width: int) -> Flow:
        """Still air on a grid of so many cells across."""
        nx, ny = width, int(TALL * width)
        empty = np.zeros((nx, ny))
        return cls((nx, ny), np.zeros((nx + 1, ny)), np.zeros((nx, ny + 1)), empty, empty.copy())

    @property
    def spacing(self) -> float:
        """Width of a cell."""
        return 1.0 / self.cells[0]

    @property
    def time_step(self) -> float:
        """Length of a frame in seconds of the flow."""
        return 1.5 * self.spacing / SPEED

    def centers(self) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of the cells' centers."""
        x, y = ((np.arange(n) + 0.5) * self.spacing for n in self.cells)
        return np.meshgrid(x, y, indexing="ij")  # type: ignore[return-value]

    def obstacle(self) -> tuple[np.ndarray, float, tuple[float, float]]:
        """Cells inside of the disc, its horizontal velocity, its center."""
        phase = 2 * np.pi * self.seconds / PERIOD
        center = (0.5 + REACH * float(np.sin(phase)), HEIGHT)
        x, y = self.centers()
        inside = (x - center[0]) ** 2 + (y - center[1]) ** 2 < RADIUS**2
        return inside, REACH * 2 * np.pi / PERIOD * float(np.cos(phase)), center


def system(flow: Flow) -> tuple[GridOperator, torch.Tensor]:
    """-Δp = -div u in the fluid: closed walls left, right and below, p = 0 above, closed obstacle walls."""
    inside, _, _ = flow.obstacle()
    sides = ["neumann", ("neumann", "dirichlet")]
    mask = torch.from_numpy(~inside)
    operator = grid_operator(flow.cells, spacing=flow.spacing, mask=mask, sides=sides, obstacles="neumann")
    return operator, torch.from_numpy(np.where(inside, 0.0, -divergence(flow))).reshape(-1)


def divergence(flow: Flow) -> np.ndarray:
    """Of the velocity, in each cell."""
    return (np.diff(flow.u, axis=0) + np.diff(flow.v, axis=1)) / flow.spacing


def push(flow: Flow) -> None:
    """All that happens in a frame before the pressure: smoke enters, everything is carried along, smoke rises."""
    step = flow.time_step
    x, y = flow.centers()
    flow.smoke[((x - 0.5) ** 2 + (y - 0.09) ** 2) < 0.075**2] = 1.0
    u, v = _advected(flow, flow.u, (0.0, 0.5)), _advected(flow, flow.v, (0.5, 0.0))
    smoke = _advected(flow, flow.smoke, (0.5, 0.5)) * np.exp(-DISSIPATION * step)
    flow.seconds += step
    inside, speed, _ = flow.obstacle()
    smoke[inside] = 0.0
    v[:, 1:-1] += step * BUOYANCY * 0.5 * (smoke[:, 1:] + smoke[:, :-1])
    closed_x, closed_y = _closed(inside)
    u[closed_x] = speed * _touches(inside, 0)[closed_x]
    v[closed_y] = 0.0
    flow.u, flow.v, flow.smoke = u, v, smoke


def project(flow: Flow, pressure: np.ndarray) -> None:
    """Take the pressure's gradient off the velocity, where no wall holds it."""
    inside, _, _ = flow.obstacle()
    closed_x, closed_y = _closed(inside)
    across, up = np.zeros_like(flow.u), np.zeros_like(flow.v)
    across[1:-1], up[:, 1:-1] = np.diff(pressure, axis=0), np.diff(pressure, axis=1)
    up[:, -1] = -2.0 * pressure[:, -1]  # p = 0 half a spacing above the last centers
    flow.u -= np.where(closed_x, 0.0, across) / flow.spacing
    flow.v -= np.where(closed_y, 0.0, up) / flow.spacing
    flow.pressure = pressure


def _touches(inside: np.ndarray, axis: int) -> np.ndarray:
    """Faces across an axis with the obstacle on one side at least."""
    pad = [(1, 1) if a == axis else (0, 0) for a in range(2)]
    padded = np.pad(inside, pad)
    return padded.take(range(padded.shape[axis] - 1), axis) | padded.take(range(1, padded.shape[axis]), axis)


def _closed(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faces whose velocity a wall prescribes."""
    across, up = _touches(inside, 0), _touches(inside, 1)
    across[[0, -1]] = True
    up[:, 0] = True
    return across, up


def _advected(flow: Flow, field: np.ndarray, offset: tuple[float, float]) -> np.ndarray:
    """A field where it was a time step ago, along the flow; `offset` is that of its first value, in cells."""
    i, j = np.meshgrid(*(np.arange(n) + o for n, o in zip(field.shape, offset, strict=True)), indexing="ij")
    scale = flow.time_step / flow.spacing

    def velocity(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _at(flow.u, x, y - 0.5), _at(flow.v, x - 0.5, y)

    u, v = velocity(i, j)
    u, v = velocity(i - 0.5 * scale * u, j - 0.5 * scale * v)
    return _at(field, i - scale * u - offset[0], j - scale * v - offset[1])


def _at(field: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Bilinear interpolation at positions in cells."""
    return map_coordinates(field, [i, j], order=1, mode="nearest")


class Ready(Direction):
    """A direction that is set up already, so that its set-up can be timed apart in CPU time."""

    def __init__(self, direction: Direction, operator: GridOperator):
        self._direction, self._prepared = direction, direction.prepare(operator)

    @property
    def symmetric(self) -> bool:
        return self._direction.symmetric

    @property
    def linear(self) -> bool:
        return self._direction.linear

    def prepare(self, operator: LinearOperator) -> PreparedDirection:
        return self._prepared


def methods(learned: Direction) -> dict[str, Direction | None]:
    """What the pressure is solved with; the flow follows the first."""
    return {
        "learned V-cycle": learned,
        "geometric multigrid": Multigrid(),
        "PyAMG smoothed aggregation": AlgebraicMultigrid(),
        "IC(0)": IncompleteCholesky(),
        "CG": None,
    }


COLORS = dict(
    zip(
        ["learned V-cycle", "geometric multigrid", "PyAMG smoothed aggregation", "IC(0)", "CG"],
        [BLUE, ORANGE, PURPLE, GREEN, VERMILION],
        strict=True,
    )
)


def run(
    width: int, frames: int, every: int, directions: Mapping[str, Direction | None], shown: Sequence[int]
) -> dict[str, Any]:
    """Simulate, and solve the pressure of every `every`-th frame by all methods, of the others by the first.

    Returns:
        `rows`, per method for each frame that is compared `frame`, `iterations`, `setup_seconds`, `solve_seconds` (CPU
        time), `failures`;
        `divergence`, the largest one left after projection over that before; `seconds` of everything else per frame;
        `pictures`, the smoke and the disc's center at the frames `shown`.
    """
    flow = Flow.at_rest(width)
    rows: dict[str, dict[str, list[float]]] = {
        name: {"frame": [], "iterations": [], "setup_seconds": [], "solve_seconds": [], "failures": []}
        for name in directions
    }
    left, other, pictures = [], 0.0, []
    for frame in range(1, frames + 1):
        began = time.perf_counter()
        push(flow)
        operator, b = system(flow)
        other += time.perf_counter() - began
        start = torch.from_numpy(flow.pressure).reshape(-1) * operator.mask.reshape(-1)
        results: dict[str, LinearResult] = {}
        compared = frame % every == 0
        for name, direction in directions.items() if compared else list(directions.items())[:1]:
            clock = [time.process_time()]
            ready = None if direction is None else Ready(direction, operator)
            clock.append(time.process_time())
            result = results[name] = solve(operator, b, start, direction=ready, rtol=TOLERANCE)
            clock.append(time.process_time())
            if not compared:
                continue
            rows[name]["frame"].append(frame)
            rows[name]["iterations"].append(int(result.iterations[0]))
            rows[name]["setup_seconds"].append(clock[1] - clock[0])
            rows[name]["solve_seconds"].append(clock[2] - clock[1])
            rows[name]["failures"].append(int(not result.ok))
        before = float(torch.linalg.vector_norm(b))
        began = time.perf_counter()
        project(flow, next(iter(results.values())).x.numpy().reshape(flow.cells))
        other += time.perf_counter() - began
        left.append(float(torch.linalg.vector_norm(system(flow)[1])) / before)
        if frame in shown:
            pictures.append((flow.seconds, flow.smoke.copy(), flow.obstacle()[2]))
        if compared and frame % max(1, frames // 10) < every:
            counts = ", ".join(f"{name} {rows[name]['iterations'][-1]}" for name in directions)
            print(f"  frame {frame}/{frames}: {counts}", flush=True)
    return {"rows": rows, "divergence": max(left), "seconds": other / frames, "pictures": pictures}


def summary(rows: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, float]]:
    """Medians per frame, and failures altogether."""
    return {
        name: {
            "iterations": float(np.median(row["iterations"])),
            "setup_ms": round(1e3 * float(np.median(row["setup_seconds"])), 2),
            "solve_ms": round(1e3 * float(np.median(row["solve_seconds"])), 2),
            "failures": int(sum(row["failures"])),
        }
        for name, row in rows.items()
    }


def smoke_figure(pictures: Sequence[tuple[float, np.ndarray, tuple[float, float]]]) -> Figure:
    """The smoke at a few times, with the obstacle."""
    figure = new_figure(1.75 * len(pictures), 2.95)
    for axes, (seconds, smoke, center) in zip(figure.subplots(1, len(pictures)), pictures, strict=True):
        axes.imshow(
            smoke.T, origin="lower", extent=(0, 1, 0, TALL), cmap="gray_r", vmin=0, vmax=1, interpolation="bilinear"
        )
        turn = np.linspace(0, 2 * np.pi, 100)
        axes.fill(center[0] + RADIUS * np.cos(turn), center[1] + RADIUS * np.sin(turn), color=VERMILION, lw=0)
        axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, TALL), title=f"$t$ = {seconds:.2f}")
        axes.grid(visible=False)
        axes.spines[["right"]].set_visible(True)
    return figure


def cost_figure(rows: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Iterations and time of each frame."""
    figure = new_figure(6.8, 2.9)
    left, right = figure.subplots(1, 2)
    for name, row in rows.items():
        total = 1e3 * (np.asarray(row["setup_seconds"]) + np.asarray(row["solve_seconds"]))
        left.plot(row["frame"], row["iterations"], color=COLORS[name], label=name)
        right.plot(row["frame"], total, color=COLORS[name], linewidth=0.9)
    for axes, label in ((left, "iterations"), (right, "CPU ms for set-up and solve")):
        axes.set(xlabel="frame", ylabel=label, yscale="log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def main() -> None:
    """Run, print, and write the results and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="cells across; one and a half times as many upwards")
    parser.add_argument("--frames", type=int, default=450)
    parser.add_argument("--every", type=int, default=5, help="frames between two comparisons of all methods")
    parser.add_argument("--model", type=Path, help="a trained V-cycle; by default that of the linear benchmark")
    parser.add_argument("--output", type=Path, help="a folder for everything, instead of the repository's own places")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = arguments.model or linear_models.path("v-cycle-2d")
    if not model.is_file():
        parser.error(
            f"{model} is missing: run `pinnx solve cases/linear_obstacles_2d.toml`, then pass its direction.pt"
        )
    shown = [max(1, round(part * arguments.frames)) for part in (0.25, 0.5, 0.75, 1.0)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyAMG's hints on formats
        found = run(arguments.size, arguments.frames, arguments.every, methods(pinnx.load_direction(model)), shown)
    table = summary(found["rows"])
    for name, row in table.items():
        print(f"{name:28} {row['iterations']:6g} iterations, {row['setup_ms']:7.2f} + {row['solve_ms']:7.2f} ms")
    print(f"divergence left: {found['divergence']:.1e}; all else {1e3 * found['seconds']:.1f} ms a frame")
    results, pictures = (arguments.output / "flow.json", arguments.output) if arguments.output else (RESULTS, PICTURES)
    for folder in (results.parent, pictures):
        folder.mkdir(parents=True, exist_ok=True)
    content = {
        **origin(),
        "size": [arguments.size, int(TALL * arguments.size)],
        "frames": arguments.frames,
        "compared": arguments.frames // arguments.every,
        "tolerance": TOLERANCE,
        "methods": table,
        "divergence": found["divergence"],
        "other_ms": round(1e3 * found["seconds"], 2),
    }
    results.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    with style():
        smoke_figure(found["pictures"]).savefig(pictures / "flow.png", dpi=150)
        cost_figure(found["rows"]).savefig(pictures / "flow-cost.png", dpi=150)


if __name__ == "__main__":
    main()
