"""Options of equations, networks, solvers: dataclass fields that carry their documentation and their limits.

The case-file reader, the schema and the reference page all read these fields, so none of them can drift from the code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


def at_least(bound: float) -> Callable[[Any], str | None]:
    """A limit: the value must be at least `bound`."""
    return lambda value: None if value >= bound else f"must be at least {bound}"


def positive(value: Any) -> str | None:
    """A limit: the value must be greater than zero."""
    return None if value > 0 else "must be greater than 0"


def between(low: float, high: float) -> Callable[[Any], str | None]:
    """A limit: the value must lie in [low, high]."""
    return lambda value: None if low <= value <= high else f"must lie between {low} and {high}"


def one_of(*names: str) -> Callable[[Any], str | None]:
    """A limit: the value must be one of `names`."""
    return lambda value: None if value in names else f"must be one of {', '.join(map(repr, names))}"


def option(default: Any, doc: str, *limits: Callable[[Any], str | None]) -> Any:
    """A dataclass field with a default, a sentence of documentation and limits.

    Args:
        default: the default value; pass a callable to build a mutable or lazy default (`default_factory`).
        doc: what the option means, with its unit.
        limits: functions that return None for a good value, else what is wrong with it ("must be …").
    """
    metadata = {"doc": doc, "limits": limits}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def broken_limits(value: Any, field: dataclasses.Field[Any]) -> list[str]:
    """The sentences of the limits of `field` that `value` breaks; None values break none."""
    if value is None:
        return []
    return [sentence for limit in field.metadata.get("limits", ()) if (sentence := limit(value))]


def check_limits(options: Any) -> None:
    """Raise ValueError for the first field of a dataclass that breaks a limit; to be called in `__post_init__`."""
    for field in dataclasses.fields(options):
        for sentence in broken_limits(getattr(options, field.name), field):
            raise ValueError(f"{field.name} {sentence}, got {getattr(options, field.name)!r}")
