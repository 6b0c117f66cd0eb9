"""Types and values in the words of TOML: integer, number, string, array, table."""

from __future__ import annotations

import dataclasses
import datetime
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pinnx import registry
from pinnx.case.writer import to_toml_value

_SIMPLE = {bool: "true or false", int: "an integer", float: "a number", str: "a string", Path: "a path (a string)"}
_PLURALS = {bool: "booleans", int: "integers", float: "numbers", str: "strings", Path: "paths (strings)"}


def is_union(hint: Any) -> bool:
    """Whether a type is `A | B` or `Optional[A]`."""
    return get_origin(hint) in (Union, types.UnionType)


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The types of a union, None last; a type that is none stands alone."""
    parts = get_args(hint) if is_union(hint) else (hint,)
    return tuple(sorted(parts, key=lambda part: part is types.NoneType))


def expected(hint: Any) -> str:
    """What a value of a type looks like in a case file."""
    if is_union(hint):
        return " or ".join(expected(part) for part in alternatives(hint))
    if hint is types.NoneType:
        return '"none"'
    if get_origin(hint) is Literal:
        return " or ".join(to_toml_value(value) for value in get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " or ".join(to_toml_value(member.value) for member in hint)
    if get_origin(hint) in (tuple, list, Sequence):
        return _expected_array(hint)
    if family := registry.family_of(hint):
        return f'a table with "{registry.selector(family)}"'
    if dataclasses.is_dataclass(hint) or get_origin(hint) in (dict, Mapping) or hint is dict:
        return "a table"
    return _SIMPLE.get(hint, "a value")


def found(value: Any) -> str:
    """What stands in the case file."""
    if isinstance(value, bool):
        return f"the boolean {to_toml_value(value)}"
    if isinstance(value, int):
        return f"the integer {value if abs(value) < 10**20 else f'{str(value)[:20]}…'}"
    if isinstance(value, float):
        return f"the float {value!r}"
    if isinstance(value, str):
        return f"the string {to_toml_value(value if len(value) <= 40 else value[:39] + '…')}"
    if isinstance(value, datetime.date | datetime.time):
        return f"the date or time {value}"
    if isinstance(value, list):
        return f"an array of {len(value)}" if value else "an empty array"
    return "a table"


def _expected_array(hint: Any) -> str:
    parts = get_args(hint)
    if not parts:
        return "an array"
    if get_origin(hint) is tuple and Ellipsis not in parts:
        return f"an array of {len(parts)}: {', '.join(map(expected, parts))}"
    return f"an array of {_PLURALS.get(parts[0]) or ('tables' if 'table' in expected(parts[0]) else 'values')}"
