"""`pinnx evaluate` and `pinnx export`: the values of a solution, for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pinnx.cli.arguments import Commands

FORMATS = ("vtu", "xdmf", "h5", "csv")


def add(commands: Commands) -> None:
    """Add the commands."""
    evaluate = commands.add_parser(
        "evaluate",
        help="evaluate the solution of a run at points",
        description="Evaluate the solution of a run at the points of a CSV, NPY, HDF5 or VTU file.",
        epilog="example:\n  pinnx evaluate runs/heat --points probes.csv --output values.csv",
    )
    evaluate.add_argument("directory", metavar="RUN", type=Path, help="the run directory")
    evaluate.add_argument(
        "--points", metavar="FILE", type=Path, required=True, help="one row per point, one column per coordinate"
    )
    evaluate.add_argument(
        "--output", metavar="FILE", type=Path, help="where to write; by default into the run directory"
    )
    evaluate.set_defaults(run=_evaluate)
    export = commands.add_parser(
        "export",
        help="write the solution for other programs",
        description="Write the solution of a run, on a grid or a two-dimensional slice, for ParaView and others.",
        epilog="example:\n  pinnx export runs/heat --to vtu",
    )
    export.add_argument("directory", metavar="RUN", type=Path, help="the run directory")
    export.add_argument("--to", metavar="FORMAT", choices=FORMATS, required=True, help=", ".join(FORMATS))
    export.add_argument("--output", metavar="FILE", type=Path, help="where to write; by default into the run directory")
    export.set_defaults(run=_export)


def _evaluate(arguments: argparse.Namespace) -> int:
    from pinnx.run import evaluate

    print(evaluate(arguments.directory, arguments.points, arguments.output))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from pinnx.run import export

    print(export(arguments.directory, arguments.to, arguments.output))
    return 0
