"""The JSON schema of case files and its reference page, made from the registry and the options' own documentation.

`python -m pinnx.case.schema --write` writes both; a test fails when they no longer match the code.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pinnx import registry
from pinnx.case.case import Case
from pinnx.case.describe import Option, describe, prose
from pinnx.case.encode import encode
from pinnx.case.words import alternatives, is_union

SCHEMA_FILE = Path(__file__).with_name("schema.json")
PAGE_FILE = Path(__file__).parents[2] / "docs" / "case-file.md"

_SCALARS = {bool: "boolean", int: "integer", float: "number", str: "string", Path: "string"}
_NUMBER = r"(-?[\d.]+(?:e[+-]?\d+)?)"


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12), for editors that complete and check TOML."""
    definitions = {family: _family_schema(family) for family in registry.REGISTRY}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pinnx case file",
        **_table_schema(Case),
        "$defs": definitions,
    }


def schema_json() -> str:
    """The schema as the text of `schema.json`."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def _table_schema(cls: type[Any]) -> dict[str, Any]:
    options = describe(cls)
    required = [option.name for option in options if option.default is dataclasses.MISSING]
    return {
        "type": "object",
        "description": prose(cls),
        "properties": {option.name: _option_schema(option) for option in options},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _family_schema(family: str) -> dict[str, Any]:
    """Any of the members; what other packages register, or the user writes, may hold anything."""
    select = registry.selector(family)
    members: list[dict[str, Any]] = []
    for name, entry in registry.REGISTRY[family].items():
        table = _table_schema(registry.resolve(family, name))
        table["description"] = entry.summary
        table["properties"] = {select: {"const": name}, **table["properties"]}
        table["required"] = [select, *table.get("required", [])]
        members.append({"title": name, **table})
    foreign = {"type": "string", "not": {"enum": list(registry.REGISTRY[family])}}
    members.append({"title": "another", "type": "object", "properties": {select: foreign}, "required": [select]})
    return {"anyOf": members}


def _option_schema(option: Option) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": option.doc} if option.doc else {}
    schema |= _type_schema(option.hint)
    if "type" in schema:
        for sentence in option.limits:
            schema |= _limit_schema(sentence)
    if option.default is not dataclasses.MISSING and not registry.family_of(option.hint):
        schema["default"] = encode(option.default)
    return schema


def _type_schema(hint: Any) -> dict[str, Any]:
    if is_union(hint):
        return {"anyOf": [_type_schema(part) for part in alternatives(hint)]}
    if hint is types.NoneType:
        return {"const": "none"}
    if family := registry.family_of(hint):
        return {"$ref": f"#/$defs/{family}"}
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    if get_origin(hint) in (tuple, list, Sequence):
        return _array_schema(hint)
    if get_origin(hint) in (dict, Mapping):
        return {"type": "object", "additionalProperties": _type_schema((get_args(hint) or (str, Any))[1])}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _named_table_schema(hint)
    return {"type": _SCALARS[hint]} if hint in _SCALARS else {}


def _named_table_schema(cls: type[Any]) -> dict[str, Any]:
    """The table of one class, which may name it where it is a member of a family."""
    table, member = _table_schema(cls), registry.identify(cls)
    if member:
        table["properties"] = {registry.selector(member[0]): {"const": member[1]}, **table["properties"]}
    return table


def _array_schema(hint: Any) -> dict[str, Any]:
    parts = get_args(hint)
    if get_origin(hint) is tuple and parts and Ellipsis not in parts:
        items = [_type_schema(part) for part in parts]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    return {"type": "array", "items": _type_schema(parts[0])} if parts else {"type": "array"}


def _limit_schema(sentence: str) -> dict[str, Any]:
    """What the schema can say of a limit, from its sentence; others stay in the description alone."""
    if match := re.fullmatch(rf"must be at least {_NUMBER}", sentence):
        return {"minimum": json.loads(match[1])}
    if match := re.fullmatch(rf"must be greater than {_NUMBER}", sentence):
        return {"exclusiveMinimum": json.loads(match[1])}
    if match := re.fullmatch(rf"must lie between {_NUMBER} and {_NUMBER}", sentence):
        return {"minimum": json.loads(match[1]), "maximum": json.loads(match[2])}
    if sentence.startswith("must be one of "):
        return {"enum": re.findall(r"'([^']*)'", sentence)}
    return {}


_PAGE = """\
# Case files

<!-- Written by `python -m pinnx.case.schema --write`; change the docstrings and options of the code instead. -->

A case is a [TOML](https://toml.io) file. Only the table `[equation]` is required; what is left out has the default
below. A key that does not exist, a value of the wrong type or out of its limits is an error, reported with its line;
all mistakes are reported at once. `pinnx check CASE` does so without solving, `pinnx check --schema` prints a JSON
schema for editors, and any option can be set on the command line: `pinnx solve CASE --set solver.steps=2000`.

```toml
title = "Allen–Cahn in the 100-dimensional unit ball"
seed = 20931

[equation]
name = "allen-cahn"
dimension = 100

[network]
kind = "mlp"
width = 128

[solver]
kind = "pinn"
steps = 10_000

[solver.optimizer]
kind = "adam"
learning_rate = 1e-3

[output]
directory = "runs/allen_cahn_100d"
```

A number may be written as an integer where a float is meant, not the other way round. Where `"none"` is allowed, it
means that the option is off. A table that names its `kind` starts from the defaults of that kind; one that does not
keeps the kind that is the default there.
"""

_FAMILIES = {
    "equations": (
        "equation",
        "`name` is one of the names below, or an equation of your own: `./my_equation.py:MyEquation` (the path is "
        "relative to the case file) or `package.module:MyEquation`. All other keys are the equation's parameters.",
    ),
    "networks": ("network", "The function that stands for the unknown."),
    "solvers": ("solver", "The method, and when it stops."),
    "derivatives": ("solver.derivatives", "How derivatives of the network are obtained."),
    "optimizers": ("solver.optimizer", "How the parameters move."),
    "schedules": ("solver.optimizer.schedule", "How the learning rate changes over the run."),
    "couplings": (
        "solver.coupling",
        "How the experts of a mixture depend on each other; for the solver `hard-constraint`.",
    ),
    "resampling": ("solver.resampling", "Which collocation points are chosen."),
    "weighting": ("[solver.weighting]", "Weights that change during the training; several tables multiply."),
    "systems": ("solver.system", "Which linear system is solved; for the solver `linear-system`."),
    "directions": ("solver.direction", "The search direction of a linear solve, where none is trained."),
    "direction-networks": ("solver.training.network", "The network of a search direction that is trained."),
    "samples": ("solver.training.samples", "What a search direction is trained on."),
    "loggers": (
        "[output.loggers]",
        "Programs that are shown the metrics of a run, besides the run directory: an array of tables, or in one line "
        '`loggers = [{ kind = "tensorboard" }]`. Each is an extra of pinnx; nothing leaves the machine unless an '
        "option says so.",
    ),
}


def reference_page() -> str:
    """The reference of case files, as Markdown."""
    tables = [option for option in describe(Case) if _is_plain_table(option)]
    blocks = [_PAGE, "## Top level\n", _markdown_table([option for option in describe(Case) if option not in tables])]
    for option in tables:
        blocks += [f"## `[{option.name}]`\n", f"{_sentence(option.doc)}\n", _markdown_table(describe(option.hint))]
    for family, (table, about) in _FAMILIES.items():
        blocks += [f"## `[{table}]` {{ #{family} }}\n", f"{about}\n"]
        select = registry.selector(family)
        for name, entry in registry.REGISTRY[family].items():
            cls = registry.resolve(family, name)
            blocks += [
                f'### `{select} = "{name}"` {{ #{family}-{name} }}\n',
                f"{_escaped(prose(cls) or _sentence(entry.summary))}\n",
            ]
            blocks.append(_markdown_table(describe(cls)))
            for option in describe(cls):
                if (item := _item_class(option)) is not None:
                    heading = f"#### `[[{table}.{option.name}]]` {{ #{family}-{name}-{option.name} }}\n"
                    blocks += [heading, f"{_escaped(prose(item))}\n", _markdown_table(describe(item))]
            blocks += _inner_tables(table, describe(cls))
    return "\n".join(blocks)


def _inner_tables(table: str, options: Sequence[Option]) -> list[str]:
    """The tables inside of a member's own that are no members of a family."""
    blocks: list[str] = []
    for option in options:
        for part in alternatives(option.hint):
            if dataclasses.is_dataclass(part) and isinstance(part, type) and not registry.identify(part):
                blocks += [f"#### `[{table}.{option.name}]`\n", f"{_sentence(option.doc)}\n"]
                blocks.append(_markdown_table(describe(part)))
    return blocks


def _is_plain_table(option: Option) -> bool:
    return dataclasses.is_dataclass(option.hint) and registry.family_of(option.hint) is None


def _item_class(option: Option) -> type[Any] | None:
    """The dataclass of the tables in an array of tables."""
    item = (get_args(option.hint) or (None,))[0]
    plain = isinstance(item, type) and dataclasses.is_dataclass(item) and registry.family_of(item) is None
    return item if plain and get_origin(option.hint) is tuple else None


def _markdown_table(options: Sequence[Option]) -> str:
    if not options:
        return "No options.\n"
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for option in options:
        default = option.default_words.removeprefix("default: ")
        default = default if default in ("required", "its own defaults") else f"`{default}`"
        family = next((found for part in alternatives(option.hint) if (found := registry.family_of(part))), None)
        kind = f"[{option.kind}](#{family})" if family else option.kind
        cells = [f"`{option.name}`", kind, default, _escaped(" ".join(option.sentences))]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Text in which nothing but what stands in backticks has a meaning for Markdown: ∂_t u*v is no emphasis."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([_*[\]])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m pinnx.case.schema", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write both files instead of checking them")
    write = parser.parse_args().write
    stale = []
    for file, text in ((SCHEMA_FILE, schema_json()), (PAGE_FILE, reference_page())):
        if write:
            file.write_text(text, encoding="utf-8")
        elif not file.is_file() or file.read_text(encoding="utf-8") != text:
            stale.append(str(file))
    if stale:
        print(f"out of date: {', '.join(stale)}; run python -m pinnx.case.schema --write", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(_main())
