"""Where a run or a member of a sweep stands, from its files alone: no torch."""

from __future__ import annotations

import socket
import time
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, final

from pinnx.errors import InputError
from pinnx.hpc.sweep import Member
from pinnx.run.directory import RunDirectory
from pinnx.run.files import read_json
from pinnx.run.locks import is_locked
from pinnx.run.metrics import SECONDS, STEP, read_metrics
from pinnx.run.result import Result

#: A run on another machine whose metrics are younger than this is taken to go on, if its lock cannot be seen from here.
FRESH_SECONDS = 60.0


class State(StrEnum):
    """The states of a run; the value is what people read."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"
    DONE = "done"
    DIVERGED = "diverged"
    FAILED = "failed"

    @property
    def missing(self) -> bool:
        """Whether there is something left to do that may succeed."""
        return self in (State.WAITING, State.STOPPED)

    @property
    def bad(self) -> bool:
        """Whether it ended without a result, so that running it again as it is would end alike."""
        return self in (State.DIVERGED, State.FAILED)


@final
@dataclass(frozen=True)
class Progress:
    """What the files of a run tell.

    Attributes:
        state: where it stands.
        reason: why, of one that did not end well.
        step: steps done; None before the first row of metrics.
        total: steps asked for, where known.
        loss: of the last row.
        error: relative L2, of the last row that has one.
        seconds: time spent in steps.
        age: seconds since the metrics were written.
        job: number of the batch job that it ran in last.
    """

    state: State
    reason: str = ""
    step: int | None = None
    total: int | None = None
    loss: float | None = None
    error: float | None = None
    seconds: float | None = None
    age: float | None = None
    job: str | None = None

    @property
    def left(self) -> float | None:
        """Seconds that the steps will still take, at the speed so far."""
        if not self.step or not self.total or self.seconds is None:
            return None
        return (self.total - self.step) * self.seconds / self.step


def state_of(member: Member) -> tuple[State, str]:
    """Where a member of a sweep stands, and why; cheaper than `progress_of`."""
    return (State.RUNNING, "") if is_locked(member.claim) else state_at_rest(member)


def state_at_rest(member: Member) -> tuple[State, str]:
    """Where a member stands that no other process runs."""
    try:
        result = member.run.read_result()
    except InputError as error:
        return State.STOPPED, str(error)
    outcome = _outcome(member)
    if result is not None and result.total_steps:
        state = State(result.status.outcome.value)
        # an error after the last result, such as a full disk, is news; one before it is not
        if state is State.DONE or not outcome or outcome.get("status") == state.value:
            return state, "" if state is State.DONE else result.status.message
    if outcome:
        return State(outcome["status"]), str(outcome["message"])
    return (State.STOPPED, "its process was killed") if member.run.holds_run else (State.WAITING, "")


def progress_of(run: RunDirectory, member: Member | None = None) -> Progress:
    """What the files of a run tell, whether it goes on, has ended or was killed.

    Raises:
        InputError: a file is damaged.
    """
    result, row, age = run.read_result(), _last_row(run), _age(run)
    sessions = _sessions(run)
    if member is not None:
        state, reason = state_of(member)
    elif run.is_locked:
        state, reason = State.RUNNING, ""
    elif failure := _failure(run):
        state, reason = State.FAILED, failure
    elif result is not None:
        state = State(result.status.outcome.value)
        reason = "" if state is State.DONE else result.status.message
    else:
        state, reason = State.STOPPED, "its process was killed"
    total = result.total_steps if result and result.total_steps else _asked(run)
    if state is State.STOPPED and _elsewhere(sessions) and age is not None and age < FRESH_SECONDS:
        state, reason = State.RUNNING, ""
    ended = result if result and state is not State.RUNNING else None
    return Progress(
        state=state,
        reason=reason,
        step=ended.steps if ended else row.get("step"),
        total=total,
        loss=ended.loss if ended else row.get("loss"),
        error=ended.errors.get("relative_l2") if ended and ended.errors else row.get("error"),
        seconds=ended.seconds if ended else row.get("seconds"),
        age=age,
        job=next((found for session in reversed(sessions) if (found := _job(session))), None),
    )


def result_of(member: Member) -> Result | None:
    """The result of a member that is done, else None."""
    return member.run.read_result() if state_of(member)[0] is State.DONE else None


def _outcome(member: Member) -> dict[str, Any]:
    return read_json(member.outcome) if member.outcome.is_file() else {}


def _last_row(run: RunDirectory) -> dict[str, Any]:
    if not run.metrics.is_file():
        return {}
    metrics = read_metrics(run.metrics)
    if not len(metrics[STEP]):
        return {}
    errors = metrics.get("relative_l2")
    measured = [] if errors is None else errors[errors == errors]
    return {
        "step": int(metrics[STEP][-1]),
        "loss": float(metrics["loss"][-1]) if "loss" in metrics else None,
        "error": float(measured[-1]) if len(measured) else None,
        "seconds": float(metrics[SECONDS][-1]) if SECONDS in metrics else None,
    }


def _age(run: RunDirectory) -> float | None:
    try:
        return max(0.0, time.time() - run.metrics.stat().st_mtime)
    except OSError:
        return None


def _failure(run: RunDirectory) -> str:
    """What the end of the log says of an error; empty if the run did not end by one."""
    try:
        last = run.log.read_text(encoding="utf-8").rstrip().rpartition("\n")[2]
    except (OSError, UnicodeDecodeError):
        return ""
    _, mark, reason = last.partition(f" {State.FAILED.value}: ")
    return reason if mark else ""


def _asked(run: RunDirectory) -> int | None:
    """The number of steps that the case of a run asks for."""
    try:
        steps = tomllib.loads(run.case.read_text(encoding="utf-8")).get("solver", {}).get("steps")
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None
    return steps if isinstance(steps, int) else None


def _sessions(run: RunDirectory) -> list[dict[str, Any]]:
    return read_json(run.environment).get("sessions", []) if run.environment.is_file() else []


def _job(session: dict[str, Any]) -> str | None:
    slurm = session.get("slurm") or {}
    if "SLURM_ARRAY_JOB_ID" in slurm and "SLURM_ARRAY_TASK_ID" in slurm:
        return f"{slurm['SLURM_ARRAY_JOB_ID']}_{slurm['SLURM_ARRAY_TASK_ID']}"
    return slurm.get("SLURM_JOB_ID")


def _elsewhere(sessions: list[dict[str, Any]]) -> bool:
    return bool(sessions) and sessions[-1].get("host") != socket.gethostname()


def short(path: Path) -> str:
    """A path as short as it can be shown from the current folder."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
