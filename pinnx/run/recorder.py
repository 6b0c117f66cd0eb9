"""What becomes of the numbers of a training: kept in memory, or written to a run directory."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, final

import numpy as np

from pinnx.run.checkpoints import Checkpoint, Checkpoints
from pinnx.run.directory import RunDirectory
from pinnx.run.metrics import Metrics

if TYPE_CHECKING:
    from pinnx.run.loop import Clock
    from pinnx.solvers.base import Training

#: Seconds between two writes of the metrics, and between two checkpoints where steps are slow.
METRICS_SECONDS = 5.0
CHECKPOINT_SECONDS = 300.0


class Recorder(ABC):
    """Takes what a training produces.

    Attributes:
        resumable: whether a stopped training can go on from what was recorded: then signals stop it gently.
    """

    resumable: bool

    @abstractmethod
    def record(self, row: Mapping[str, float]) -> None:
        """Take a row of metrics."""

    @abstractmethod
    def checkpoint_due(self, step: int) -> bool:
        """Whether the state after this step should be kept."""

    @abstractmethod
    def checkpoint(self, training: Training, clock: Clock) -> None:
        """Keep the state as it is now."""

    @abstractmethod
    def say(self, sentence: str) -> None:
        """Note down a sentence."""


@final
class MemoryRecorder(Recorder):
    """Keeps the rows in memory and writes nothing."""

    resumable = False

    def __init__(self) -> None:
        self.metrics = Metrics()

    @property
    def history(self) -> dict[str, np.ndarray]:
        """The columns of metrics by name."""
        return self.metrics.table()

    def record(self, row: Mapping[str, float]) -> None:
        self.metrics.append(row)

    def checkpoint_due(self, step: int) -> bool:
        return False

    def checkpoint(self, training: Training, clock: Clock) -> None:
        pass

    def say(self, sentence: str) -> None:
        pass


@final
class DirectoryRecorder(Recorder):
    """Writes metrics and checkpoints to a run directory.

    The metrics on disk always reach at least as far as the newest checkpoint, so that a resumed run, which drops the
    rows after it, has the rows of a run that never stopped.

    Args:
        directory: of the run, locked by the caller.
        checkpoint_every: steps between two checkpoints; slow steps get one every few minutes besides.
        keep: number of checkpoints kept.
    """

    resumable = True

    def __init__(self, directory: RunDirectory, *, checkpoint_every: int, keep: int):
        self.directory, self.checkpoint_every = directory, checkpoint_every
        self.checkpoints = Checkpoints(directory.checkpoints, keep)
        self.metrics = Metrics()
        self._written = self._saved = time.monotonic()

    def restore(self, step: int) -> None:
        """Take up the metrics of the run up to a step."""
        self.metrics = Metrics.read(self.directory.metrics)
        self.metrics.drop_after(step)

    def record(self, row: Mapping[str, float]) -> None:
        self.metrics.append(row)
        if len(self.metrics) == 1 or time.monotonic() - self._written >= METRICS_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the metrics now."""
        self.metrics.write(self.directory.metrics)
        self._written = time.monotonic()

    def checkpoint_due(self, step: int) -> bool:
        # When a checkpoint is written changes no number, so the clock may decide.
        return step % self.checkpoint_every == 0 or time.monotonic() - self._saved >= CHECKPOINT_SECONDS

    def checkpoint(self, training: Training, clock: Clock) -> None:
        self.flush()
        state = Checkpoint(training.step_number, clock.seconds, clock.wall_seconds, training.state_dict())
        self.checkpoints.save(state)
        self._saved = time.monotonic()

    def say(self, sentence: str) -> None:
        self.directory.say(sentence)
