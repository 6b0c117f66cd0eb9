"""From dataclasses back to tables: the inverse of `pinnx.case.decode`, every default written out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from pinnx import registry
from pinnx.case.decode import options_of
from pinnx.errors import InputError


def encode(value: Any, *, folder: Path | None = None, key: str = "") -> Any:
    """A value as TOML could hold it: members of families become tables with "kind" or "name", None becomes "none".

    Args:
        value: a dataclass of options, or a value of one of its fields.
        folder: equations of users are named by paths relative to this folder, if their files lie in it.
        key: dotted key of the value, for messages.

    Raises:
        InputError: a value that a case file cannot hold, such as a function.
    """
    if value is None:
        return "none"
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return value.as_posix()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        member = registry.identify(type(value), folder)
        name = {registry.selector(member[0]): member[1]} if member else {}
        prefix = f"{key}." if key else ""
        fields = [field.name for field in options_of(type(value))]
        return name | {each: encode(getattr(value, each), folder=folder, key=prefix + each) for each in fields}
    if isinstance(value, Mapping):
        return {str(name): encode(item, folder=folder, key=f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item, folder=folder, key=f"{key}[{index}]") for index, item in enumerate(value)]
    raise InputError(f"a case file cannot hold {value!r}, of type {type(value).__name__}", key=key or None)
