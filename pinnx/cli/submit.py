"""`pinnx submit`: cases and sweeps as batch jobs."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pinnx.cli.sweep import add_plan, has_plan, make, members_from, require_sound, show_tally
from pinnx.errors import InputError

if TYPE_CHECKING:
    from pinnx.cli.arguments import Commands
    from pinnx.hpc.script import Job
    from pinnx.hpc.sweep import Sweep

_EPILOG = """\
examples:
  pinnx submit my_case.toml --time 2:00:00 --requeue
  pinnx submit a.toml b.toml c.toml --time 30 --dry-run          show the script, write nothing
  pinnx submit my_case.toml --grid network.width=32,64 --seeds 5 --at-once 20
  pinnx submit runs/my_case-sweep --time 1:00:00                 what is missing of a sweep
  pinnx submit my_case.toml --nodes 2 --gpus-per-node 4          on eight GPUs together
  pinnx submit a.toml b.toml --local 2                           the same list on this machine
"""


def add(commands: Commands) -> None:
    """Add the command."""
    submit = commands.add_parser(
        "submit",
        help="submit cases or a sweep to Slurm",
        description="Write a batch script for cases or a sweep, submit it with sbatch and print the number of the job. "
        "Several members become one job array.",
        epilog=_EPILOG,
    )
    submit.add_argument("cases", metavar="CASE|SWEEP", type=Path, nargs="*", help="case files, or a sweep's directory")
    add_plan(submit)
    submit.add_argument(
        "--output", metavar="DIR", type=Path, help="the job's directory; default: jobs/CASE, runs/CASE-sweep"
    )
    submit.add_argument("--name", help="name of the job; default: that of its directory")
    submit.add_argument(
        "--time", default="", help="limit of each member: 30 (minutes), 2:00:00, 1-12:00:00; default: the site's"
    )
    for flag, text in (
        ("--nodes", "machines for each member; default: 1"),
        ("--gpus-per-node", "GPUs on each, with a process for each of them; default: the site's"),
        ("--tasks-per-node", "processes on each that share a member's points; default: one a GPU"),
        ("--cpus-per-task", "processor cores of a process; default: the site's"),
        ("--at-once", "members that may run at the same time; default: all"),
        ("--local", "submit nothing: run N members at a time on this machine"),
    ):
        submit.add_argument(flag, metavar="N", type=_count, default=1 if flag == "--nodes" else 0, help=text)
    submit.add_argument("--partition", default="", help="instead of the site's")
    submit.add_argument("--account", default="", help="instead of the site's")
    submit.add_argument(
        "--signal", default="", help="signal that says that the time is up, and when; default: the site's, or USR1@120"
    )
    submit.add_argument("--requeue", action="store_true", help="queue again what ran out of time or was preempted")
    submit.add_argument("--site", metavar="FILE", type=Path, help="profile of the cluster (TOML)")
    submit.add_argument("--template", metavar="FILE", type=Path, help="template of the script")
    submit.add_argument("--show-template", action="store_true", help="print pinnx's own template, to be changed")
    submit.add_argument("--retry", action="store_true", help="run members again that diverged or failed")
    submit.add_argument("--figures", action="store_true", help="draw figures and write a report for each member")
    submit.add_argument("--dry-run", action="store_true", help="print the script and write nothing")
    submit.set_defaults(run=_submit)


def _count(text: str) -> int:
    """A number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, found {text!r}")
    return int(text)


def _submit(arguments: argparse.Namespace) -> int:
    from pinnx.hpc.script import script, template_text
    from pinnx.hpc.site import read_site

    if arguments.show_template:
        print(template_text(), end="")
        return 0
    if not arguments.cases:
        raise InputError("expected case files or the directory of a sweep (see pinnx submit --help)", key="CASE")
    site, directory = read_site(arguments.site), _directory(arguments)
    if arguments.dry_run:
        print(script(_job(arguments, directory, *_numbers_before(arguments)), site, arguments.template), end="")
        return 0
    script(
        _job(arguments, directory, (0,), 1), site, arguments.template
    )  # its mistakes come before anything is written
    sweep = _prepare(arguments, directory)
    if arguments.local:
        return _run_here(arguments, sweep)
    numbers = _missing(sweep, retry=arguments.retry)
    if not numbers:
        print(f"nothing to do: all {len(sweep.members)} members have ended or run (see pinnx status {sweep.path})")
        return 0
    from pinnx.hpc.slurm import submit

    number = submit(
        script(_job(arguments, directory, numbers, len(sweep.members)), site, arguments.template), sweep.batch
    )
    print(f"job {number}: {len(numbers)} of {len(sweep.members)} members\nwatch it: pinnx status {sweep.path}")
    return 0


def _directory(arguments: argparse.Namespace) -> Path:
    """The directory of the sweep, or of the collection of cases."""
    first = arguments.cases[0]
    folders = [case for case in arguments.cases if case.is_dir()]
    if folders:
        if len(arguments.cases) > 1 or has_plan(arguments) or arguments.set or arguments.output:
            raise InputError("a sweep is submitted alone and as it is", file=folders[0])
        return first
    if has_plan(arguments):
        if len(arguments.cases) > 1:
            raise InputError(f"a sweep is of one case, found {len(arguments.cases)}")
        return arguments.output or Path("runs") / f"{first.stem}-sweep"
    more = f"-and-{len(arguments.cases) - 1}-more" if len(arguments.cases) > 1 else ""
    return arguments.output or Path("jobs") / f"{first.stem}{more}"


def _prepare(arguments: argparse.Namespace, directory: Path) -> Sweep:
    from pinnx.hpc.sweep import make_collection, read_sweep

    if arguments.cases[0].is_dir():
        return read_sweep(directory)
    if has_plan(arguments):
        arguments.case = arguments.cases[0]
        return make(arguments, directory)
    for case in arguments.cases:
        require_sound(case, arguments.set, [{}])
    return make_collection(directory, arguments.cases, arguments.set)


def _numbers_before(arguments: argparse.Namespace) -> tuple[tuple[int, ...], int]:
    """The members that would be submitted, and how many there are, of a directory that may not be there yet."""
    from pinnx.hpc.sweep import read_sweep

    first = arguments.cases[0]
    if first.is_dir():
        sweep = read_sweep(first)
        return _missing(sweep, retry=arguments.retry) or (0,), len(sweep.members)
    if has_plan(arguments):
        count = len(members_from(arguments, first))
        return tuple(range(count)), count
    from pinnx.case import override, read_document

    for case in arguments.cases:
        override(read_document(case), arguments.set)
    return tuple(range(len(arguments.cases))), len(arguments.cases)


def _missing(sweep: Sweep, *, retry: bool) -> tuple[int, ...]:
    from pinnx.hpc.local import tally

    states = tally(sweep).states
    due = (states[member.name].missing or (retry and states[member.name].bad) for member in sweep.members)
    return tuple(number for number, wanted in enumerate(due) if wanted)


def _job(arguments: argparse.Namespace, directory: Path, numbers: tuple[int, ...], total: int) -> Job:
    from pinnx.hpc.script import Job

    name = arguments.name or re.sub(r"[^\w.+-]", "_", directory.absolute().name)
    same = ("time", "nodes", "gpus_per_node", "tasks_per_node", "cpus_per_task", "at_once", "requeue", "signal")
    same += ("retry", "figures", "partition", "account")
    values = {key: getattr(arguments, key) for key in same}
    return Job(name, directory, numbers, array=total > 1, **values)


def _run_here(arguments: argparse.Namespace, sweep: Sweep) -> int:
    from pinnx.hpc.local import run_locally

    tally = run_locally(sweep, arguments.local, retry=arguments.retry, figures=arguments.figures)
    show_tally(tally, sweep, quiet=False)
    return tally.exit_code
