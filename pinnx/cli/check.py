"""`pinnx check`: everything short of training."""

from __future__ import annotations

import argparse
import importlib.resources
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pinnx.cli.arguments import add_case, case_from
from pinnx.errors import InputError

if TYPE_CHECKING:
    from pinnx.cli.arguments import Commands

_EPILOG = """\
examples:
  pinnx check my_case.toml
  pinnx check my_case.toml --set equation.dimension=100000
  pinnx check my_case.toml --estimators         compare all ways to get derivatives
  pinnx check my_case.toml --json > check.json
  pinnx check --schema > case.schema.json       for editors that complete and check TOML
"""


def add(commands: Commands) -> None:
    """Add the command."""
    check = commands.add_parser(
        "check",
        help="check a case without solving it",
        description="Read a case, build it and do a few steps; print the parameters, memory and time of a step, "
        "and how noisy and expensive the estimators of derivatives are.",
        epilog=_EPILOG,
    )
    add_case(check, nargs="?")
    check.add_argument("--schema", action="store_true", help="print the JSON schema of case files instead")
    check.add_argument(
        "--estimators", action="store_true", help="measure every estimator of derivatives, with all figures"
    )
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_check)


def schema_text() -> str:
    """The JSON schema of case files, as it ships with the package."""
    return (importlib.resources.files("pinnx") / "case" / "schema.json").read_text(encoding="utf-8")


def _check(arguments: argparse.Namespace) -> int:
    if arguments.schema:
        print(schema_text(), end="")
        return 0
    if arguments.case is None:
        raise InputError("expected a case file or --schema (see pinnx check --help)", key="CASE")
    case = case_from(arguments)
    from pinnx.run import check

    table = check(case, "every") if arguments.estimators else check(case)
    if arguments.json:
        print(json.dumps(table, indent=2, ensure_ascii=False))
        return 0
    diagnostics = table.pop("diagnostics", None)
    print(f"{arguments.case}: {case.heading}")
    print("\n".join(figures(table)))
    if diagnostics is not None:
        from pinnx.cli.estimators import show

        show(diagnostics, every=arguments.estimators)
    return 0


def figures(table: Mapping[str, Any]) -> list[str]:
    """One aligned line per figure; lists of sentences become one line each."""
    width = max((len(_label(name)) for name in table), default=0)
    lines = []
    for name, value in table.items():
        items = value if isinstance(value, list | tuple) else [value]
        lines += [f"  {_label(name):<{width}}  {_figure(name, item)}" for item in items]
    return lines


def _label(name: str) -> str:
    return name.removesuffix("_bytes").replace("seconds", "time").replace("_", " ")


def _figure(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if name.endswith("_bytes"):
        return f"{value / 2**20:.1f} MiB"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return f"{value:.3g} s" if "seconds" in name else f"{value:.4g}"
    return str(value)
