"""The models of the linear benchmark: how each is trained, and where its file lies."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinnx.solvers.linear.directions import (
    Dcdm,
    DirectionSpec,
    LearnedDirection,
    LinearUNet,
    RandomSamples,
    RandomSystems,
    RitzSamples,
    TrainDirection,
    UNet,
    VCycle,
    load_direction,
)
from pinnx.solvers.training import Adam, Cosine

FOLDER = Path(__file__).resolve().parent / "results" / "linear_models"
#: Drawn once.
SEED = 83_911


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        options: of the training.
        stop: steps that are done, where the learning rate's schedule is for more; None for all.
    """

    options: TrainDirection
    stop: int | None = None


def _images(network: DirectionSpec, steps: int, rollout: int, learning_rate: float, stop: int | None = None) -> Recipe:
    optimizer = Adam(learning_rate=learning_rate, schedule=Cosine())
    samples = RitzSamples(grid=(64, 64))
    options = TrainDirection(network, samples, "residual", rollout, steps, batch=10, optimizer=optimizer)
    return Recipe(options, stop)


def _cycle(grid: tuple[int, ...], steps: int, batch: int) -> Recipe:
    optimizer = Adam(learning_rate=0.03, schedule=Cosine())
    samples = RandomSamples(RandomSystems(grid=grid))
    return Recipe(TrainDirection(VCycle(hidden=8), samples, "energy", 4, steps, batch=batch, optimizer=optimizer))


RECIPES: dict[str, Callable[[], Recipe]] = {
    "dcdm": lambda: _images(Dcdm(), 6000, 1, 1e-3, stop=2000),
    "u-net": lambda: _images(UNet(), 800, 2, 3e-3),
    "linear-u-net": lambda: _images(LinearUNet(), 800, 2, 3e-3),
    "v-cycle-2d": lambda: _cycle((64, 64), 350, 8),
    "v-cycle-3d": lambda: _cycle((32, 32, 32), 120, 2),
}


def path(name: str) -> Path:
    """The file of a model."""
    return FOLDER / f"{name}.pt"


def load(name: str) -> LearnedDirection:
    """A trained model; the row `train <name>` makes it."""
    return load_direction(path(name))


def train(name: str, scratch: Path) -> dict[str, Any]:
    """Train a model, write its file, and say what it cost."""
    began, began_cpu = time.perf_counter(), time.process_time()
    recipe = RECIPES[name]()
    training = recipe.options.start(seed=SEED, folder=scratch)
    steps = recipe.stop or training.total_steps
    data, data_cpu = time.perf_counter() - began, time.process_time() - began_cpu
    before = training.validate()
    began, began_cpu = time.perf_counter(), time.process_time()
    for step in range(1, steps + 1):
        metrics = training.step()
        if step % max(1, steps // 20) == 0:
            print(f"  {name} {step}/{steps} {metrics['loss']:.4f}", flush=True)
    seconds, seconds_cpu = time.perf_counter() - began, time.process_time() - began_cpu
    FOLDER.mkdir(parents=True, exist_ok=True)
    training.direction.save(path(name))
    return {
        "parameters": training.parameters,
        "steps": steps,
        "data_seconds": round(data, 1),
        "data_cpu_seconds": round(data_cpu, 1),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(seconds_cpu, 1),
        "validation_before": before,
        "validation": training.validate(),
        "seed": SEED,
    }
