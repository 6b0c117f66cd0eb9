"""How a computation ended: each failure is a value with a sentence that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final


class Outcome(StrEnum):
    """The ways a run can end; the value is what `result.json` holds."""

    DONE = "done"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"


_EXIT_CODES = {Outcome.DONE: 0, Outcome.STOPPED: 3, Outcome.DIVERGED: 4, Outcome.FAILED: 4}


@final
@dataclass(frozen=True)
class Status:
    """The end of a run.

    Attributes:
        outcome: how it ended.
        message: one sentence: what happened and, unless it is done, what to do about it.
    """

    outcome: Outcome
    message: str

    @property
    def exit_code(self) -> int:
        """What the command line returns: 0 done, 3 stopped and resumable, 4 diverged or failed."""
        return _EXIT_CODES[self.outcome]

    @property
    def ok(self) -> bool:
        """Whether the run went to its end."""
        return self.outcome is Outcome.DONE
