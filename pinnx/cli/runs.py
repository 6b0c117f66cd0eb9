"""`pinnx report` and `pinnx compare`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pinnx.errors import InputError

if TYPE_CHECKING:
    from pinnx.cli.arguments import Commands

FORMATS = ("text", "csv", "markdown", "html")


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
        help="compare runs, or the members of a sweep",
        description="Print a table of the errors, costs and differing options of several runs; or what a sweep came "
        "to: mean, spread and best over the seeds of each setting, and which members failed and why.",
        epilog="examples:\n  pinnx compare runs/adam runs/soap runs/lbfgs\n  pinnx compare runs/my_case-sweep\n"
        "  pinnx compare runs/my_case-sweep --to html",
    )
    compare.add_argument(
        "directories", metavar="RUN|SWEEP", type=Path, nargs="+", help="run directories, or one sweep's directory"
    )
    compare.add_argument("--to", metavar="FORMAT", choices=FORMATS, help=f"of a sweep: {', '.join(FORMATS)}")
    compare.add_argument("--output", metavar="FILE", type=Path, help="where to write; html: into the sweep's directory")
    compare.add_argument("--members", action="store_true", help="one line for each member of a sweep")
    compare.add_argument("--plots", action="store_true", help="draw figures into the sweep's directory")
    compare.set_defaults(run=_compare)


def _report(arguments: argparse.Namespace) -> int:
    from pinnx.run import report

    print(report(arguments.directory))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from pinnx.hpc.sweep import is_sweep

    if any(is_sweep(directory) for directory in arguments.directories):
        return _compare_sweep(arguments)
    if arguments.to or arguments.output or arguments.members or arguments.plots:
        raise InputError(
            "these flags are for a sweep, and none is named here", key="--to, --output, --members, --plots"
        )
    from pinnx.run import compare

    print(compare(arguments.directories))
    return 0


def _compare_sweep(arguments: argparse.Namespace) -> int:
    from pinnx.hpc import tables
    from pinnx.hpc.comparing import compare_sweep
    from pinnx.hpc.sweep import read_sweep
    from pinnx.run.files import write_text

    if len(arguments.directories) > 1:
        raise InputError("a sweep is compared in itself: name it alone", key="SWEEP")
    form, target = arguments.to or "text", arguments.output
    comparison, images = compare_sweep(read_sweep(arguments.directories[0])), {}
    if arguments.plots or form == "html":
        from pinnx.hpc.pictures import draw_comparison  # matplotlib is slow to import

        images = draw_comparison(comparison, comparison.path / "plots")
    if form == "html":
        content, target = tables.html_page(comparison, images), target or comparison.path / "comparison.html"
    else:
        content = tables.FORMATS[form](comparison, members=arguments.members) + "\n"
    if target is None:
        print(content, end="")
    else:
        write_text(target, content)
        print(target)
    return 0
