"""`pinnx report` and `pinnx compare`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pinnx.cli.arguments import Commands


def add(commands: Commands) -> None:
    """Add the commands."""
    report = commands.add_parser(
        "report",
        help="make the figures and the HTML page of a run",
        description="Make the figures (PNG, PDF) and one self-contained HTML page of a run, finished or not.",
        epilog="example:\n  pinnx report runs/allen_cahn_100d",
    )
    report.add_argument("directory", metavar="RUN", type=Path, help="the run directory")
    report.set_defaults(run=_report)
    compare = commands.add_parser(
        "compare",
        help="compare runs in a table",
        description="Print a table of the errors, costs and differing options of several runs.",
        epilog="example:\n  pinnx compare runs/adam runs/soap runs/lbfgs",
    )
    compare.add_argument("directories", metavar="RUN", type=Path, nargs="+", help="the run directories")
    compare.set_defaults(run=_compare)


def _report(arguments: argparse.Namespace) -> int:
    from pinnx.run import report

    print(report(arguments.directory))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from pinnx.run import compare

    print(compare(arguments.directories))
    return 0
