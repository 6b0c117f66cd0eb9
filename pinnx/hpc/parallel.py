"""Training on several processes: rank 0 leads, the others follow, all do every step together."""

from __future__ import annotations

import io
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

import torch
import torch.distributed as dist

from pinnx.case import torch_device
from pinnx.errors import DivergedError, PinnxError, UnsupportedError
from pinnx.hpc.meeting import Departure, RankError
from pinnx.hpc.rank_split import Divisible, RankSplit
from pinnx.hpc.ranks import Ranks
from pinnx.run.running import Manner
from pinnx.solvers.base import Training
from pinnx.solvers.diagnostics import Diagnostics, Which
from pinnx.solvers.errors import Errors
from pinnx.solvers.solution import Answer
from pinnx.status import Outcome, Status

if TYPE_CHECKING:
    from pinnx.case import Case

#: Steps after which rank 0 sends its parameters: processors that round differently would drift apart otherwise.
ALIGN_EVERY = 50


@final
class Leader(Training):
    """The training of rank 0, whose steps all processes do together.

    Args:
        training: the whole one.
        split: what shares it out.
    """

    def __init__(self, training: Training, split: RankSplit):
        self.inner, self.split = split.adopt(training), split
        self.notes = (*training.notes, split.note)
        self.total_steps, self.evaluate_every = training.total_steps, training.evaluate_every
        self.parameters = training.parameters

    @property
    def step_number(self) -> int:  # type: ignore[override]
        """Steps done."""
        return self.inner.step_number

    @property
    def network_evaluations(self) -> int:  # type: ignore[override]
        """Evaluations of the network so far, by all processes."""
        return self.inner.network_evaluations

    def step(self) -> dict[str, float]:
        if not self.split.meeting.begun:
            self.split.begin(self.inner, self.inner.state_dict())
        return _step(self.inner, self.split)

    def evaluate(self) -> Errors | None:
        return self.inner.evaluate()

    def baselines(self) -> dict[str, Errors | None]:
        return self.inner.baselines()

    def diagnose(self, which: Which = "own", seconds: float = 0.5) -> Diagnostics | None:
        return self.inner.diagnose(which, seconds)

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.inner.load_state_dict(state)

    def solution(self) -> Answer:
        return self.inner.solution()


def follow(case: Case, split: RankSplit, manner: Manner) -> Status:
    """Do the steps of a rank other than 0: as many as rank 0 does, and nothing else.

    Args:
        case: the case, on this rank's device.
        split: this rank's share.
        manner: whose signals are left to rank 0.

    Returns:
        How it ended; the message is that of this rank if it failed itself, and empty otherwise.
    """
    inner = split.adopt(case.start(torch_device(case.device)))
    with _deaf(manner):
        try:
            state = split.begin(inner)
            inner.load_state_dict(torch.load(io.BytesIO(state), map_location="cpu", weights_only=True))
            while inner.step_number < inner.total_steps:
                _step(inner, split)
        except Departure:
            return Status(Outcome.STOPPED, "")
        except RankError as error:
            return Status(Outcome.FAILED, "" if split.meeting.heard else str(error))
        except DivergedError:  # rank 0 meets the same, and says so
            return Status(Outcome.DIVERGED, "")
    return Status(Outcome.DONE, "")


@contextmanager
def joined(ranks: Ranks) -> Iterator[RankSplit]:
    """Meet the other processes of the job; part at the end, and if this one fails, tell the others why."""
    where = "env://" if ranks.launcher == "torchrun" else f"tcp://{ranks.address}:{ranks.port}"
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        dist.init_process_group(backend, init_method=where, rank=ranks.rank, world_size=ranks.count)
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise PinnxError(
            f"rank {ranks.rank} of {ranks.count} cannot meet the others at {ranks.address}:{ranks.port} ({reason})"
        ) from None
    split = RankSplit(ranks)
    try:
        yield split
        split.meeting.leave()
    except BaseException as error:
        split.meeting.leave(str(error) or type(error).__name__)
        raise
    finally:
        dist.destroy_process_group()


def _step(training: Divisible, split: RankSplit) -> dict[str, float]:
    """A step that all processes do."""
    meeting, calls = split.meeting, split.meeting.calls
    try:
        row = training.step()
    except DivergedError:  # seen in the sums, and so by all
        meeting.over = True
        raise
    if meeting.calls == calls:
        meeting.over = True  # all processes did the whole step, and see the same
        raise UnsupportedError("this optimizer does not go through the loss's gradient and cannot be split; use adam")
    if training.step_number % ALIGN_EVERY == 0:
        split.align(training.trainable)
    meeting.over = training.step_number == training.total_steps
    return row


@contextmanager
def _deaf(manner: Manner) -> Iterator[None]:
    """Ignore the signals that rank 0 answers: it ends the training for all, after a step."""
    old = {}
    if threading.current_thread() is threading.main_thread():
        numbers = {signal.SIGINT, signal.SIGTERM, *manner.stop_on}
        old = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
