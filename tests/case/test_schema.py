"""The schema and the reference page: in step with the code, and true of real cases."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pinnx import registry
from pinnx.case import Case, parse_case
from pinnx.case.describe import describe
from pinnx.case.schema import PAGE_FILE, SCHEMA_FILE, json_schema, reference_page, schema_json

WRITE = "run python -m pinnx.case.schema --write"


def test_the_schema_that_ships_is_that_of_the_code() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_json(), WRITE


@pytest.mark.skipif(not PAGE_FILE.parent.is_dir(), reason="the documentation is not installed with the package")
def test_the_reference_page_is_that_of_the_code() -> None:
    assert PAGE_FILE.read_text(encoding="utf-8") == reference_page(), WRITE


def _faults(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> list[str]:
    """A judge of the few keywords of JSON schema that ours uses; an unknown one fails."""
    faults = []
    for word, rule in schema.items():
        if word == "$ref":
            faults += _faults(value, root["$defs"][rule.rpartition("/")[2]], root)
        elif word == "anyOf":
            faults += (
                [] if any(not _faults(value, each, root) for each in rule) else [f"{value!r} fits none of {len(rule)}"]
            )
        elif word == "not":
            faults += [] if _faults(value, rule, root) else ["it is what it must not be"]
        elif word == "properties" and isinstance(value, dict):
            faults += [fault for name in value.keys() & rule.keys() for fault in _faults(value[name], rule[name], root)]
        elif word == "additionalProperties" and isinstance(value, dict):
            faults += [f"unknown {name}" for name in value.keys() - schema["properties"].keys()]
        elif word == "required" and isinstance(value, dict):
            faults += [f"{name} is missing" for name in rule if name not in value]
        else:
            faults += _simple_faults(value, word, rule)
    return faults


def _simple_faults(value: Any, word: str, rule: Any) -> list[str]:
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    number = isinstance(value, int | float)
    good = {
        "type": lambda: isinstance(value, kinds[rule]) and (rule == "boolean" or not isinstance(value, bool)),
        "enum": lambda: value in rule,
        "const": lambda: value == rule,
        "minimum": lambda: number and value >= rule,
        "maximum": lambda: number and value <= rule,
        "exclusiveMinimum": lambda: number and value > rule,
        "items": lambda: True,
        **dict.fromkeys(
            ["description", "title", "default", "$schema", "$defs", "properties", "additionalProperties", "required"],
            lambda: True,
        ),
    }[word]()
    return [] if good else [f"{value!r} is not {word} {rule!r}"]


@pytest.mark.parametrize("name", registry.REGISTRY["equations"])
def test_resolved_cases_fit_the_schema(name: str) -> None:
    schema = json_schema()
    case = Case(registry.resolve("equations", name)())
    assert _faults(case.resolved(), schema, schema) == []


@pytest.mark.parametrize(
    "change",
    [
        {"seed": -1},
        {"seed": 1.5},
        {"sead": 1},
        {"equation": {"dimension": 3}},
        {"equation": {"name": "poisson", "dimenson": 3}},
        {"solver": {"kind": "pinn", "steps": 0}},
        {"solver": {"kind": "pinn", "optimizer": {"kind": "adam", "learning_rate": 0}}},
        {"network": {"kind": "mlp", "activation": "relu"}},
    ],
    ids=str,
)
def test_mistakes_do_not_fit_the_schema(change: dict[str, Any]) -> None:
    schema = json_schema()
    case = {"equation": {"name": "poisson"}, **change}
    assert _faults({"equation": {"name": "poisson"}}, schema, schema) == []
    assert _faults(case, schema, schema)


def test_the_page_names_every_option() -> None:
    page = reference_page()
    for family, members in registry.REGISTRY.items():
        for name in members:
            section = page.partition(f"{{ #{family}-{name} }}")[2].partition("\n## ")[0].partition("\n### ")[0]
            for option in describe(registry.resolve(family, name)):
                meaning = re.sub(r"\\([_*\[\]|])", r"\1", section).replace("&lt;", "<")
                assert re.search(rf"^\| `{option.name}` \|.*{re.escape(option.doc)}", meaning, re.MULTILINE)


def test_the_example_on_the_page_is_a_case() -> None:
    example = reference_page().partition("```toml\n")[2].partition("```")[0]
    case = parse_case(example)
    assert (case.equation_name, case.run_directory.name) == ("allen-cahn", "allen_cahn_100d")
