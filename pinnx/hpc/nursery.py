"""A process that imports PyTorch once and then forks one process for each member of a sweep that it is told to run.

Reads lines of JSON, `{"run": "0003"}` or `{"signal": "SIGTERM"}`; answers with `{"ended": "0003", "status": 0}`, the
status minus the signal for a member that was killed. When its input ends, because whoever started it has gone, it stops
the members gently and ends with the last of them.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import torch

from pinnx import registry
from pinnx.errors import PinnxError
from pinnx.hpc.members import run_member
from pinnx.hpc.sweep import Member, Sweep, read_sweep
from pinnx.run.files import make_folder
from pinnx.run.locks import LockedError
from pinnx.run.running import Manner

#: Exit status of a member that another process runs.
ELSEWHERE = 75


@final
class Nursery:
    """Starts members and waits for them.

    Args:
        sweep: whose members they are.
        manner: how they are run.
        retry: try those again that diverged or failed.
    """

    def __init__(self, sweep: Sweep, manner: Manner, *, retry: bool):
        self.sweep, self.manner, self.retry = sweep, manner, retry
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, tuple[str, int]] = {}
        self._rest = b""

    def serve(self) -> None:
        """Do as the lines of standard input say, until it ends and all members have."""
        self._selector.register(0, selectors.EVENT_READ)
        listening = True
        while listening or self._children:
            for key, _ in self._selector.select():
                if key.fd != 0:
                    self._reap(key.fd)
                elif not self._hear():
                    listening = False
                    self._selector.unregister(0)
                    self._signal(signal.SIGTERM)

    def _hear(self) -> bool:
        """Take what there is to be read; False at the end of the input."""
        content = os.read(0, 1 << 16)
        *lines, self._rest = (self._rest + content).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if "signal" in order:
                self._signal(signal.Signals[order["signal"]])
            else:
                self._start(self.sweep.member(order["run"]))
        return bool(content)

    def _start(self, member: Member) -> None:
        # the end of the child closes its end of the pipe, however it comes about
        watched, held = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(watched)
            self._live(member)
        os.close(held)
        self._children[watched] = (member.name, child)
        self._selector.register(watched, selectors.EVENT_READ)

    def _live(self, member: Member) -> None:
        """The child's whole life."""
        code = 1
        try:
            make_folder(member.folder)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            output = os.open(member.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(output, 1)
            os.dup2(output, 2)
            code = run_member(member, self.manner, retry=self.retry)
        except LockedError:
            code = ELSEWHERE
        except PinnxError as error:
            print(f"pinnx: error: {error}")
            code = error.exit_code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self, watched: int) -> None:
        name, child = self._children.pop(watched)
        self._selector.unregister(watched)
        os.close(watched)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        try:
            print(json.dumps({"ended": name, "status": status}), flush=True)
        except BrokenPipeError:  # nobody listens any more
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def _signal(self, number: signal.Signals) -> None:
        for _, child in self._children.values():
            os.kill(child, number)


def main(options: Mapping[str, Any]) -> None:
    """Serve until the input ends.

    Args:
        options: "sweep", "threads" of each member, "figures", "retry" and "stop_on", names of signals.
    """
    torch.set_num_threads(options["threads"])
    registry.resolve("solvers", "pinn")
    signals = tuple(signal.Signals[name] for name in options["stop_on"])
    manner = Manner(quiet=True, figures=options["figures"], stop_on=signals)
    sweep = read_sweep(Path(options["sweep"]))
    print(json.dumps({"ready": True}), flush=True)
    Nursery(sweep, manner, retry=options["retry"]).serve()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
