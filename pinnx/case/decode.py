"""From tables to frozen dataclasses, strictly, by their type hints; all mistakes are collected.

A field whose type is the abstract class of a family takes a table that names the member ("kind", or "name" for an
equation) and holds that member's own fields. What a table leaves out comes from the field's default.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, TypeVar, final, get_args, get_origin, get_type_hints

from pinnx import registry
from pinnx.case.document import Document
from pinnx.case.lines import Key
from pinnx.case.words import alternatives, expected, found, is_union
from pinnx.errors import InputError, InputErrors, did_you_mean
from pinnx.options import broken_limits

T = TypeVar("T")

_BAD: Final = object()  # stands for a value that could not be decoded; its error is recorded


def decode(cls: type[T], document: Document, *, folder: Path | None = None) -> T:
    """The whole document as an instance of a dataclass.

    Args:
        cls: a dataclass.
        document: the tables and their places.
        folder: what paths of input files are relative to; by default the folder of the document's file.

    Raises:
        InputError: the one mistake that was found.
        InputErrors: all mistakes that were found, in the order of the file.
    """
    if folder is None:
        folder = document.file.parent if document.file else Path()
    decoder = _Decoder(document, folder)
    result = decoder.fields(cls, document.values, (), None)
    decoder.raise_errors()
    return result


def options_of(cls: type) -> list[dataclasses.Field[Any]]:
    """The fields of a dataclass that a case file can set: not those whose metadata say `internal`."""
    return [field for field in dataclasses.fields(cls) if field.init and not field.metadata.get("internal")]


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The default of a field, or `dataclasses.MISSING`."""
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


@final
class _Decoder:
    """Turns values into instances; mistakes go to `errors`, and the value becomes `_BAD`."""

    def __init__(self, document: Document, folder: Path):
        self.document, self.folder, self.errors = document, folder, list[InputError]()

    def raise_errors(self) -> None:
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise InputErrors(sorted(self.errors, key=lambda error: error.line or 0))

    def bad(self, key: Key, message: str) -> Any:
        self.errors.append(self.document.error(key, message))
        return _BAD

    def mismatch(self, key: Key, hint: Any, value: Any, advice: str = "") -> Any:
        if isinstance(value, str) and _is_number(value) and {int, float} & set(alternatives(hint)):
            advice = "; write it without quotes"
        return self.bad(key, f"expected {expected(hint)}, found {found(value)}{advice}")

    def value(self, hint: Any, value: Any, key: Key, base: Any = None) -> Any:
        """A value of a type; `base` is the default it replaces."""
        if hint is Any:
            return value
        if is_union(hint):
            return self.union(hint, value, key, base)
        if family := registry.family_of(hint):
            return self.member(family, value, key, base)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            return self.table(hint, value, key, base)
        if get_origin(hint) in (tuple, list, Sequence):
            return self.array(hint, value, key)
        if get_origin(hint) in (dict, Mapping) or hint is dict:
            return self.mapping(hint, value, key)
        return self.scalar(hint, value, key)

    def table(self, hint: type[Any], value: Any, key: Key, base: Any) -> Any:
        """A dataclass from a table, which may name it where it is a member of a family."""
        if not isinstance(value, dict):
            return self.mismatch(key, hint, value)
        member = registry.identify(hint)
        if member and value.get(registry.selector(member[0])) == member[1]:
            value = {name: item for name, item in value.items() if name != registry.selector(member[0])}
        return self.fields(hint, value, key, base)

    def scalar(self, hint: Any, value: Any, key: Key) -> Any:
        if get_origin(hint) is Literal:
            fits = [choice for choice in get_args(hint) if choice == value and type(choice) is type(value)]
            return fits[0] if fits else self.mismatch(key, hint, value)
        if isinstance(hint, type) and issubclass(hint, Enum):
            members = [member for member in hint if member.value == value]
            return members[0] if members else self.mismatch(key, hint, value)
        if hint is Path:
            return Path(value) if isinstance(value, str) else self.mismatch(key, hint, value)
        if hint in (bool, str):
            return value if isinstance(value, hint) else self.mismatch(key, hint, value)
        if hint in (int, float):
            return self.number(hint, value, key)
        return self.bad(key, f"has the type {getattr(hint, '__name__', hint)}, which a case file cannot hold")

    def number(self, hint: type[int] | type[float], value: Any, key: Key) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.mismatch(key, hint, value)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return self.bad(key, f"expected a number of at most 64 bits, found {found(value)}")
        if hint is float:
            return self.bad(key, "expected a number, found nan") if math.isnan(value) else float(value)
        if isinstance(value, int):
            return value
        return self.mismatch(key, hint, value, f"; write {int(value)}" if value.is_integer() else "")

    def union(self, hint: Any, value: Any, key: Key, base: Any) -> Any:
        parts = alternatives(hint)
        if NoneType in parts and value == "none":
            return None
        parts = tuple(part for part in parts if part is not NoneType)
        if len(parts) == 1 and registry.family_of(parts[0]):
            return self.value(parts[0], value, key, base)
        attempts = []
        for part in parts:
            trial = _Decoder(self.document, self.folder)
            result = trial.value(part, value, key, base)
            if not trial.errors:
                return result
            attempts.append(trial.errors)
        inside = [errors for part, errors in zip(parts, attempts, strict=True) if _holds(part, value)]
        if len(inside) == 1:
            self.errors += inside[0]  # of more use than that no alternative fits
            return _BAD
        return self.mismatch(key, hint, value)

    def array(self, hint: Any, value: Any, key: Key) -> Any:
        if not isinstance(value, list):
            return self.mismatch(key, hint, value)
        kind, parts = get_origin(hint), get_args(hint)
        if kind is tuple and Ellipsis not in parts:
            if len(parts) != len(value):
                return self.mismatch(key, hint, value)
        else:
            parts = (parts[0] if parts else Any,) * len(value)
        items = [self.value(part, item, (*key, i)) for i, (part, item) in enumerate(zip(parts, value, strict=True))]
        if any(item is _BAD for item in items):
            return _BAD
        return items if kind is list else tuple(items)

    def mapping(self, hint: Any, value: Any, key: Key) -> Any:
        if not isinstance(value, dict):
            return self.mismatch(key, hint, value)
        inner = (get_args(hint) or (str, Any))[1]
        items = {name: self.value(inner, item, (*key, name)) for name, item in value.items()}
        return _BAD if any(item is _BAD for item in items.values()) else items

    def member(self, family: str, value: Any, key: Key, base: Any) -> Any:
        """A member of a family, from a table that names it."""
        select = registry.selector(family)
        if not isinstance(value, dict):
            advice = f'; write {{ {select} = "{value}" }}' if isinstance(value, str) else ""
            return self.bad(key, f'expected a table with "{select}", found {found(value)}{advice}')
        place, reference = (*key, select), value.get(select)
        if reference is None and base is None:
            names = ", ".join(map(repr, registry.names(family)))
            return self.bad(place, f"is missing; expected one of {names}")
        if reference is not None and not isinstance(reference, str):
            return self.mismatch(place, str, reference)
        try:
            cls = type(base) if reference is None else registry.resolve(family, reference, self.folder)
        except InputError as error:
            return self.bad_reference(place, error)
        if not dataclasses.is_dataclass(cls):
            return self.bad(
                place, f"the class {cls.__name__} must be a dataclass: put @dataclass(frozen=True) above it"
            )
        if missing := sorted(getattr(cls, "__abstractmethods__", ())):
            return self.bad(place, f"the class {cls.__name__} does not define {', '.join(missing)}")
        if select in {field.name for field in options_of(cls)}:
            return self.bad(
                place, f"the class {cls.__name__} has a field {select!r}, which names the class here: rename it"
            )
        rest = {name: item for name, item in value.items() if name != select}
        return self.fields(cls, rest, key, base if type(base) is cls else None)

    def bad_reference(self, place: Key, error: InputError) -> Any:
        if error.file is None:
            return self.bad(place, error.message)
        named = self.document.error(place, "")  # the mistake is in the user's Python file; say also who named that file
        origin = f"{named.file}:{named.line}" if named.line else str(named.file) if named.file else named.key
        self.errors.append(InputError(f"{error.message} (imported for {origin})", file=error.file, line=error.line))
        return _BAD

    def fields(self, cls: type[Any], table: dict[str, Any], key: Key, base: Any) -> Any:
        """An instance of a dataclass from the fields in a table."""
        fields = {field.name: field for field in options_of(cls)}
        before = len(self.errors)
        for name in table:
            if name not in fields:
                self.unknown(name, list(fields), key)
        try:
            hints = get_type_hints(cls)
        except (NameError, TypeError, SyntaxError) as error:
            return self.bad(key, f"the types of {cls.__name__}'s fields cannot be resolved: {error}")
        values = {name: self.field(field, hints[name], table, key, base) for name, field in fields.items()}
        if len(self.errors) > before:
            return _BAD
        try:
            return cls(**values)
        except ValueError as error:
            return self.refused(error, key, fields)

    def field(self, field: dataclasses.Field[Any], hint: Any, table: dict[str, Any], key: Key, base: Any) -> Any:
        default = default_of(field) if base is None else getattr(base, field.name)
        place = (*key, field.name)
        if field.name not in table:
            needed = field.metadata.get("needed")  # said of a table: this one cannot do without the field
            if default is dataclasses.MISSING or (needed is not None and needed(table)):
                hint = alternatives(hint)[0]
                about = f" ({field.metadata['doc']})" if field.metadata.get("doc") else ""
                return self.bad(place, f"is missing; expected {expected(hint)}{about}")
            return default
        result = self.value(hint, table[field.name], place, None if default is dataclasses.MISSING else default)
        if isinstance(result, Path) and field.metadata.get("input"):
            result = (self.folder / result.expanduser()).absolute()
        if result is not _BAD:
            for sentence in broken_limits(result, field):
                result = self.bad(place, f"{sentence}, found {found(table[field.name])}")
        return result

    def unknown(self, name: str, known: list[str], key: Key) -> None:
        hint = did_you_mean(name, known) if known else "there are no options here"
        if key and name in _top_level():
            hint = "it belongs at the top of the file, before the first [table]"
        self.bad((*key, name), f"unknown key; {hint}")

    def refused(self, error: ValueError, key: Key, fields: Mapping[str, object]) -> Any:
        """A ValueError of a dataclass's own check: at the field that its message begins with, else at the table."""
        for mistake in error.errors if isinstance(error, InputErrors) else [error]:
            message = mistake.message if isinstance(mistake, InputError) else str(mistake)
            own = mistake.key if isinstance(mistake, InputError) else None
            first, _, rest = message.partition(" ")
            if own is not None and own in fields:
                self.bad((*key, own), message)
            elif first in fields and rest:
                self.bad((*key, first), rest)
            else:
                self.bad(key, message)
        return _BAD


def _top_level() -> frozenset[str]:
    return frozenset({"title", "seed", "device", "threads"})


def _holds(hint: Any, value: Any) -> bool:
    """Whether a value is of the right shape, so that the mistake must be inside of it."""
    if isinstance(value, dict):
        return "a table" in expected(hint)
    return (isinstance(value, list) and "an array" in expected(hint)) or (type(value), hint) == (float, int)


def _is_number(text: str) -> bool:
    try:
        return bool(float(text)) or True
    except ValueError:
        return False
