"""How processes of one job exchange numbers, hear of one another's mistakes, and part."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor

from pinnx.errors import PinnxError
from pinnx.hpc.ranks import Ranks


class RankError(PinnxError):
    """Another process of the job failed; the message says which one, and what it said."""

    exit_code = 4


class Departure(Exception):
    """Rank 0 has ended the training, or a process has failed: no step follows."""


@final
class Meeting:
    """The exchanges of one process with all others.

    A process may leave between any two exchanges, by taking part in the one that the others do next. Where that is a
    sum of always the same size, the last number of the sum says whether one leaves; where exchanges differ, a sum of
    one number comes before each.

    Args:
        ranks: this process among the others, with which it has joined.

    Attributes:
        seconds: spent in waiting for others and exchanging numbers.
        calls: number of exchanges.
        begun: whether the processes have met.
        over: whether no exchange may follow.
        heard: whether that is because a process said that it leaves.
        announces: whether exchanges differ; set before the first one, alike everywhere.
        blank: zeros, as many as each sum has where exchanges do not differ; the last one is spare.
    """

    def __init__(self, ranks: Ranks):
        self.ranks = ranks
        self.seconds, self.calls = 0.0, 0
        self.begun = self.over = self.heard = self.announces = False
        self.blank = torch.zeros(1)
        self._on_gpu = False

    def begin(self, state: dict[str, Any] | None = None, error: str = "", gpu: str | None = None) -> bytes:
        """Meet the others before the first step: hand over the state of rank 0, or hear that somebody cannot start.

        Args:
            state: of the training, on rank 0.
            error: why this process cannot start; "-" if there is nothing to do.
            gpu: what tells this process's GPU from those of others, if it has one.

        Returns:
            The state of rank 0, as `torch.save` writes it.

        Raises:
            RankError: another process cannot start.
            Departure: there is nothing to do.
        """
        self.begun = True
        heard: list[Any] = [None] * self.ranks.count
        with self._exchange():
            dist.all_gather_object(heard, (error, gpu))
            self._hear([message for message, _ in heard])
            gpus = [each for _, each in heard]
            # NCCL wants a GPU for each process; where they share one, numbers go through the processors' memory
            self._on_gpu = None not in gpus and len(set(gpus)) == len(gpus)
            memory = io.BytesIO()
            torch.save(state, memory)
            sent = [memory.getvalue() if self.ranks.leads else b""]
            dist.broadcast_object_list(sent)
        return sent[0]

    def leave(self, error: str = "") -> bool:
        """End it for all, from outside of an exchange: the others learn it at their next one, or never if all is over.

        Returns:
            Whether the others have heard the error.
        """
        if self.over:
            return False
        error = error or "-"
        try:
            if not self.begun:
                self.begin(error=error)
            elif self.announces:
                with self._exchange():
                    self._announce(error)
            else:
                blank = self.blank.clone()
                blank[-1] = 1.0
                with self._exchange():
                    self._summed(blank, error)
        except Departure:
            return True
        except RankError:
            return self.heard
        return False

    def sum(self, values: Tensor) -> Tensor:
        """The sums over all processes of some numbers, the last of which is spare.

        Raises:
            RankError: another process has failed.
            Departure: another process has ended it.
        """
        values[-1] = 0.0
        with self._exchange():
            if self.announces:
                self._announce()
            return self._summed(values)

    def deal(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """From this process's rows of a matrix to its columns, all rows: (n, c) -> (sum of `counts`, c′).

        Args:
            rows: (n, c), with the same c everywhere.
            counts: rows of each process.
        """
        cuts = [self.share(rows.shape[1], rank) for rank in range(self.ranks.count)]
        mine = cuts[self.ranks.rank]
        width = mine.stop - mine.start
        sent = torch.cat([rows[:, cut].reshape(-1) for cut in cuts])
        sent = sent if self._on_gpu else sent.cpu()
        taken = sent.new_empty(sum(counts) * width)
        with self._exchange():
            if self.announces:
                self._announce()
            sizes = [len(rows) * (cut.stop - cut.start) for cut in cuts]
            dist.all_to_all_single(taken, sent, [count * width for count in counts], sizes)
        return taken.view(sum(counts), width).to(rows.device)

    def share(self, count: int, rank: int | None = None) -> slice:
        """Which of some things belong to a process, by default to this one."""
        rank, ranks = self.ranks.rank if rank is None else rank, self.ranks.count
        return slice(count * rank // ranks, count * (rank + 1) // ranks)

    def _announce(self, error: str = "") -> None:
        # in the processors' memory: a GPU need not wait for it
        leaving = torch.tensor([float(bool(error))])
        dist.all_reduce(leaving)
        if leaving[0] > 0:
            self._gather(error)

    def _summed(self, values: Tensor, error: str = "") -> Tensor:
        sent = values if self._on_gpu else values.cpu()
        dist.all_reduce(sent)
        if not self.announces and sent[-1] > 0:
            self._gather(error)
        return sent.to(values.device)

    def _gather(self, error: str) -> None:
        heard: list[Any] = [None] * self.ranks.count
        dist.all_gather_object(heard, error)
        self._hear(heard)

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
