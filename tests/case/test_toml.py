"""The writer against `tomllib`, and the lines of keys against the text itself."""

from __future__ import annotations

import math
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnx.case.lines import line_map
from pinnx.case.writer import to_toml, to_toml_value

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXT)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
TABLES = st.recursive(
    st.dictionaries(TEXT, VALUES, max_size=4),
    lambda inner: st.dictionaries(TEXT, st.one_of(VALUES, inner, st.lists(inner, max_size=3)), max_size=4),
    max_leaves=8,
)


@given(TABLES)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back(table: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(table)) == table


def test_numbers_keep_their_type() -> None:
    table = {"a": 1, "b": 1.0, "c": 1e300, "d": -math.inf, "e": True, "f": 5e-324}
    read = tomllib.loads(to_toml(table))
    assert {key: (type(value), value) for key, value in read.items()} == {
        key: (type(value), value) for key, value in table.items()
    }
    assert math.isnan(tomllib.loads(f"x = {to_toml_value(math.nan)}")["x"])


def test_functions_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="cannot hold"):
        to_toml_value(print)


@given(TABLES)
@settings(max_examples=150, deadline=None)
def test_every_key_is_at_its_line(table: dict[str, Any]) -> None:
    text = to_toml(table)
    lines = [None, *text.split("\n")]
    places = line_map(text)

    def walk(value: Any, key: tuple[str | int, ...]) -> None:
        """A table's line is its header's; a pair's line holds, on its own, the pair."""
        if key and isinstance(key[-1], str) and not isinstance(value, dict):
            line = lines[places[key]]
            assert line is not None
            if line.startswith("["):  # an array of tables, at its first header
                assert tomllib.loads(line)
            else:
                assert tomllib.loads(line) == {key[-1]: value}
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, item in items:
            walk(item, (*key, name))
            assert (*key, name) in places

    walk(table, ())


DOCUMENT = '''\
# a comment with a = sign
title = "not # a comment, \\" nor an end = "   # a real one
"quoted key" = 'literal \\'
text = """
[no.table]
no_key = 1 \\"""
"""
other = \'\'\'
[none]\'\'\'
after.dotted . key = 1_000
numbers = [ 1, # one
  [2, 3],
  { inner = 4, deep.er = [
     5 ] },
]
[a]
b = { c = 1, d = { e = "}" } }
date = 1979-05-27T07:32:00Z
[ a . "b c" ]
x = 1
[[stage]]
steps = 1
[[stage]]
[stage.optimizer]
kind = "adam"
[[stage.point]]
x = 0
[[stage.point]]
x = 1
[z.y]
last = 1'''

EXPECTED = {
    ("title",): 2,
    ("quoted key",): 3,
    ("text",): 4,
    ("other",): 8,
    ("after",): 10,
    ("after", "dotted", "key"): 10,
    ("numbers",): 11,
    ("numbers", 0): 11,
    ("numbers", 1): 12,
    ("numbers", 1, 1): 12,
    ("numbers", 2): 13,
    ("numbers", 2, "inner"): 13,
    ("numbers", 2, "deep", "er"): 13,
    ("numbers", 2, "deep", "er", 0): 14,
    ("a",): 16,
    ("a", "b", "d", "e"): 17,
    ("a", "date"): 18,
    ("a", "b c"): 19,
    ("a", "b c", "x"): 20,
    ("stage",): 21,
    ("stage", 0): 21,
    ("stage", 0, "steps"): 22,
    ("stage", 1): 23,
    ("stage", 1, "optimizer"): 24,
    ("stage", 1, "optimizer", "kind"): 25,
    ("stage", 1, "point", 0, "x"): 27,
    ("stage", 1, "point", 1): 28,
    ("stage", 1, "point", 1, "x"): 29,
    ("z",): 30,
    ("z", "y", "last"): 31,
}


def test_lines_of_a_document_with_every_kind_of_value() -> None:
    tomllib.loads(DOCUMENT)  # it is TOML
    places = line_map(DOCUMENT)
    assert {key: places.get(key) for key in EXPECTED} == EXPECTED
    assert ("none",) not in places
    assert ("no",) not in places
