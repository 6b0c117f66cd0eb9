"""`pinnx solve` and `pinnx resume`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pinnx.cli.arguments import add_case, add_manner, case_from, manner_from

if TYPE_CHECKING:  # importing them for real would import torch
    from pinnx.cli.arguments import Commands
    from pinnx.run import Result

_SOLVE = """\
examples:
  pinnx solve cases/allen_cahn_100d.toml
  pinnx solve my_case.toml --set equation.dimension=1000 --set network.width=64
  pinnx solve my_case.toml --output runs/second --device cuda:1
  pinnx solve my_case.toml --resume             go on where a run of this case stopped
"""


def add(commands: Commands) -> None:
    """Add the commands."""
    solve = commands.add_parser(
        "solve",
        help="solve a case",
        description="Solve the problem that a case file states, and write a run directory.",
        epilog=_SOLVE,
    )
    add_case(solve)
    solve.add_argument("--output", metavar="DIR", type=Path, help="the run directory, instead of the case's")
    solve.add_argument(
        "--resume", action="store_true", help="go on, if the run directory holds a stopped run of this case"
    )
    add_manner(solve)
    solve.set_defaults(run=_solve)
    resume = commands.add_parser(
        "resume",
        help="go on with a stopped run",
        description="Go on with a stopped run from its last checkpoint, as if it had never stopped.",
        epilog="example:\n  pinnx resume runs/allen_cahn_100d",
    )
    resume.add_argument("directory", metavar="RUN", type=Path, help="the run directory")
    add_manner(resume)
    resume.set_defaults(run=_resume)


def _solve(arguments: argparse.Namespace) -> int:
    case = case_from(arguments)
    from pinnx.hpc.execution import execute

    result = execute(case, case.run_directory, resume=arguments.resume, manner=manner_from(arguments))
    return _finish(result, arguments.quiet)


def _resume(arguments: argparse.Namespace) -> int:
    from pinnx.hpc.execution import resume

    return _finish(resume(arguments.directory, manner=manner_from(arguments)), arguments.quiet)


def _finish(result: Result, quiet: bool) -> int:
    status = result.status
    if not status.message:  # of a rank other than 0, which leaves the talking to that one
        return status.exit_code
    if not status.ok:
        print(f"pinnx: {status.outcome.value}: {status.message}", file=sys.stderr)
    elif not quiet:
        print(f"{status.message}\nrun directory: {result.directory}")
    return status.exit_code
