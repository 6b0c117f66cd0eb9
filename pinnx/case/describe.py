"""What the options of a class mean: for `pinnx show`, the schema and the reference page."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from dataclasses import dataclass
from typing import Any, final, get_type_hints

from pinnx import registry
from pinnx.case.decode import default_of, options_of
from pinnx.case.encode import encode
from pinnx.case.words import expected
from pinnx.case.writer import to_toml_value

_SECTION = re.compile(r"\n\s*(Example|Examples|Attributes|Args|Raises|Returns|Note|References):", re.MULTILINE)


@final
@dataclass(frozen=True)
class Option:
    """One option of a case file.

    Attributes:
        name: its key.
        hint: its type.
        default: its default, or `dataclasses.MISSING`.
        doc: what it means.
        limits: what a good value must be, "must be …" each.
    """

    name: str
    hint: Any
    default: Any
    doc: str
    limits: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The type in words."""
        return expected(self.hint).removeprefix("an ").removeprefix("a ")

    @property
    def default_words(self) -> str:
        """The default as it would stand in a case file."""
        if self.default is dataclasses.MISSING:
            return "required"
        if family := registry.family_of(self.hint):
            member = registry.identify(type(self.default))
            return f'default: {registry.selector(family)} = "{member[1] if member else "?"}"'
        if dataclasses.is_dataclass(self.default):
            return "default: its own defaults"
        return f"default: {to_toml_value(encode(self.default))}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """The meaning, with the limits behind it."""
        limits = f" ({'; '.join(self.limits)})" if self.limits else ""
        return (f"{self.doc}{limits}",) if self.doc or limits else ()


def describe(cls: type[Any]) -> list[Option]:
    """The options of a dataclass, in order."""
    if not dataclasses.is_dataclass(cls):
        return []
    hints = get_type_hints(cls)
    return [
        Option(field.name, hints[field.name], default_of(field), field.metadata.get("doc", ""), _limits(field))
        for field in options_of(cls)
    ]


def prose(cls: type[Any]) -> str:
    """The docstring of a class up to its first section."""
    text = inspect.getdoc(cls) or ""
    if text.startswith(f"{cls.__name__}("):  # what dataclass makes up
        return ""
    match = _SECTION.search(f"\n{text}")
    return text[: max(match.start() - 1, 0)].strip() if match else text.strip()


def _limits(field: dataclasses.Field[Any]) -> tuple[str, ...]:
    """What the limits of a field say; each says it of any value it refuses, and none accepts nan."""
    sentences = []
    for limit in field.metadata.get("limits", ()):
        for probe in (math.nan, "\0", ""):
            try:
                sentence = limit(probe)
            except TypeError:
                continue
            if sentence:
                sentences.append(sentence)
                break
    return tuple(sentences)
