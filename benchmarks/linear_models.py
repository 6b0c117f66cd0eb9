"""The models of the linear benchmark: how each is trained, and where its file lies."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pinnx.solvers.linear.directions import (
    Dcdm,
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


def _images(network: Any, steps: int, rollout: int, learning_rate: float) -> TrainDirection:
    optimizer = Adam(learning_rate=learning_rate, schedule=Cosine())
    samples = RitzSamples(grid=(64, 64))
    return TrainDirection(network, samples, "residual", rollout=rollout, steps=steps, batch=10, optimizer=optimizer)


def _cycle(systems: RandomSystems, steps: int, batch: int) -> TrainDirection:
    optimizer = Adam(learning_rate=0.03, schedule=Cosine())
    samples = RandomSamples(systems)
    return TrainDirection(VCycle(), samples, "energy", rollout=4, steps=steps, batch=batch, optimizer=optimizer)


TRAININGS: dict[str, Callable[[], TrainDirection]] = {
    "dcdm": lambda: _images(Dcdm(), 2600, 1, 1e-3),
    "u-net": lambda: _images(UNet(), 800, 2, 3e-3),
    "linear-u-net": lambda: _images(LinearUNet(), 800, 2, 3e-3),
    "v-cycle-2d": lambda: _cycle(RandomSystems(grid=(64, 64)), 350, 8),
    "v-cycle-3d": lambda: _cycle(RandomSystems(grid=(32, 32, 32)), 120, 2),
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
    training = TRAININGS[name]().start(seed=SEED, folder=scratch)
    data, data_cpu = time.perf_counter() - began, time.process_time() - began_cpu
    before = training.validate()

    def progress(step: int, metrics: dict[str, float]) -> None:
        if step % max(1, training.total_steps // 20) == 0:
            print(f"  {name} {step}/{training.total_steps} {metrics['loss']:.4f}", flush=True)

    began, began_cpu = time.perf_counter(), time.process_time()
    direction = training.run(progress)
    seconds, seconds_cpu = time.perf_counter() - began, time.process_time() - began_cpu
    FOLDER.mkdir(parents=True, exist_ok=True)
    direction.save(path(name))
    return {
        "parameters": direction.parameters,
        "steps": training.total_steps,
        "data_seconds": round(data, 1),
        "data_cpu_seconds": round(data_cpu, 1),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(seconds_cpu, 1),
        "validation_before": before,
        "validation": training.validate(),
        "seed": SEED,
    }
