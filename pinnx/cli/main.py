"""The entry point: which commands there are, and what becomes of errors."""

from __future__ import annotations

import importlib.metadata
import io
import os
import sys
import traceback
from collections.abc import Sequence

import pinnx
from pinnx.cli import catalog, check, cite, data, points, runs, solve, status, submit, sweep
from pinnx.cli.arguments import Parser
from pinnx.errors import InputErrors, PinnxError
from pinnx.registry import user_mistake

_EPILOG = """\
examples:
  pinnx list equations                          what can be solved
  pinnx show allen-cahn                         an equation, its parameters and references
  pinnx check my_case.toml                      everything short of training
  pinnx solve my_case.toml --set solver.steps=2000
  pinnx report runs/my_case                     figures and one HTML page
  pinnx compare runs/a runs/b
  pinnx sweep my_case.toml --grid network.width=32,64 --seeds 5
  pinnx submit my_case.toml --time 2:00:00      as a batch job of Slurm
  pinnx data make my_case.toml --count 256      solved instances of a family
  pinnx status                                  how runs and sweeps stand

exit codes:
  0  done
  2  the input is wrong: the message says where, and what was expected
  3  stopped before the end; `pinnx resume RUN` goes on
  4  the computation diverged or failed; the message says what to do
"""

_BUG = """\
pinnx: this is a bug in pinnx, not a mistake of yours. Please report it, with the lines above, the case file and
pinnx: `pinnx --version`, to the issue tracker of pinnx ({tracker})."""


def parser() -> Parser:
    """The parser of the whole command line."""
    top = Parser(
        prog="pinnx",
        description="Solve high-dimensional partial differential equations with neural networks.",
        epilog=_EPILOG,
    )
    top.add_argument("--version", action="store_true", help="print the versions of pinnx, Python and PyTorch, and exit")
    top.set_defaults(run=None)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for module in (solve, check, catalog, runs, points, data, sweep, submit, status, cite):
        module.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `pinnx`; by default those of the process.

    Returns:
        The exit code: 0 done, 2 the input is wrong, 3 stopped and resumable, 4 diverged or failed; 1 for a bug in
        pinnx, 130 when interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Δ shows a question mark instead of failing
    try:
        return _run(argv)
    except PinnxError as error:
        return _fail(error)
    except KeyboardInterrupt:
        print("pinnx: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Exception as error:
        return _unexpected(error)


def _run(argv: Sequence[str] | None) -> int:
    top = parser()
    try:
        arguments = top.parse_args(argv)
    except SystemExit as end:  # --help
        return int(end.code or 0)
    if arguments.version:
        print(_versions())
        return 0
    if arguments.run is None:
        top.print_help(sys.stderr)
        return 2
    code = arguments.run(arguments)
    sys.stdout.flush()
    return code


def _fail(error: PinnxError) -> int:
    if isinstance(error, InputErrors) and len(error.errors) > 1:
        print(f"pinnx: error: {len(error.errors)} mistakes", file=sys.stderr)
        for each in error.errors:
            print(f"  {each}", file=sys.stderr)
    else:
        print(f"pinnx: error: {error}", file=sys.stderr)
    return error.exit_code


def _unexpected(error: Exception) -> int:
    """An error that is no PinnxError: the user's own code, the machine, or a bug of ours."""
    mistake = user_mistake(error)
    if mistake is not None:
        return _fail(mistake)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        reason = str(error).partition("\n")[0].partition(". ")[0]
        advice = "lower solver.points or network.width, or use a device with more memory"
        print(f"pinnx: error: out of memory ({reason or 'no details'}); {advice}", file=sys.stderr)
        return 4
    if isinstance(error, OSError) and error.filename is not None:
        print(f"pinnx: error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    traceback.print_exception(error)
    print(_BUG.format(tracker=_tracker()), file=sys.stderr)
    return 1


def _versions() -> str:
    """Versions from the packages' metadata: nothing is imported."""
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        torch = "not installed"
    return f"pinnx {pinnx.__version__}, Python {sys.version.split()[0]}, PyTorch {torch}"


def _tracker() -> str:
    try:
        urls = importlib.metadata.metadata("pinnx").get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        urls = []
    found = [url.partition(",")[2].strip() for url in urls if url.lower().startswith(("issues", "bug"))]
    return found[0] if found else "see CONTRIBUTING.md"
