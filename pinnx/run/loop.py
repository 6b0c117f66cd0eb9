"""The training loop: steps, rows of metrics, evaluations, checkpoints, and an orderly end whatever happens."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, final

from pinnx.errors import DivergedError
from pinnx.run.metrics import SECONDS, STEP
from pinnx.run.progress import Progress, Silent, duration
from pinnx.run.recorder import MemoryRecorder, Recorder
from pinnx.status import Outcome, Status

if TYPE_CHECKING:
    from pinnx.solvers.base import Training


@final
@dataclass
class Clock:
    """Time spent, over all sessions of a run.

    Attributes:
        seconds: in steps.
        wall_seconds: altogether, up to the last call of `tick`.
    """

    seconds: float = 0.0
    wall_seconds: float = 0.0
    _last: float = field(default_factory=time.perf_counter)

    def tick(self) -> None:
        """Bring `wall_seconds` up to date."""
        now = time.perf_counter()
        self.wall_seconds += now - self._last
        self._last = now

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time a step."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start
            self.tick()


def train(
    training: Training,
    recorder: Recorder | None = None,
    progress: Progress | None = None,
    *,
    every: int = 10,
    clock: Clock | None = None,
    stop_on: Sequence[signal.Signals] = (),
) -> Status:
    """Do the steps that are left.

    The first step, the last one, every `every`-th one and those at which the error is measured give a row of metrics.
    Neither the clock nor checkpoints nor signals change any number but seconds.

    Args:
        training: where it stands; it is moved on.
        recorder: takes metrics and checkpoints; by default they are dropped.
        progress: shows how it goes; by default nothing is shown.
        every: steps between two rows of metrics.
        clock: with the time that earlier sessions took.
        stop_on: signals that stop the run gently, besides SIGINT and SIGTERM.

    Returns:
        DONE; STOPPED after one of these signals, if the recorder can resume; DIVERGED, with the last good state kept.
    """
    recorder, progress, clock = recorder or MemoryRecorder(), progress or Silent(), clock or Clock()
    progress.start(training.step_number, training.total_steps)
    with _interruption(stop_on, enabled=recorder.resumable) as interruption:
        saved = -1
        while training.step_number < training.total_steps:
            if interruption.signal is not None:
                return _stopped(training, recorder, clock, interruption, saved)
            try:
                with clock.step():
                    row = training.step()
            except DivergedError as error:
                return _diverged(training, recorder, clock, error)
            step, last = training.step_number, training.step_number == training.total_steps
            evaluated = last or step % training.evaluate_every == 0
            if evaluated and (errors := training.evaluate()) is not None:
                row |= errors.as_dict()
            if evaluated or step == 1 or step % every == 0:
                recorder.record({STEP: step, **row, SECONDS: clock.seconds})
            progress.update(step, row)
            if last or recorder.checkpoint_due(step):
                recorder.checkpoint(training, clock)
                saved = step
    clock.tick()
    return Status(Outcome.DONE, f"{training.total_steps} steps done in {duration(clock.wall_seconds)}")


@final
@dataclass
class _Interruption:
    """Which signal asked for the end, if any."""

    signal: signal.Signals | None = None


@contextmanager
def _interruption(stop_on: Sequence[signal.Signals], *, enabled: bool) -> Iterator[_Interruption]:
    """Turn the first signal into a wish to stop; Ctrl-C after that interrupts at once.

    Batch systems repeat SIGTERM, and launchers pass on what the process got already: that is no second wish.
    """
    interruption, old = _Interruption(), {}

    def handle(number: int, frame: FrameType | None) -> None:
        if interruption.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        interruption.signal = interruption.signal or signal.Signals(number)

    if enabled and threading.current_thread() is threading.main_thread():  # Python allows handlers only there
        old = {number: signal.signal(number, handle) for number in {signal.SIGINT, signal.SIGTERM, *stop_on}}
    try:
        yield interruption
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _stopped(training: Training, recorder: Recorder, clock: Clock, interruption: _Interruption, saved: int) -> Status:
    if saved != training.step_number:
        recorder.checkpoint(training, clock)
    name = interruption.signal.name if interruption.signal else "a request"
    name += " (Ctrl-C)" if interruption.signal is signal.SIGINT else ""
    return Status(Outcome.STOPPED, f"{name} ended the run after step {training.step_number} of {training.total_steps}")


def _diverged(training: Training, recorder: Recorder, clock: Clock, error: DivergedError) -> Status:
    recorder.checkpoint(training, clock)
    return Status(Outcome.DIVERGED, f"{error}; the state before that step is kept")
