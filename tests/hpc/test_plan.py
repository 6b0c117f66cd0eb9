"""Which members a sweep has."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from pinnx.errors import InputError
from pinnx.hpc.plan import plan, split_values


def test_a_grid_is_all_combinations_with_the_seed_fastest() -> None:
    members = plan(grid=["a.b=1,2", "c=x,y,z"], seeds="7,9")
    expected = itertools.product(["1", "2"], ["x", "y", "z"], ["7", "9"])
    assert [tuple(member.values()) for member in members] == list(expected)
    assert list(members[0]) == ["a.b", "c", "seed"]


def test_zipped_keys_go_together() -> None:
    members = plan(zipped=["w=1,2,3", "d=6,5,4"], grid=["g=0,1"])
    assert len(members) == 6
    assert {(member["w"], member["d"]) for member in members} == {("1", "6"), ("2", "5"), ("3", "4")}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1,2", ["1", "2"]),
        ("[1, 2],[3]", ["[1, 2]", "[3]"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ('{x = [1, "]"]}, 2', ['{x = [1, "]"]}', "2"]),
        ("1e-3", ["1e-3"]),
        ("a,", ["a", ""]),
    ],
)
def test_values_are_split_outside_of_quotes_and_brackets(text: str, parts: list[str]) -> None:
    assert split_values(text) == parts


def test_draws_follow_their_law() -> None:
    laws = ["a=log:1e-4:1e-2", "b=uniform:-1:3", "c=int:2:5", "d=choice:x:y"]
    members = plan(drawn=laws, samples=2000, first_seed=60_013)
    logs = np.array([math.log10(float(member["a"])) for member in members])
    # uniform on [-4, -2]: mean -3, variance 1/3; four standard errors
    assert abs(logs.mean() + 3) < 4 * math.sqrt(1 / 3 / 2000)
    assert abs(np.var(logs) - 1 / 3) < 4 * math.sqrt((1 / 5 - 1 / 9) / 2000)
    uniform = np.array([float(member["b"]) for member in members])
    assert abs(uniform.mean() - 1) < 4 * math.sqrt(16 / 12 / 2000)
    counts = [sum(member["c"] == str(value) for member in members) for value in range(2, 6)]
    assert sum(counts) == 2000
    assert all(abs(count - 500) < 4 * math.sqrt(2000 * 3 / 16) for count in counts)
    assert abs(sum(member["d"] == "x" for member in members) - 1000) < 4 * math.sqrt(500)


def test_draws_are_repeated_by_the_case_s_seed_and_more_of_them_begin_alike() -> None:
    few = plan(drawn=["a=uniform:0:1"], samples=4, first_seed=311)
    many = plan(drawn=["a=uniform:0:1", "b=int:0:9"], samples=9, first_seed=311)
    assert [member["a"] for member in many[:4]] == [member["a"] for member in few]
    assert plan(drawn=["a=uniform:0:1"], samples=4, first_seed=312) != few


def test_so_many_seeds_begin_with_the_case_s_own() -> None:
    seeds = [member["seed"] for member in plan(seeds="6", first_seed=811)]
    assert seeds[0] == "811"
    assert len(set(seeds)) == 6
    assert [member["seed"] for member in plan(seeds="3", first_seed=811)] == seeds[:3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "nothing varies"),
        ({"grid": ["a"]}, "expected key=a,b,c"),
        ({"grid": ["a=1,,2"]}, "separated by commas"),
        ({"grid": ["a=1,1"]}, "a value twice"),
        ({"grid": ["a=1,2", "a=3,4"]}, "varies in two ways"),
        ({"grid": ["seed=1,2"], "seeds": "3"}, "varies in two ways"),
        ({"zipped": ["a=1,2", "b=1,2,3"]}, "a has 2, b has 3"),
        ({"drawn": ["a=lag:1:2"]}, "did you mean 'log'"),
        ({"drawn": ["a=log:0:2"]}, "0 < low < high"),
        ({"drawn": ["a=uniform:3:2"]}, "low < high"),
        ({"drawn": ["a=int:1.5:2"]}, "two integers"),
        ({"drawn": ["a=uniform:1"]}, "two numbers"),
        ({"drawn": ["a=choice:x"]}, "choice:a:b"),
        ({"drawn": ["a=int:1:2"], "samples": 0}, "at least 1 draw"),
        ({"seeds": "many"}, "number of seeds"),
        ({"seeds": "0"}, "at least 1 seed"),
        ({"seeds": "4,4"}, "a seed twice"),
        ({"grid": [f"{key}={','.join(map(str, range(60)))}" for key in "abc"]}, "216000 members"),
    ],
)
def test_mistakes_are_told(words: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(**words)
