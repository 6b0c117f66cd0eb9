"""Running a case on one process or on several: the command line need not know which."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from pinnx import run
from pinnx.case import Case
from pinnx.errors import PinnxError
from pinnx.hpc.ranks import Ranks, current_ranks
from pinnx.run import Manner, Result, RunDirectory
from pinnx.status import Outcome, Status


def execute(case: Case, directory: Path | str, *, resume: bool = False, manner: Manner) -> Result:
    """Solve a case, as `pinnx.run.execute`; where a launcher has started several processes, on all of them together.

    Returns:
        The result; on other ranks than 0, which write nothing, only its status tells something.

    Raises:
        InputError: as `pinnx.run.execute`, and where the case cannot be split over processes.
        RankError: another process failed; the message is that process's own.
    """
    ranks = current_ranks()
    if ranks is None:
        return run.execute(case, directory, resume=resume, manner=manner)
    # rank 0 is the first on its machine, and the run directory shall not be tied to that machine's GPU
    return _together(
        ranks,
        manner,
        lambda ours: run.execute(case, directory, resume=resume, manner=ours),
        lambda: _placed(case, ranks),
    )


def resume(directory: Path | str, *, manner: Manner) -> Result:
    """Go on with a run, as `pinnx.run.resume`; on several processes if a launcher has started them."""
    ranks = current_ranks()
    if ranks is None:
        return run.resume(directory, manner=manner)
    return _together(
        ranks,
        manner,
        lambda ours: run.resume(directory, manner=ours),
        lambda: _placed(RunDirectory(directory).read_case(), ranks),
    )


def _together(ranks: Ranks, manner: Manner, lead: Callable[[Manner], Result], case: Callable[[], Case]) -> Result:
    from pinnx.hpc.parallel import Leader, follow, joined

    with joined(ranks) as split:
        if not ranks.leads:
            try:
                return Result(follow(case(), split, manner))
            except PinnxError as error:
                if split.meeting.leave(str(error)):
                    return Result(Status(Outcome.FAILED, ""))  # rank 0 says it
                raise
        return lead(dataclasses.replace(manner, prepare=lambda training: Leader(manner.prepare(training), split)))


def _placed(case: Case, ranks: Ranks) -> Case:
    """The case on the GPU of this rank, if it may use one."""
    if case.device not in ("auto", "cuda"):
        return case
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return dataclasses.replace(case, device=f"cuda:{ranks.local % count}") if count else case
