"""A case file as values and places: what was read, and where each value came from."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from pinnx.case.lines import Key, line_map
from pinnx.errors import InputError

_AT_LINE = re.compile(r"\(at line (\d+), column (\d+)\)")
_FLAG_KEY = re.compile(r"[\w-]+(?:\.[\w-]+|\[\d+\])*")


@final
@dataclass(frozen=True)
class Document:
    """The tables of a case file after the flags of the command line were put into it.

    Attributes:
        values: the tables, as `tomllib` reads them.
        file: the case file, if there is one.
        lines: the line of every key.
        flags: the flag that set a key, such as "--set solver.steps=many".
    """

    values: dict[str, Any]
    file: Path | None = None
    lines: dict[Key, int] = field(default_factory=dict)
    flags: dict[Key, str] = field(default_factory=dict)

    def error(self, key: Key, message: str) -> InputError:
        """An error at a key: it names the flag that set the key, else the file and the line nearest to it."""
        places = [key[:length] for length in range(len(key), 0, -1)]
        for place in places:
            if place in self.flags:
                return InputError(message, file=self.flags[place], key=dotted(key))
        below = [flag for place, flag in self.flags.items() if place[: len(key)] == key]
        if key and below and key not in self.lines:
            return InputError(message, file=below[0], key=dotted(key))
        line = next((self.lines[place] for place in places if place in self.lines), None)
        return InputError(message, file=self.file, line=line, key=dotted(key) or None)

    def with_value(self, key: Key, value: Any, source: str) -> Document:
        """The document with one value set.

        Args:
            key: the way to the value.
            value: the value.
            source: what set it, such as "--device cuda", for messages.
        """
        values = _copy(self.values)
        _put(values, key, value, source)
        flags = {place: flag for place, flag in self.flags.items() if place[: len(key)] != key} | {key: source}
        return Document(values, self.file, self.lines, flags)


def read_document(path: Path) -> Document:
    """Read a case file.

    Raises:
        InputError: it cannot be read, or is not TOML in UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a directory, expected a case file (TOML)") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"not a text in UTF-8: byte {error.object[error.start]:#04x} at {error.start}", file=path
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}", file=path) from None
    return parse_document(text, path)


def parse_document(text: str, file: Path | None = None) -> Document:
    """Parse the text of a case file; raises InputError where it is empty or not TOML."""
    try:
        values = tomllib.loads(text)
        lines = line_map(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, file) from None
    except RecursionError:
        raise InputError("its tables or arrays are nested too deeply", file=file) from None
    if not values:
        raise InputError('the case file is empty; expected at least the table [equation] with its "name"', file=file)
    return Document(values, file, lines)


def override(document: Document, settings: Iterable[str], flag: str = "--set") -> Document:
    """The document with values set from the command line.

    Args:
        document: left as it is.
        settings: "key.path=value" each; the value is TOML, or a bare word that stands for itself as a string.
        flag: name of the flag, for messages.

    Raises:
        InputError: a setting cannot be understood or does not fit into the document.
    """
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not _FLAG_KEY.fullmatch(name.strip()):
            raise InputError(f"expected key=value, such as solver.steps=2000; found {setting!r}", file=flag)
        source = f"{flag} {setting}"
        document = document.with_value(_key_of(name.strip()), _value_of(text.strip(), source), source)
    return document


def dotted(key: Key) -> str:
    """A key as users write it: `solver.stage[1].steps`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".")


def _syntax_error(message: str, text: str, file: Path | None) -> InputError:
    match = _AT_LINE.search(message)
    line = int(match[1]) if match else len(text.splitlines()) or 1
    reason = message.partition(" (at ")[0]
    place = f" in column {match[2]}" if match else " at the end of the file"
    hint = "; strings need quotes" if reason == "Invalid value" else ""
    hint = "; is the key or table there twice?" if reason.startswith(("Cannot overwrite", "Cannot declare")) else hint
    return InputError(f"not valid TOML: {reason[:1].lower()}{reason[1:]}{place}{hint}", file=file, line=line)


def _key_of(name: str) -> Key:
    parts = name.replace("[", ".").replace("]", "").split(".")
    return tuple(int(part) if part.isdecimal() else part for part in parts)


def _value_of(text: str, source: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
        if parsed.keys() == {"value"}:
            return parsed["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        pass
    if not text or text.startswith(("[", "{", '"', "'")) or "\n" in text:
        raise InputError(f"expected a TOML value or a bare word, found {text!r}", file=source)
    return text


def _put(values: dict[str, Any], key: Key, value: Any, source: str) -> None:
    """Set a value, making the tables on the way to it."""
    place: Any = values
    for depth, part in enumerate(key):
        here, last = dotted(key[:depth]) or "the case file", depth == len(key) - 1
        if isinstance(place, dict):
            name = str(part)
            place[name] = value if last else place.get(name, {})
            place = place[name]
        elif not isinstance(place, list):
            raise InputError("is a value, not a table, in the case file: it cannot hold a key", file=source, key=here)
        elif not isinstance(part, int) or part >= len(place):
            raise InputError(f"expected an index from 0 to {len(place) - 1}, found {part!r}", file=source, key=here)
        else:
            place[part] = value if last else place[part]
            place = place[part]


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
