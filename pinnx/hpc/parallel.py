"""Data-parallel training: the points of each step are split over processes, and gradients are summed.

Every process holds the whole training, draws the same points from the same seed and moves its parameters alike; only
the evaluation of the loss and its gradient is divided. One sum over processes a step carries the gradient, the terms of
the loss, and whether a process is leaving.
"""

from __future__ import annotations

import io
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from pinnx.case import torch_device
from pinnx.errors import DivergedError, InputError, PinnxError, UnsupportedError
from pinnx.expr import Points
from pinnx.hpc.ranks import Ranks
from pinnx.run.running import Manner
from pinnx.solvers.base import Training
from pinnx.solvers.diagnostics import Diagnostics, Which
from pinnx.solvers.errors import Errors
from pinnx.solvers.pinn import PinnTraining
from pinnx.solvers.solution import Solution
from pinnx.solvers.split import Split
from pinnx.status import Outcome, Status

if TYPE_CHECKING:
    from pinnx.case import Case

#: Steps after which rank 0 sends its parameters: processors that round differently would drift apart otherwise.
ALIGN_EVERY = 50


class RankError(PinnxError):
    """Another process of the job failed; the message says which one, and what it said."""

    exit_code = 4


class Departure(Exception):
    """Rank 0 has ended the training, or a process has failed: no step follows."""


@final
class RankSplit(Split):
    """This process's share of each step.

    Args:
        ranks: this process among the others, with which it has joined.

    Attributes:
        seconds: spent in waiting for others and exchanging sums.
        calls: number of exchanges.
        begun: whether the processes have met.
        over: whether no exchange may follow.
        heard: whether that is because a process said that it leaves.
    """

    def __init__(self, ranks: Ranks):
        self.ranks = ranks
        self.seconds, self.calls = 0.0, 0
        self.begun = self.over = self.heard = False
        self._blank = torch.zeros(1)
        self._own_noise: torch.Generator | None = None
        self._per_point = self._on_gpu = False

    # --- beginning and end ----------------------------------------------------------------------------------------

    def begin(self, training: PinnTraining | None, state: dict[str, Any] | None = None, error: str = "") -> bytes:
        """Meet the others before the first step: hand over the state of rank 0, or hear that somebody cannot start.

        Args:
            training: of this process; None if it has none.
            state: of the training, on rank 0.
            error: why this process cannot start; "-" if there is nothing to do.

        Returns:
            The state of rank 0, as `torch.save` writes it.

        Raises:
            RankError: another process cannot start.
            Departure: there is nothing to do.
        """
        self.begun = True
        gpu = _gpu(training.device) if training is not None else None
        heard: list[Any] = [None] * self.ranks.count
        with self._exchange():
            dist.all_gather_object(heard, (error, gpu))
            self._hear([message for message, _ in heard])
            gpus = [each for _, each in heard]
            # NCCL wants a GPU for each process; where they share one, sums go through the processors' memory
            self._on_gpu = None not in gpus and len(set(gpus)) == len(gpus)
            memory = io.BytesIO()
            torch.save(state, memory)
            sent = [memory.getvalue() if self.ranks.leads else b""]
            dist.broadcast_object_list(sent)
        return sent[0]

    def adopt(self, training: Training) -> PinnTraining:
        """Take over the steps of a training.

        Raises:
            UnsupportedError: it cannot be split.
        """
        if not isinstance(training, PinnTraining):
            raise UnsupportedError(
                f"{type(training).__name__} cannot be split over processes; start it on one, or use the solver 'pinn'"
            )
        count, stages = self.ranks.count, getattr(training, "legs", None) or [training.options]
        for stage in stages:
            if getattr(stage.optimizer, "needs", "gradient") == "residuals":
                raise UnsupportedError(
                    f"the optimizer {stage.optimizer.kind!r} works with the residuals of all points at once, which are "
                    "not split over processes yet; use adam, soap or lbfgs, or one process"
                )
        conditions = training.problem.conditions
        smallest = min(min(each.points, each.condition_points) if conditions else each.points for each in stages)
        if smallest < count:
            raise InputError(f"{count} processes cannot share {smallest} points; use more points or fewer processes")
        self._per_point = getattr(training.system.estimator, "noise", "shared") == "per-point"
        parameters = training.trainable
        terms = len(training.loss.names) + len(training.problem.conditions)
        # gradients, terms of the loss, number of processes that leave
        self._blank = parameters[0].new_zeros(sum(p.numel() for p in parameters) + terms + 1, requires_grad=False)
        if training.device.type == "cuda":
            torch.cuda.set_device(training.device)
        training.split = self
        return training

    @property
    def note(self) -> str:
        """A sentence for the user."""
        each = "; each draws samples of its own, unlike a run on one" if self._per_point else ""
        return f"{self.ranks.count} processes ({self.ranks.launcher}) share the points of each step{each}"

    def leave(self, error: str = "") -> bool:
        """End it for all, from outside of a step: the others learn it at their next sum. Does nothing if all is over.

        Returns:
            Whether the others have heard the error.
        """
        if self.over:
            return False
        try:
            if self.begun:
                self._sum(None, error or "-")
            else:
                self.begin(None, error=error or "-")
        except Departure:
            return True
        except RankError:
            return self.heard
        return False

    # --- a step ---------------------------------------------------------------------------------------------------

    def share(self, batch: Sequence[Points]) -> Sequence[Points]:
        return [points.rows(self._rows(len(points))) for points in batch]

    def noise(self, generator: torch.Generator) -> torch.Generator:
        if not self._per_point:
            return generator
        shared = torch.randint(2**62, (), generator=generator, device=generator.device)
        if self._own_noise is None:
            self._own_noise = torch.Generator(generator.device)
        return self._own_noise.manual_seed(int(shared) + self.ranks.rank)

    def weighted(self, terms: dict[str, Tensor], batch: Sequence[Points]) -> dict[str, Tensor]:
        equations = len(terms) - len(batch) + 1
        result = {}
        for index, (name, term) in enumerate(terms.items()):
            count = len(batch[max(0, index - equations + 1)])
            rows = self._rows(count)
            result[name] = term * ((rows.stop - rows.start) / count)
        return result

    def total(self, terms: dict[str, Tensor], parameters: Sequence[Parameter]) -> dict[str, Tensor]:
        flat, place = self._blank.clone(), 0
        for parameter in parameters:
            if parameter.grad is not None:  # the loss does not depend on all of them, on no rank
                flat[place : place + parameter.numel()] = parameter.grad.reshape(-1)
            place += parameter.numel()
        flat[place : place + len(terms)] = torch.stack(list(terms.values()))
        flat, start = self._sum(flat), 0
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.copy_(flat[start : start + parameter.numel()].view_as(parameter))
            start += parameter.numel()
        return dict(zip(terms, flat[place:], strict=False))

    @torch.no_grad()
    def align(self, parameters: Sequence[Parameter]) -> None:
        """Take over the parameters of rank 0."""
        flat = torch.cat([parameter.reshape(-1) for parameter in parameters])
        sent = flat if self._on_gpu else flat.cpu()
        with self._exchange():
            dist.broadcast(sent, src=0)
        for parameter, piece in zip(parameters, sent.to(flat).split([p.numel() for p in parameters]), strict=True):
            parameter.copy_(piece.view_as(parameter))

    def _rows(self, count: int) -> slice:
        rank, ranks = self.ranks.rank, self.ranks.count
        return slice(count * rank // ranks, count * (rank + 1) // ranks)

    def _sum(self, values: Tensor | None, error: str = "") -> Tensor:
        """The sum over all processes; without values this process leaves, and says why."""
        flat = self._blank.clone() if values is None else values
        flat[-1] = values is None
        with self._exchange():
            sent = flat if self._on_gpu else flat.cpu()
            dist.all_reduce(sent)
            if sent[-1] > 0:
                heard: list[Any] = [None] * self.ranks.count
                dist.all_gather_object(heard, error)
                self._hear(heard)
        return sent.to(flat.device)

    def _hear(self, messages: Sequence[str]) -> None:
        """Raise what the messages of all processes come to: an error, "-" of one that leaves in peace, or nothing."""
        failed = [(rank, message) for rank, message in enumerate(messages) if message not in ("", "-")]
        if not failed and "-" not in messages:
            return
        self.over = self.heard = True
        others = [f"rank {rank} of {len(messages)}: {text}" for rank, text in failed if rank != self.ranks.rank]
        if others:
            raise RankError("; ".join(others))
        raise Departure

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        except RuntimeError as error:  # torch's own, of a connection that broke
            self.over = True
            reason = str(error).strip().partition("\n")[0].partition(". ")[0].rpartition("] ")[2]
            raise RankError(f"another process of the job is gone, killed or out of memory ({reason})") from error
        finally:
            self.seconds += time.perf_counter() - start
            self.calls += 1


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
        if not self.split.begun:
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

    def solution(self) -> Solution:
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
            return Status(Outcome.FAILED, "" if split.heard else str(error))
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
        split.leave()
    except BaseException as error:
        split.leave(str(error) or type(error).__name__)
        raise
    finally:
        dist.destroy_process_group()


def _step(training: PinnTraining, split: RankSplit) -> dict[str, float]:
    """A step that all processes do."""
    calls = split.calls
    try:
        row = training.step()
    except DivergedError:  # seen in the sums, and so by all
        split.over = True
        raise
    if split.calls == calls:
        split.over = True  # all processes did the whole step, and see the same
        raise UnsupportedError("this optimizer does not go through the loss's gradient and cannot be split; use adam")
    if training.step_number % ALIGN_EVERY == 0:
        split.align(training.trainable)
    split.over = training.step_number == training.total_steps
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


def _gpu(device: torch.device) -> str | None:
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    return f"{socket.gethostname()} {getattr(properties, 'uuid', device.index)}"
