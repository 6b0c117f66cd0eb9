"""Which members a sweep has: grids, values that go together, random draws, seeds. Text in, text out: no torch."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from pinnx.errors import InputError, did_you_mean

#: More members than this are taken for a slip of the keyboard.
MOST_MEMBERS = 100_000
_LAWS = {"uniform": 2, "log": 2, "int": 2, "choice": 0}
_PAIRS = {"[": "]", "{": "}"}

#: One member's settings: the values, as text, by dotted key.
Settings = dict[str, str]


@final
@dataclass(frozen=True)
class Axis:
    """One direction of a sweep: every choice gives a value to each of its keys.

    Attributes:
        keys: dotted names of options.
        choices: as many values as keys each, as text in TOML.
    """

    keys: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]


def plan(
    *,
    grid: Sequence[str] = (),
    zipped: Sequence[str] = (),
    drawn: Sequence[str] = (),
    samples: int = 10,
    seeds: str | None = None,
    first_seed: int = 20931,
) -> list[Settings]:
    """The settings of all members, the seed varying fastest.

    Args:
        grid: "key=a,b,c" each; every combination is taken.
        zipped: "key=a,b,c" each, of one length; the first values belong together, the second ones, and so on.
        drawn: "key=LAW:…" each, with LAW `uniform:low:high`, `log:low:high`, `int:low:high` or `choice:a:b:…`.
        samples: number of draws, of all `drawn` keys together.
        seeds: a number of seeds, the first of them `first_seed` and the others drawn from it; or the seeds themselves,
            separated by commas.
        first_seed: of the case.

    Raises:
        InputError: a word cannot be understood, a key is there twice, or nothing varies.
    """
    axes = [_listed(word, "--grid") for word in grid]
    axes += [_together([_listed(word, "--zip") for word in zipped])] if zipped else []
    axes += [_random(drawn, samples, first_seed)] if drawn else []
    axes += [_seeds(seeds, first_seed)] if seeds is not None else []
    if not axes:
        raise InputError("nothing varies; expected --grid, --zip, --random or --seeds")
    keys = [key for axis in axes for key in axis.keys]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise InputError(f"{twice[0]} varies in two ways; name it once")
    count = math.prod(len(axis.choices) for axis in axes)
    if count > MOST_MEMBERS:
        raise InputError(f"these are {count} members, more than {MOST_MEMBERS}; use --random with --samples")
    combinations = itertools.product(*(axis.choices for axis in axes))
    return [dict(zip(keys, itertools.chain(*chosen), strict=True)) for chosen in combinations]


def split_values(text: str) -> list[str]:
    """Values separated by commas that stand outside of quotes and brackets.

    Example:
        >>> split_values('1e-3, [4, 8], "a,b"')
        ['1e-3', '[4, 8]', '"a,b"']
    """
    parts, start, closing, quote = [], 0, "", ""
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in _PAIRS:
            closing += _PAIRS[character]
        elif closing and character == closing[-1]:
            closing = closing[:-1]
        elif character == "," and not closing:
            parts.append(text[start:index].strip())
            start = index + 1
    return [*parts, text[start:].strip()]


def _listed(word: str, flag: str) -> Axis:
    key, values = _key_and_rest(word, flag, "key=a,b,c, such as network.width=32,64")
    found = split_values(values)
    if "" in found:
        raise InputError(f"expected values separated by commas, found {values!r}", file=flag, key=key)
    if len(set(found)) < len(found):
        raise InputError(f"has a value twice: {values}", file=flag, key=key)
    return Axis((key,), tuple((value,) for value in found))


def _together(axes: list[Axis]) -> Axis:
    lengths = {axis.keys[0]: len(axis.choices) for axis in axes}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        raise InputError(f"expected as many values of each key: {shown}", file="--zip")
    choices = zip(*((value for (value,) in axis.choices) for axis in axes), strict=True)
    return Axis(tuple(axis.keys[0] for axis in axes), tuple(choices))


def _random(words: Sequence[str], samples: int, seed: int) -> Axis:
    if samples < 1:
        raise InputError(f"expected at least 1 draw, got {samples}", file="--samples")
    columns = {}
    for word in words:
        key, law = _key_and_rest(word, "--random", "key=log:1e-4:1e-2")
        if key in columns:
            raise InputError("varies in two ways; name it once", file="--random", key=key)
        # a stream of its own for each key: adding one changes no other's values, nor does a longer sweep
        columns[key] = list(itertools.islice(_draws(key, law, random.Random(f"{seed} {key}")), samples))
    return Axis(tuple(columns), tuple(zip(*columns.values(), strict=True)))


def _draws(key: str, law: str, chance: random.Random) -> Iterator[str]:
    name, *words = law.split(":")
    if name not in _LAWS:
        raise InputError(f"no such law: {name!r}; {did_you_mean(name, _LAWS)}", file="--random", key=key)
    if name == "choice":
        if len(words) < 2:
            raise InputError(f"expected choice:a:b:…, found {law!r}", file="--random", key=key)
        while True:
            yield chance.choice(words)
    try:
        low, high = (int(word) if name == "int" else float(word) for word in words)
    except ValueError:
        kind = "integers" if name == "int" else "numbers"
        raise InputError(f"expected {name}:low:high with two {kind}, found {law!r}", file="--random", key=key) from None
    if not low < high or (name == "log" and low <= 0) or not math.isfinite(high - low):
        needed = "0 < low < high" if name == "log" else "low < high"
        raise InputError(f"expected {needed}, found {law!r}", file="--random", key=key)
    while True:
        if name == "int":
            yield str(chance.randint(int(low), int(high)))
        elif name == "log":
            yield f"{math.exp(chance.uniform(math.log(low), math.log(high))):.4g}"
        else:
            yield f"{chance.uniform(low, high):.4g}"


def _seeds(text: str, first: int) -> Axis:
    words = split_values(text)
    if not all(re.fullmatch(r"\d+", word) for word in words):
        raise InputError(f"expected a number of seeds, or seeds separated by commas; found {text!r}", file="--seeds")
    numbers = [int(word) for word in words]
    if len(numbers) == 1:
        if numbers[0] < 1:
            raise InputError("expected at least 1 seed, got 0", file="--seeds")
        chance = random.Random(first)
        drawn = (chance.randrange(10_000, 2**31) for _ in itertools.count())
        distinct = dict.fromkeys([first])
        while len(distinct) < numbers[0]:
            distinct[next(drawn)] = None
        numbers = list(distinct)
    elif len(set(numbers)) < len(numbers):
        raise InputError(f"has a seed twice: {text}", file="--seeds")
    return Axis(("seed",), tuple((str(number),) for number in numbers))


def _key_and_rest(word: str, flag: str, example: str) -> tuple[str, str]:
    key, equals, rest = word.partition("=")
    if not equals or not key.strip() or not rest.strip():
        raise InputError(f"expected {example}; found {word!r}", file=flag)
    return key.strip(), rest.strip()
