"""`pinnx data`: files of solved instances."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pinnx.cli.arguments import add_quiet, add_set
from pinnx.errors import InputError

if TYPE_CHECKING:
    from pinnx.cli.arguments import Commands
    from pinnx.family import FamilyData

_EPILOG = """\
examples:
  pinnx data make my_case.toml --count 256
  pinnx data make my_case.toml --output held_out.h5 --seed 7
  pinnx data show held_out.h5
"""


def add(commands: Commands) -> None:
    """Add the command."""
    data = commands.add_parser(
        "data",
        help="solve the instances of a family and keep them in a file",
        description="make: solve random instances of the equation of a case by a classical method and write them to an "
        "HDF5 file; repeat the command to go on where it was interrupted, or to add some. show: what a file holds.",
        epilog=_EPILOG,
    )
    data.add_argument("action", metavar="ACTION", choices=["make", "show"], help="make or show")
    data.add_argument("subject", metavar="CASE|FILE", type=Path, help="the case to make a file of; the file to show")
    data.add_argument("--count", metavar="N", type=int, default=None, help="number of instances (64)")
    data.add_argument(
        "--seed", metavar="SEED", type=int, help="of the instances; by default that of the case's held-out ones"
    )
    data.add_argument("--output", metavar="FILE", type=Path, help="the file (data/<case>.h5)")
    add_set(data, "equation.nodes=257")
    add_quiet(data)
    data.set_defaults(run=_data)


def _data(arguments: argparse.Namespace) -> int:
    return _make(arguments) if arguments.action == "make" else _show(arguments)


def _make(arguments: argparse.Namespace) -> int:
    from pinnx.case import load_case
    from pinnx.family import HELD_OUT
    from pinnx.run.making import make_data
    from pinnx.run.running import use_threads

    if arguments.seed is not None and arguments.seed < 0:
        raise InputError(f"must be at least 0, got {arguments.seed}", key="--seed")
    case = load_case(arguments.subject, arguments.set)
    if case.equation is None:
        raise InputError("the case has no equation, and so no instances", file=arguments.subject)
    path = arguments.output or Path("data") / f"{case.name}.h5"
    seed = case.seed + HELD_OUT if arguments.seed is None else arguments.seed
    count = 64 if arguments.count is None else arguments.count
    with use_threads(case.threads):
        make_data(case.equation, path, count, seed, _quiet if arguments.quiet else _say)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    for name in ("count", "seed", "output"):
        if getattr(arguments, name) is not None:
            raise InputError("is for `pinnx data make`", key=f"--{name}")
    if arguments.set:
        raise InputError("is for `pinnx data make`", key="--set")
    from pinnx.family import open_data

    data = open_data(arguments.subject)
    lowest, highest = _ranges(data)
    rows = {
        "equation": data.identity["equation"],
        **{name: value for name, value in data.identity.items() if name != "equation"},
        "instances": f"{len(data)}, numbered from 0 with the seed {data.seed}",
        "parameters of each": data.parameters.shape[1],
        **{f"axis {label}": f"{len(nodes)} nodes, {nodes[0]:g} … {nodes[-1]:g}" for label, nodes in data.axes.items()},
        **{f"unknown {name}": f"{lowest[i]:.4g} … {highest[i]:.4g}" for i, name in enumerate(data.unknowns)},
        "size": f"{arguments.subject.stat().st_size / 2**20:.1f} MiB",
    }
    width = max(map(len, rows))
    print(arguments.subject)
    print("\n".join(f"  {name:<{width}}  {value}" for name, value in rows.items()))
    return 0


def _ranges(data: FamilyData) -> tuple[list[float], list[float]]:
    """The smallest and largest value of each unknown; all solutions are read for it, so damage is found."""
    lows, highs = [], []
    for row in range(len(data)):
        flat = data.solutions([row])[0].flatten(1)
        lows.append(flat.min(1).values)
        highs.append(flat.max(1).values)
    return [float(min(each)) for each in zip(*lows, strict=True)], [
        float(max(each)) for each in zip(*highs, strict=True)
    ]


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _quiet(sentence: str) -> None:
    pass
