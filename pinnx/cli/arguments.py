"""What the commands share: a parser whose mistakes are errors of pinnx, and the flags that change a case."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, final

from pinnx.errors import InputError, did_you_mean

if TYPE_CHECKING:  # importing it for real would import torch
    from pinnx.case import Case
    from pinnx.run import Manner

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


@final
class Parser(argparse.ArgumentParser):
    """A parser that raises InputError where argparse would print its usage and exit."""

    def __init__(self, **options: Any):
        options = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter} | options
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        """Raise InputError with the message of argparse and the way to the help."""
        raise InputError(f"{message} (see {self.prog} --help)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(
                action, f"no such choice: {value!r}; {did_you_mean(str(value), action.choices)}"
            )


def add_case(parser: argparse.ArgumentParser, **options: Any) -> None:
    """Add the argument CASE and the flags that change it."""
    parser.add_argument("case", metavar="CASE", type=Path, help="the case file (TOML)", **options)
    add_set(parser, "solver.steps=2000")
    parser.add_argument("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:1, … instead of the case's")


def add_set(parser: argparse.ArgumentParser, example: str) -> None:
    """Add the flag --set."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help=f"set one option, such as {example}; can be repeated",
    )


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add the flag --quiet."""
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def add_stop_on(parser: argparse.ArgumentParser) -> None:
    """Add the flag --stop-on."""
    parser.add_argument(
        "--stop-on",
        metavar="SIGNAL",
        action="append",
        default=[],
        help="a signal that ends the run at its next step with a checkpoint, besides TERM and INT: USR1",
    )


def add_manner(parser: argparse.ArgumentParser) -> None:
    """Add the flags that change how a run is carried out, and no number of it."""
    add_stop_on(parser)
    parser.add_argument("--no-figures", action="store_true", help="draw no figures and write no report at the end")
    add_quiet(parser)


def signals_from(names: Sequence[str]) -> tuple[signal.Signals, ...]:
    """The signals that --stop-on names.

    Raises:
        InputError: a name is unknown, or that of a signal that no program can answer.
    """
    known = {each.name.removeprefix("SIG"): each for each in signal.Signals}
    for unanswerable in ("KILL", "STOP"):
        known.pop(unanswerable, None)
    found = []
    for name in names:
        plain = name.upper().removeprefix("SIG")
        if plain not in known:
            raise InputError(f"no such signal: {name!r}; {did_you_mean(plain, known)}", key="--stop-on")
        found.append(known[plain])
    return tuple(found)


def manner_from(arguments: argparse.Namespace) -> Manner:
    """How a run is carried out, as the flags of `add_manner` say; imports torch."""
    from pinnx.run import Manner

    stop_on = signals_from(arguments.stop_on)
    return Manner(quiet=arguments.quiet, figures=not arguments.no_figures, stop_on=stop_on)


def case_from(arguments: argparse.Namespace) -> Case:
    """The case that the arguments of `add_case` describe; imports torch."""
    from pinnx.case import case_of, override, read_document

    document = override(read_document(arguments.case), arguments.set)
    for flag, key in (("device", ("device",)), ("output", ("output", "directory"))):
        value = getattr(arguments, flag, None)
        if value is not None:
            document = document.with_value(key, str(value), f"--{flag} {value}")
    return case_of(document)
