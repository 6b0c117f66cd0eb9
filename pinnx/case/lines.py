"""Where each key of a TOML document stands: `tomllib` reads the values but does not say."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import final

Key = tuple[str | int, ...]
"""The way to a value: names of tables and keys, and indices (from 0) in arrays."""

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}(?!")|\'\'\'.*?\'{3,5}(?!\')|"(?:\\.|[^"\\])*"|\'[^\']*\'', re.DOTALL)
_SCALAR = re.compile(r"[^,\]}#\n]+")


def line_map(text: str) -> dict[Key, int]:
    r"""The line, from 1, of every table, key and array item of a document.

    Args:
        text: a document that `tomllib` accepts; others give an incomplete map or a ValueError.

    Example:
        >>> line_map("a = 1\n[b]\nc = [2, 3]")[("b", "c")]
        3
    """
    return _Scanner(text).run()


@final
class _Scanner:
    """Walks through a valid document once, remembering only where keys and values begin."""

    def __init__(self, text: str):
        self.text, self.at = text, 0
        self.newlines = [match.start() for match in re.finditer("\n", text)]
        self.lines: dict[Key, int] = {}
        self.lengths: dict[Key, int] = {}  # of arrays of tables

    def run(self) -> dict[Key, int]:
        table: Key = ()
        while self._skip_space():
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.lines

    def _header(self) -> Key:
        start, array = self.at, self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        names = self._names()
        self.at = self.text.index("]", self.at) + (2 if array else 1)
        table = self._inside((), names[:-1])
        table = (*table, names[-1])
        if array:
            index = self.lengths.get(table, 0)
            self.lengths[table] = index + 1
            self._mark(table, start)
            table = (*table, index)
        elif table in self.lengths:
            table = (*table, self.lengths[table] - 1)
        self._mark(table, start)
        return table

    def _inside(self, table: Key, names: list[str]) -> Key:
        """Go down by names; an array of tables stands for its last one."""
        for name in names:
            table = (*table, name)
            if table in self.lengths:
                table = (*table, self.lengths[table] - 1)
            self._mark(table, self.at)
        return table

    def _pair(self, table: Key) -> None:
        start = self.at
        names = self._names()
        self._skip_space()
        self.at += 1  # the equals sign
        for name in names:
            table = (*table, name)
            self._mark(table, start)
        self._value(table)

    def _value(self, key: Key) -> None:
        self._skip_space()
        self._mark(key, self.at)
        opening = self.text[self.at]
        if opening == "[":
            self._items(key)
        elif opening == "{":
            self._inline_table(key)
        else:
            match = _STRING.match(self.text, self.at) or _SCALAR.match(self.text, self.at)
            self.at = match.end() if match else self.at + 1

    def _items(self, key: Key) -> None:
        self.at, index = self.at + 1, 0
        while self._skip_space() and self.text[self.at] != "]":
            if self.text[self.at] == ",":
                self.at += 1
            else:
                self._value((*key, index))
                index += 1
        self.at += 1

    def _inline_table(self, key: Key) -> None:
        self.at += 1
        while self._skip_space() and self.text[self.at] != "}":
            if self.text[self.at] == ",":
                self.at += 1
            else:
                self._pair(key)
        self.at += 1

    def _names(self) -> list[str]:
        """A dotted key."""
        names = []
        while True:
            self._skip_space()
            if match := _BARE.match(self.text, self.at):
                names.append(match[0])
            elif match := _STRING.match(self.text, self.at):
                names.append(tomllib.loads(f"name = {match[0]}")["name"])
            else:
                raise ValueError(f"no key at character {self.at}")
            self.at = match.end()
            self._skip_space()
            if not self.text.startswith(".", self.at):
                return names
            self.at += 1

    def _skip_space(self) -> bool:
        """Skip blanks, newlines and comments; whether anything is left."""
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at < len(self.text)

    def _mark(self, key: Key, at: int) -> None:
        self.lines.setdefault(key, bisect_right(self.newlines, at - 1) + 1)
