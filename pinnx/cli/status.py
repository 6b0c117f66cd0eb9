"""`pinnx status`: how runs and sweeps stand."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pinnx.errors import InputError

if TYPE_CHECKING:
    from pinnx.cli.arguments import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    status = commands.add_parser(
        "status",
        help="see how runs and sweeps stand",
        description="Show state, step, loss, error and time left of runs and sweeps, from their files alone, and what "
        "the queue says of their jobs where there is one.",
        epilog="examples:\n  pinnx status                      all in runs/ and jobs/\n"
        "  pinnx status runs/my_case-sweep --watch 10",
    )
    status.add_argument("paths", metavar="SWEEP|RUN", type=Path, nargs="*", help="default: all in runs/ and jobs/")
    status.add_argument("--all", action="store_true", help="tell of all members of a sweep, done and waiting ones too")
    status.add_argument("--watch", metavar="SECONDS", type=float, help="again and again, until Ctrl-C")
    status.set_defaults(run=_status)


def _status(arguments: argparse.Namespace) -> int:
    from pinnx.hpc.watching import Watch

    if arguments.watch is not None and not arguments.watch > 0:
        raise InputError(f"expected a number of seconds greater than 0, got {arguments.watch}", key="--watch")
    watch = Watch(arguments.paths, every=arguments.all)
    print(watch.text())
    while arguments.watch is not None:
        time.sleep(arguments.watch)
        print(f"\n{time.strftime('%H:%M:%S')}\n{watch.text()}", flush=True)
    return 0
