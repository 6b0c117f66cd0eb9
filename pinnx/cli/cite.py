"""`pinnx cite`: what to cite."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pinnx
from pinnx.cli.arguments import add_set

if TYPE_CHECKING:
    from pinnx.cli.arguments import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    cite = commands.add_parser(
        "cite",
        help="what to cite for a case or an equation",
        description="Print what to cite for a case (its equation, network, solver and their parts) or for one name.",
        epilog="examples:\n  pinnx cite cases/allen_cahn_100d.toml\n  pinnx cite hjb-lqg",
    )
    cite.add_argument("subject", metavar="CASE|NAME", help="a case file, or a name from `pinnx list`")
    add_set(cite, "solver.optimizer.kind=soap")
    cite.set_defaults(run=_cite)


def references(options: Any) -> Iterator[str]:
    """The references of options and of all options inside them."""
    yield from getattr(options, "references", ())
    if dataclasses.is_dataclass(options):
        for field in dataclasses.fields(options):
            yield from references(getattr(options, field.name))
    elif isinstance(options, list | tuple):
        for item in options:
            yield from references(item)


def _cite(arguments: argparse.Namespace) -> int:
    found = [
        f"The pinnx authors. pinnx: solving high-dimensional partial differential equations with neural networks, "
        f"version {pinnx.__version__}. Software, Apache-2.0."
    ]
    if arguments.subject.endswith(".toml") or Path(arguments.subject).is_file() and ":" not in arguments.subject:
        from pinnx.case import load_case

        found += references(load_case(arguments.subject, arguments.set))
    else:
        from pinnx.cli.catalog import members

        found += [reference for _, cls in members(arguments.subject) for reference in getattr(cls, "references", ())]
    print("\n".join(dict.fromkeys(found)))
    return 0
