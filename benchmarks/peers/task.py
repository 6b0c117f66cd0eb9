"""The training step that every package takes: same points, same initial weights, same loss. Only its cost may differ.

Residual Δu + u − u³ of a perceptron u at fixed points; mean square; gradient; one step of Adam. float32.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version

import torch
from torch import Tensor

WIDTH = 128
DEPTH = 4  # hidden layers
POINTS = 100
LEARNING_RATE = 1e-3
SEED = 70_413

Layer = tuple[Tensor, Tensor]


def draw_points(dimension: int) -> Tensor:
    """Points close to the unit sphere, (POINTS, dimension), in any dimension."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(POINTS, dimension, generator=generator) / dimension**0.5


def draw_layers(dimension: int) -> list[Layer]:
    """Weight and bias of every layer: Glorot normal, and zero."""
    generator = torch.Generator().manual_seed(SEED + 1)
    sizes = [dimension, *[WIDTH] * DEPTH, 1]
    return [
        (torch.randn(rows, columns, generator=generator) * (2 / (rows + columns)) ** 0.5, torch.zeros(rows))
        for columns, rows in zip(sizes[:-1], sizes[1:], strict=True)
    ]


@torch.no_grad()
def fill(linears: Sequence[torch.nn.Linear], dimension: int) -> None:
    """Give a package's network the common weights."""
    for linear, (weight, bias) in zip(linears, draw_layers(dimension), strict=True):
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)


class Clock:
    """Times steps until a number of seconds is spent: a fifth of it on warming up, and at least one step of each.

    Args:
        seconds: how long to go on.
    """

    def __init__(self, seconds: float):
        self.budget, self.seconds = seconds, list[float]()
        self._warm = False
        self._begin = self._start = time.perf_counter()

    def start(self) -> None:
        """A step begins."""
        self._start = time.perf_counter()

    def stop(self) -> None:
        """The step is done."""
        now = time.perf_counter()
        if self._warm:
            self.seconds.append(now - self._start)
        elif now - self._begin > self.budget / 5:
            self._warm, self._begin = True, now

    @property
    def over(self) -> bool:
        """Whether it is time to end."""
        return bool(self.seconds) and time.perf_counter() - self._begin > self.budget

    def reset(self) -> None:
        """Forget the time that setting up took."""
        self._begin = time.perf_counter()


def arguments() -> argparse.Namespace:
    """What a worker is asked for; sets the number of threads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dimension", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to go on with taking steps")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    return asked


def report(package: str, dimension: int, loss: float, clock: Clock, **more: object) -> None:
    """Print the worker's result: one line of JSON, the last of its output."""
    answer = {
        "package": package,
        "version": version(package),
        "torch": torch.__version__,
        "dimension": dimension,
        "loss": loss,
        "seconds": rounded(clock.seconds),
        "peak_memory_bytes": _peak_memory(),
        **more,
    }
    print(json.dumps(answer), flush=True)


def rounded(seconds: Sequence[float]) -> list[float]:
    """To microseconds."""
    return [round(each, 6) for each in seconds]


def _peak_memory() -> int | None:
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
