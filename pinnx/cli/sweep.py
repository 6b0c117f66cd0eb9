"""`pinnx sweep`: one case with many settings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pinnx.cli.arguments import add_set, add_stop_on, manner_from, signals_from
from pinnx.errors import InputError, InputErrors

if TYPE_CHECKING:
    from pinnx.cli.arguments import Commands
    from pinnx.hpc.local import Tally
    from pinnx.hpc.plan import Settings
    from pinnx.hpc.sweep import Sweep

_EPILOG = """\
examples:
  pinnx sweep my_case.toml --grid network.width=32,64,128 --seeds 5
  pinnx sweep my_case.toml --grid solver.derivatives.sigma=1e-3,1e-2 --local 4
  pinnx sweep my_case.toml --random solver.optimizer.learning_rate=log:1e-4:1e-2 --samples 20
  pinnx sweep my_case.toml --zip network.width=32,64 --zip network.depth=6,3
  pinnx sweep runs/my_case-sweep                go on with what is missing
"""
#: Mistakes in members that are shown; the others are alike.
_SHOWN = 5


def add(commands: Commands) -> None:
    """Add the command."""
    sweep = commands.add_parser(
        "sweep",
        help="solve a case with many settings",
        description="Solve a case with many settings, a few at a time. The same command again, or the sweep's "
        "directory in the place of the case, goes on with what is missing.",
        epilog=_EPILOG,
    )
    sweep.add_argument("case", metavar="CASE|SWEEP", type=Path, help="the case file, or the directory of a sweep")
    add_plan(sweep)
    sweep.add_argument("--output", metavar="DIR", type=Path, help="the sweep's directory; default: runs/CASE-sweep")
    sweep.add_argument("--local", metavar="N", type=int, default=1, help="members that run at a time; default: 1")
    sweep.add_argument("--member", metavar="NAME", help="run this member of a sweep only, such as 0003 or 3")
    sweep.add_argument("--retry", action="store_true", help="try members again that diverged or failed")
    sweep.add_argument("--figures", action="store_true", help="draw figures and write a report for each member")
    sweep.add_argument("--prepare", action="store_true", help="write the sweep's directory and run nothing")
    sweep.add_argument("--dry-run", action="store_true", help="list the members and write nothing")
    add_stop_on(sweep)
    sweep.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    sweep.set_defaults(run=_sweep)


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which members there are."""
    for flag, word, text in (
        ("--grid", "KEY=A,B", "values of an option; several of these flags give all combinations"),
        ("--zip", "KEY=A,B", "values of an option that go with those of other --zip flags, one by one"),
        ("--random", "KEY=LAW", "draw an option: log:LOW:HIGH, uniform:LOW:HIGH, int:LOW:HIGH or choice:A:B"),
    ):
        parser.add_argument(flag, metavar=word, action="append", default=[], help=text)
    parser.add_argument("--samples", metavar="N", type=int, default=10, help="number of draws; default: 10")
    parser.add_argument("--seeds", metavar="N|A,B", help="so many seeds, beginning with the case's; or these")
    add_set(parser, "solver.steps=2000, for all members")


def has_plan(arguments: argparse.Namespace) -> bool:
    """Whether one of the flags of `add_plan` that make members is there."""
    return bool(arguments.grid or arguments.zip or arguments.random or arguments.seeds is not None)


def members_from(arguments: argparse.Namespace, case: Path) -> list[Settings]:
    """The settings of the members, as the flags of `add_plan` say; each fits into the case's tables."""
    from pinnx.case import override, read_document
    from pinnx.hpc.plan import plan

    document = override(read_document(case), arguments.set)
    seed = document.values.get("seed", 20931)
    members = plan(
        grid=arguments.grid,
        zipped=arguments.zip,
        drawn=arguments.random,
        samples=arguments.samples,
        seeds=arguments.seeds,
        first_seed=seed if isinstance(seed, int) else 20931,
    )
    for own in members:
        override(document, [f"{key}={value}" for key, value in own.items()], "a member's setting")
    return members


def require_sound(case: Path, settings: list[str], members: list[Settings]) -> None:
    """Read the case with the settings of each member; imports torch.

    Raises:
        InputErrors: some of them are mistakes.
    """
    from pinnx.case import case_of, override, read_document

    document, errors = override(read_document(case), settings), {}
    for own in members:
        try:
            case_of(override(document, [f"{key}={value}" for key, value in own.items()], "member"))
        except InputErrors as several:
            errors |= {str(error): error for error in several.errors}
        except InputError as error:
            errors[str(error)] = error
    if errors:
        raise InputErrors(list(errors.values())[:_SHOWN])


def make(arguments: argparse.Namespace, directory: Path) -> Sweep:
    """Write the sweep that the arguments describe, after a look at every member."""
    from pinnx.hpc.sweep import make_sweep

    members = members_from(arguments, arguments.case)
    require_sound(arguments.case, arguments.set, members)
    return make_sweep(directory, arguments.case, arguments.set, members)


def show_tally(tally: Tally, sweep: Sweep, *, quiet: bool) -> None:
    """Print how a sweep stands and what to do next."""
    alike: dict[tuple[str, str], list[str]] = {}
    for name, reason in tally.reasons.items():
        if tally.states[name].bad:
            alike.setdefault((tally.states[name].value, reason), []).append(name)
    for (state, reason), names in alike.items():
        print(f"pinnx: {state}: {', '.join(sorted(names))}: {reason}", file=sys.stderr)
    if not quiet:
        again = f"; go on with `pinnx sweep {sweep.path}`" if tally.exit_code == 3 else ""
        print(f"{tally.sentence()}{again}\nsweep directory: {sweep.path}")


def _sweep(arguments: argparse.Namespace) -> int:
    from pinnx.hpc.sweep import counted, is_sweep, read_sweep

    signals = signals_from(arguments.stop_on)
    if arguments.local < 1:
        raise InputError(f"expected at least 1, got {arguments.local}", key="--local")
    directory = arguments.output or Path("runs") / f"{arguments.case.stem}-sweep"
    existing = arguments.case.is_dir() or is_sweep(arguments.case)
    if existing and (has_plan(arguments) or arguments.set or arguments.output):
        raise InputError(
            "is a directory: its members are known, and no flag may change them; name the case file to add some",
            file=arguments.case,
        )
    if arguments.dry_run:
        known = [member.own for member in read_sweep(arguments.case).members] if existing else None
        return _list(known or members_from(arguments, arguments.case))
    if arguments.member is not None:
        if not existing:
            raise InputError("needs the directory of a sweep in the place of the case", key="--member")
        return _one(arguments)
    sweep = read_sweep(arguments.case) if existing else make(arguments, directory)
    if arguments.prepare:
        print(f"{counted(len(sweep.members))}\nsweep directory: {sweep.path}")
        return 0
    from pinnx.hpc.local import run_locally

    say = (lambda sentence: None) if arguments.quiet else (lambda sentence: print(sentence, flush=True))
    tally = run_locally(
        sweep, arguments.local, retry=arguments.retry, figures=arguments.figures, stop_on=signals, say=say
    )
    show_tally(tally, sweep, quiet=arguments.quiet)
    return tally.exit_code


def _list(members: Sequence[Settings]) -> int:
    from pinnx.hpc.sweep import counted

    for number, own in enumerate(members):
        print("  ".join([f"{number:04}", *(f"{key}={value}" for key, value in own.items())]))
    print(counted(len(members)))
    return 0


def _one(arguments: argparse.Namespace) -> int:
    from pinnx.hpc.members import run_member
    from pinnx.hpc.sweep import read_sweep

    member = read_sweep(arguments.case).member(arguments.member)
    arguments.no_figures = not arguments.figures
    return run_member(member, manner_from(arguments), retry=arguments.retry)
