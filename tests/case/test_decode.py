"""The decoder on small dataclasses: types, limits, nesting, and the words of its messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest

from pinnx.case.decode import decode
from pinnx.case.document import parse_document
from pinnx.case.encode import encode
from pinnx.case.writer import to_toml
from pinnx.errors import InputError, InputErrors
from pinnx.options import at_least, check_limits, option, positive


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    size: int = option(3, "a size", at_least(1))
    rate: float = option(0.5, "a rate", positive)

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True)
class Checked:
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError("low must be smaller than high")
        if self.high > 10:
            raise InputError("is far too large", key="high")
        if self.low < -10:
            raise ValueError("the interval is out of reach")


@dataclass(frozen=True)
class Everything:
    count: int
    name: str = "x"
    rate: float = 1.0
    flag: bool = False
    path: Path = Path("a/b")
    choice: Literal["a", "b", 3] = "a"
    color: Color = Color.RED
    maybe: int | None = None
    mixed: Literal["auto"] | float = "auto"
    some: tuple[int, ...] = ()
    pair: tuple[float, str] = (1.0, "y")
    names: list[str] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    free: Any = 0
    inner: Inner = Inner(size=9)
    inners: tuple[Inner, ...] = ()
    perhaps: Inner | None = None
    checked: Checked = Checked()
    function: object = None


def read(text: str) -> Everything:
    return decode(Everything, parse_document(text, Path("case.toml")))


GOOD = {
    "count = 3": Everything(3),
    "count = 3\nrate = 2": Everything(3, rate=2.0),
    'count = 3\npath = "c/d"': Everything(3, path=Path("c/d")),
    "count = 3\nchoice = 3": Everything(3, choice=3),
    'count = 3\ncolor = "blue"': Everything(3, color=Color.BLUE),
    'count = 3\nmaybe = "none"': Everything(3),
    "count = 3\nmaybe = 4": Everything(3, maybe=4),
    "count = 3\nmixed = 4": Everything(3, mixed=4.0),
    "count = 3\nsome = [1, 2]": Everything(3, some=(1, 2)),
    'count = 3\npair = [1, "z"]': Everything(3, pair=(1.0, "z")),
    'count = 3\nnames = ["a"]': Everything(3, names=["a"]),
    "count = 3\nweights = { a = 1 }": Everything(3, weights={"a": 1.0}),
    "count = 3\nfree = [{}]": Everything(3, free=[{}]),
    "count = 3\ninner.rate = 2": Everything(3, inner=Inner(size=9, rate=2.0)),
    "count = 3\n[[inners]]\n[[inners]]\nsize = 2": Everything(3, inners=(Inner(), Inner(size=2))),
    "count = 3\n[perhaps]\nsize = 5": Everything(3, perhaps=Inner(size=5)),
}


@pytest.mark.parametrize("text", GOOD)
def test_good_values(text: str) -> None:
    result = read(text)
    assert result == GOOD[text]
    assert isinstance(result.rate, float)
    tables = encode(result)
    del tables["function"]
    assert read(to_toml(tables)) == result


BAD = {
    "count": ("count = 3.0", 1, "count", "expected an integer, found the float 3.0; write 3"),
    "fraction": ("count = 3.5", 1, "count", "expected an integer, found the float 3.5"),
    "boolean": ("count = true", 1, "count", "expected an integer, found the boolean true"),
    "quoted": ('count = "3"', 1, "count", 'expected an integer, found the string "3"; write it without quotes'),
    "long": (f"count = {2**63}", 1, "count", "expected a number of at most 64 bits"),
    "missing": ("rate = 1", None, "count", "is missing; expected an integer"),
    "date": ("count = 1979-05-27", 1, "count", "expected an integer, found the date or time 1979-05-27"),
    "number": ("\nrate = 'x'", 2, "rate", 'expected a number, found the string "x"'),
    "nan": ("rate = nan", 1, "rate", "expected a number, found nan"),
    "string": ("name = 1", 1, "name", "expected a string, found the integer 1"),
    "flag": ("flag = 0", 1, "flag", "expected true or false, found the integer 0"),
    "path": ("path = 0", 1, "path", "expected a path (a string), found the integer 0"),
    "literal": ('choice = "c"', 1, "choice", 'expected "a" or "b" or 3, found the string "c"'),
    "literal type": ("choice = 3.0", 1, "choice", 'expected "a" or "b" or 3, found the float 3.0'),
    "enum": ('color = "green"', 1, "color", 'expected "red" or "blue", found the string "green"'),
    "optional": ('maybe = "non"', 1, "maybe", 'expected an integer or "none", found the string "non"'),
    "optional float": ("maybe = 2.0", 1, "maybe", "expected an integer, found the float 2.0; write 2"),
    "union": ('mixed = "of"', 1, "mixed", 'expected "auto" or a number, found the string "of"'),
    "array": ("some = 1", 1, "some", "expected an array of integers, found the integer 1"),
    "item": ("some = [\n 1,\n 'x']", 3, "some[1]", 'expected an integer, found the string "x"'),
    "short": ("pair = [1]", 1, "pair", "expected an array of 2: a number, a string, found an array of 1"),
    "names": ("names = [1]", 1, "names[0]", "expected a string, found the integer 1"),
    "weights": ("[weights]\na = 1\nb = 'x'", 3, "weights.b", 'expected a number, found the string "x"'),
    "no table": ("weights = 1", 1, "weights", "expected a table, found the integer 1"),
    "inner": ("inner = []", 1, "inner", "expected a table, found an empty array"),
    "inner key": ("[inner]\nsise = 1", 2, "inner.sise", "unknown key; did you mean 'size'?"),
    "inner limit": ("[inner]\n\nsize = 0", 3, "inner.size", "must be at least 1, found the integer 0"),
    "in array": (
        "[[inners]]\n[[inners]]\nrate = 0",
        3,
        "inners[1].rate",
        "must be greater than 0, found the integer 0",
    ),
    "tables": ("inners = 5", 1, "inners", "expected an array of tables, found the integer 5"),
    "in optional": ("[perhaps]\nsize = 'x'", 2, "perhaps.size", 'expected an integer, found the string "x"'),
    "check names key": ("[checked]\n\nlow = 2", 3, "checked.low", "must be smaller than high"),
    "check gives key": ("[checked]\n\nhigh = 20", 3, "checked.high", "is far too large"),
    "check of table": ("\n[checked]\nlow = -20", 2, "checked", "the interval is out of reach"),
    "unknown": ("cuont = 3\ncount = 3", 1, "cuont", "unknown key; did you mean 'count'?"),
    "function": ("function = 3", 1, "function", "has the type object, which a case file cannot hold"),
}


@pytest.mark.parametrize(("text", "line", "key", "sentence"), BAD.values(), ids=BAD)
def test_bad_values(text: str, line: int | None, key: str, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        read(text)
    found = [each for each in getattr(error.value, "errors", [error.value]) if each.key == key]
    assert len(found) == 1, str(error.value)
    assert found[0].line == line
    assert sentence in found[0].message
    assert str(found[0].file) == "case.toml"


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    with pytest.raises(InputErrors) as error:
        read("rate = 'x'\n[inner]\nsize = 0\nrate = -1\nsort = 1\n[checked]\nlow = 3")
    assert [(each.line, each.key) for each in error.value.errors] == [
        (None, "count"),
        (1, "rate"),
        (3, "inner.size"),
        (4, "inner.rate"),
        (5, "inner.sort"),
        (7, "checked.low"),
    ]


def test_a_function_cannot_be_encoded() -> None:
    with pytest.raises(InputError, match="inner.size: a case file cannot hold <built-in function print>"):
        encode({"inner": {"size": print}})
