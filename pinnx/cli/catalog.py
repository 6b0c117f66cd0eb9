"""`pinnx list` and `pinnx show`: what there is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pinnx import registry
from pinnx.cli.arguments import add_set
from pinnx.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from pinnx.cli.arguments import Commands


def add(commands: Commands) -> None:
    """Add the commands."""
    catalog = commands.add_parser(
        "list",
        help="list equations, networks, solvers, …",
        description="List what a case file can name, by family.",
        epilog="examples:\n  pinnx list\n  pinnx list equations",
    )
    families = ", ".join(registry.REGISTRY)
    catalog.add_argument("family", metavar="FAMILY", nargs="?", choices=list(registry.REGISTRY), help=families)
    catalog.set_defaults(run=_list)
    show = commands.add_parser(
        "show",
        help="show an equation or another member of a family",
        description="Show an equation as text and in LaTeX, its parameters and references; or the options of anything "
        "else that `pinnx list` names.",
        epilog="examples:\n  pinnx show allen-cahn\n  pinnx show ./my_equation.py:MyEquation --set dimension=5\n"
        "  pinnx show adam",
    )
    show.add_argument("name", metavar="NAME", help="a name from `pinnx list`, or an equation of your own")
    add_set(show, "dimension=5")
    show.set_defaults(run=_show)


def members(name: str) -> list[tuple[str, type[Any]]]:
    """The families and classes that a name stands for; imports torch.

    Raises:
        InputError: it stands for none.
    """
    if ":" in name or name.endswith(".py"):
        return [("equations", registry.resolve("equations", name))]
    found = [(family, registry.resolve(family, name)) for family in registry.families_of(name)]
    if not found:
        known = [each for family in registry.REGISTRY for each in registry.names(family)]
        raise InputError(f"nothing is called {name!r}; {did_you_mean(name, known)} (see pinnx list)")
    return found


def _list(arguments: argparse.Namespace) -> int:
    families = [arguments.family] if arguments.family else list(registry.REGISTRY)
    tables = {family: registry.entries(family) for family in families}
    width = max(len(name) for table in tables.values() for name in table)
    blocks = [
        "\n".join([family, *(f"  {name:<{width}}  {entry.summary}" for name, entry in table.items())])
        for family, table in tables.items()
    ]
    print("\n\n".join(blocks))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    blocks = []
    for family, cls in members(arguments.name):
        blocks.append(_page(arguments.name, family, cls))
        if family == "equations":
            blocks.append(_formulas(arguments.name, arguments.set))
        elif arguments.set:
            raise InputError(f"{arguments.name!r} is no equation: its options are shown, not evaluated", key="--set")
        blocks.append(_options(cls))
        if references := getattr(cls, "references", ()):
            blocks.append("\n".join(["References", *(f"  {each}" for each in references)]))
    print("\n\n".join(blocks))
    return 0


def _page(name: str, family: str, cls: type[Any]) -> str:
    from pinnx.case.describe import prose

    return f"{name} ({family})\n\n{prose(cls)}"


def _formulas(name: str, settings: list[str]) -> str:
    from pinnx.case import case_of, override, parse_document, to_toml

    document = parse_document(to_toml({"equation": {"name": name}}))
    equation = case_of(override(document, [f"equation.{setting}" for setting in settings])).equation
    assert equation is not None  # the document names one
    lines = ["Equation"]
    for residual in equation.residuals():
        lines += [f"  {residual.text()} = 0", f"  LaTeX: {residual.latex()} = 0"]
    return "\n".join(lines)


def _options(cls: type[Any]) -> str:
    from pinnx.case.describe import describe

    options = describe(cls)
    if not options:
        return "Options: none"
    width = max(len(option.name) for option in options)
    lines = ["Options"]
    for option in options:
        lines.append(f"  {option.name:<{width}}  {option.kind}; {option.default_words}")
        lines += [f"  {'':<{width}}  {sentence}" for sentence in option.sentences]
    return "\n".join(lines)
