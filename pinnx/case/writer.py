"""Writing TOML: what `tomllib` reads back as the same values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def to_toml(table: Mapping[str, Any]) -> str:
    """A TOML document of a table of strings, numbers, booleans, arrays and tables.

    Example:
        >>> print(to_toml({"seed": 7301, "network": {"kind": "mlp", "width": 64}}))
        seed = 7301
        <BLANKLINE>
        [network]
        kind = "mlp"
        width = 64
        <BLANKLINE>
    """
    return "\n".join(_lines(table, ())).lstrip("\n") + "\n"


def to_toml_value(value: Any) -> str:
    """A value as it stands to the right of an equals sign."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)  # the shortest text that is read back as the same number; inf and nan are TOML, too
    if isinstance(value, str):
        return f'"{"".join(map(_character, value))}"'
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(key)} = {to_toml_value(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(to_toml_value, value))}]"
    raise TypeError(f"a TOML file cannot hold {value!r}")


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    later = {}
    for key, value in table.items():
        if isinstance(value, Mapping) or _is_table_array(value):
            later[key] = value
        else:
            yield f"{_key(key)} = {to_toml_value(value)}"
    for key, value in later.items():
        place = (*path, key)
        name = ".".join(map(_key, place))
        for item in [value] if isinstance(value, Mapping) else value:
            yield ""
            yield f"[{name}]" if isinstance(value, Mapping) else f"[[{name}]]"
            yield from _lines(item, place)


def _is_table_array(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else to_toml_value(key)


def _character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return f"\\u{ord(character):04X}" if ord(character) < 0x20 or ord(character) == 0x7F else character
