"""Imports everything once and then forks a process for each run, so that killing twenty of them takes seconds.

Reads lines `SECONDS execute CASE DIRECTORY` or `SECONDS resume DIRECTORY`; kills the process when the seconds are over;
answers with its exit status, minus the signal if it was killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import torch

torch.set_num_threads(1)

from pinnx.case import load_case  # noqa: E402
from pinnx.run import execute, running  # noqa: E402

running.write_figures_and_report = lambda *arguments: None


def run(words: list[str]) -> int:
    """One run, in a process of its own."""
    if words[0] == "execute":
        return execute(load_case(words[1]), words[2], resume=True, quiet=True).exit_code
    return running.resume(words[1], quiet=True).exit_code


def status_of(child: int, kill_after: float) -> int:
    """Wait for a process, and kill it when its time is up; only then is its number free for another."""
    deadline = time.monotonic() + kill_after
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


load_case(sys.stdin.readline().strip()).equation.problem()  # warm up
print("ready", flush=True)
for line in sys.stdin:
    seconds, *words = line.split()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = run(words)
        finally:
            os._exit(code)
    print(status_of(child, float(seconds)), flush=True)
