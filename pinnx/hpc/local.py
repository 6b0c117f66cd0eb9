"""Running what is missing of a sweep on this machine, a few members at a time. Needs no torch in this process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import IO, final

from pinnx.errors import InputError, PinnxError
from pinnx.hpc.states import State, state_of
from pinnx.hpc.sweep import Member, Sweep, note
from pinnx.run.files import make_folder, write_json
from pinnx.run.progress import error_text

#: Exit status of a member that another process runs; `pinnx.hpc.nursery` cannot be imported here: it needs torch.
_ELSEWHERE = 75


@final
@dataclass
class Tally:
    """What became of a sweep.

    Attributes:
        total: members.
        states: state of each member that has one, by its name.
        reasons: why a member did not end well, by its name.
        interrupted: whether the runner was told to stop.
    """

    total: int
    states: dict[str, State] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    def count(self, state: State) -> int:
        """How many members are in a state."""
        return sum(each is state for each in self.states.values())

    @property
    def exit_code(self) -> int:
        """What the command line returns: 0 all done, 3 something is left to do, 4 a member diverged or failed."""
        if self.interrupted or any(state.missing or state is State.RUNNING for state in self.states.values()):
            return 3
        return 4 if any(state.bad for state in self.states.values()) else 0

    def sentence(self) -> str:
        """The counts, such as "3 of 5 done, 1 diverged, 1 waiting"."""
        counts = [f"{self.count(State.DONE)} of {self.total} done"]
        others = (state for state in State if state is not State.DONE and self.count(state))
        return ", ".join([*counts, *(f"{self.count(state)} {state.value}" for state in others)])


def tally(sweep: Sweep) -> Tally:
    """Where all members stand."""
    result = Tally(len(sweep.members))
    for member in sweep.members:
        _look(member, result)
    return result


def run_locally(
    sweep: Sweep,
    at_once: int,
    *,
    retry: bool = False,
    figures: bool = False,
    stop_on: Sequence[signal.Signals] = (),
    say: Callable[[str], None] = print,
) -> Tally:
    """Run the members that are missing; SIGINT or SIGTERM stops them at their next step, to be resumed.

    Args:
        sweep: whose members are run.
        at_once: number of members that run at the same time, each with its share of the processor's cores.
        retry: try those again that diverged or failed.
        figures: draw figures and write a report for each.
        stop_on: further signals that stop.
        say: called with a sentence for each member that ends.

    Raises:
        InputError: this system cannot fork processes.
        PinnxError: the process that starts the members has been killed.
    """
    if not hasattr(os, "fork"):
        raise InputError("running several members needs a system with fork, such as Linux; use WSL on Windows")
    result = tally(sweep)
    left = [member for member in sweep.members if _due(result.states[member.name], retry)]
    if left:
        with _stopping(stop_on) as wishes, _nursery(sweep, at_once, retry, figures, stop_on) as nursery:
            _feed(sweep, left, at_once, nursery, wishes, result, say)
            result.interrupted = wishes.count > 0
    return result


def _due(state: State, retry: bool) -> bool:
    return state.missing or (state.bad and retry)


@final
@dataclass
class _Wishes:
    """How often the runner was told to stop, and whom to pass it on to."""

    count: int = 0
    pass_on: Callable[[str], None] = lambda name: None


def _feed(
    sweep: Sweep,
    left: list[Member],
    at_once: int,
    nursery: subprocess.Popen[bytes],
    wishes: _Wishes,
    result: Tally,
    say: Callable[[str], None],
) -> None:
    """Give the nursery members to run, as others end."""
    orders, answers = nursery.stdin, nursery.stdout
    assert orders is not None
    assert answers is not None
    running, queue, broken = 0, iter(left), False
    wishes.pass_on = lambda name: _send(orders, {"signal": name})
    if wishes.count:
        return
    while True:
        while running < at_once and not wishes.count and (member := next(queue, None)) is not None:
            _send(orders, {"run": member.name})
            running += 1
        if not running:
            break
        line = answers.readline()
        if not line:
            broken = True
            break
        running -= 1
        answer = json.loads(line)
        _ended(sweep.member(answer["ended"]), answer["status"], result, say)
    if broken:
        raise PinnxError("the process that starts the members was killed; the same command goes on with what is left")


def _ended(member: Member, status: int, result: Tally, say: Callable[[str], None]) -> None:
    if status < 0:
        name = signal.Signals(-status).name
        message = f"its process was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        make_folder(member.folder)  # it may have been killed before it could do so itself
        write_json(member.outcome, {"status": State.STOPPED.value, "message": message, "exit_code": status})
        note(member, f"stopped: {message}")
    _look(member, result)
    state = State.RUNNING if status == _ELSEWHERE else result.states[member.name]
    words = [member.name, state.value]
    if state is State.DONE and (found := member.run.read_result()) is not None:
        words += [f"error {error_text(found.errors['relative_l2'])}"] if found.errors else []
    reason = "in another process" if status == _ELSEWHERE else result.reasons.get(member.name, "")
    settings = " ".join(f"{key}={value}" for key, value in member.own.items())
    parts = ["  ".join(words), settings, reason if len(reason) <= 60 else reason[:59] + "…"]
    done = f"[{result.count(State.DONE)}/{result.total}]"
    say("  ".join([done, *filter(None, parts)]))


def _look(member: Member, result: Tally) -> None:
    state, reason = state_of(member)
    result.states[member.name] = state
    result.reasons.pop(member.name, None)
    if reason:
        result.reasons[member.name] = reason


def _send(orders: IO[bytes], order: dict[str, str]) -> None:
    with suppress(BrokenPipeError):  # the end of its answers will tell
        orders.write(json.dumps(order).encode() + b"\n")


@contextmanager
def _nursery(
    sweep: Sweep, at_once: int, retry: bool, figures: bool, stop_on: Sequence[signal.Signals]
) -> Iterator[subprocess.Popen[bytes]]:
    """The process that starts members, in a session of its own: a terminal's Ctrl-C reaches this process only."""
    threads = max(1, _cores() // at_once)
    options = {"sweep": str(sweep.path.absolute()), "threads": threads, "figures": figures, "retry": retry}
    options["stop_on"] = [each.name for each in stop_on]
    command = [sys.executable, "-m", "pinnx.hpc.nursery", json.dumps(options)]
    # Threads of BLAS would be started by importing NumPy, and a process with threads must not fork.
    surroundings = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": str(threads)}
    pipe = subprocess.PIPE
    # unbuffered: a signal may come in the middle of a write, and its handler writes, too
    with subprocess.Popen(
        command, bufsize=0, stdin=pipe, stdout=pipe, env=surroundings, start_new_session=True
    ) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        try:
            nursery.stdout.readline()  # it is ready
            yield nursery
        finally:
            nursery.stdin.close()  # it stops what still runs, waits for it, and ends


@contextmanager
def _stopping(stop_on: Sequence[signal.Signals]) -> Iterator[_Wishes]:
    """Pass the first signal on as SIGTERM, which ends members after their step, and later ones as SIGINT."""
    wishes, old = _Wishes(), {}

    def handle(number: int, frame: FrameType | None) -> None:
        wishes.count += 1
        wishes.pass_on("SIGTERM" if wishes.count == 1 else "SIGINT")

    if threading.current_thread() is threading.main_thread():
        old = {number: signal.signal(number, handle) for number in {signal.SIGINT, signal.SIGTERM, *stop_on}}
    try:
        yield wishes
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
