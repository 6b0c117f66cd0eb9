"""Running one member of a sweep: once, whoever else tries, and with a note of how it ended."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from typing import Any

from pinnx.case import case_of
from pinnx.errors import PinnxError
from pinnx.hpc.execution import execute
from pinnx.hpc.ranks import current_ranks
from pinnx.hpc.states import State, state_at_rest
from pinnx.hpc.sweep import Member, note
from pinnx.registry import user_mistake
from pinnx.run.environment import process_name
from pinnx.run.files import make_folder, read_json, write_json
from pinnx.run.locks import lock
from pinnx.run.running import Manner

_EXIT_CODES = {State.DONE: 0, State.STOPPED: 3, State.DIVERGED: 4, State.FAILED: 4}


def run_member(member: Member, manner: Manner, *, retry: bool = False) -> int:
    """Run a member from where it stands; one that has ended is left alone.

    Args:
        member: the member.
        manner: how it is run.
        retry: try one again that diverged or failed.

    Returns:
        The exit code: 0 done, 2 its case is wrong, 3 stopped and resumable, 4 diverged or failed, 1 a bug.

    Raises:
        LockedError: another process runs it.
    """
    ranks = current_ranks()
    if ranks is not None and not ranks.leads:
        return execute(case_of(member.document()), member.run.path, resume=True, manner=manner).exit_code
    make_folder(member.folder)
    with lock(member.claim, "is running this member"):
        state, _ = state_at_rest(member)
        if state is State.DONE or (state.bad and not retry):
            return _EXIT_CODES[state]
        note(member, f"start {process_name()}")
        state, message, code = _attempt(member, manner)
        attempts = read_json(member.outcome).get("attempts", 0) if member.outcome.is_file() else 0
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        content: dict[str, Any] = {"status": state.value, "message": message, "exit_code": code, "ended": ended}
        write_json(member.outcome, {**content, "attempts": attempts + 1})
        note(member, f"{state.value} {process_name()}: {message}")
        return code


def _attempt(member: Member, manner: Manner) -> tuple[State, str, int]:
    try:
        result = execute(case_of(member.document()), member.run.path, resume=True, manner=manner)
        return State(result.status.outcome.value), result.status.message, result.exit_code
    except KeyboardInterrupt:
        return State.STOPPED, "interrupted before its first step", 3
    except PinnxError as error:
        print(f"pinnx: error: {error}")
        return State.FAILED, str(error), error.exit_code
    except Exception as error:
        traceback.print_exception(error)
        mistake = user_mistake(error)
        message = str(mistake) if mistake else f"{type(error).__name__}: {error}".partition("\n")[0]
        return State.FAILED, f"{message} (more in {member.output.name})", 2 if mistake else 1
