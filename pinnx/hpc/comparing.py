"""What a sweep came to: members with equal settings but for the seed in one row. Only files are read: no torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from pinnx.errors import InputError
from pinnx.hpc.states import State, state_of
from pinnx.hpc.sweep import Member, Sweep
from pinnx.run.progress import best_baseline

SEED = "seed"


@final
@dataclass(frozen=True)
class Entry:
    """A member and what it came to.

    Attributes:
        member: the member.
        state: where it stands.
        reason: why, if not well.
        error: relative L2 of one that is done.
        loss: last loss of one that is done.
        baseline: the smallest error of a trivial answer to its problem.
        seconds: spent in steps.
    """

    member: Member
    state: State
    reason: str
    error: float | None = None
    loss: float | None = None
    baseline: float | None = None
    seconds: float | None = None


@final
@dataclass(frozen=True)
class Group:
    """Members that differ in their seed only.

    Attributes:
        settings: what they share, by key.
        entries: the members.
        measure: "error" or "loss", what the figures below are of.
    """

    settings: dict[str, str]
    entries: tuple[Entry, ...]
    measure: str

    @property
    def values(self) -> list[float]:
        """The measure of each member that is done."""
        found = (getattr(entry, self.measure) for entry in self.entries if entry.state is State.DONE)
        return [value for value in found if value is not None]

    @property
    def mean(self) -> float | None:
        """The mean over the members that are done."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """The sample standard deviation (n − 1) over the members that are done, of two or more."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def best(self) -> float | None:
        """The smallest."""
        return min(self.values, default=None)

    @property
    def seconds(self) -> float | None:
        """The mean time in steps."""
        times = [entry.seconds for entry in self.entries if entry.seconds is not None]
        return statistics.fmean(times) if times else None

    @property
    def baseline(self) -> float | None:
        """The smallest error of a trivial answer."""
        return next((entry.baseline for entry in self.entries if entry.baseline is not None), None)

    @property
    def done(self) -> int:
        """How many members are done."""
        return sum(entry.state is State.DONE for entry in self.entries)


@final
@dataclass(frozen=True)
class Comparison:
    """All of a sweep.

    Attributes:
        path: of the sweep.
        keys: what varies, the seed left out.
        measure: "error" where there is a reference, else "loss".
        groups: the best mean first; those without one last.
        entries: all members.
    """

    path: Path
    keys: tuple[str, ...]
    measure: str
    groups: tuple[Group, ...]
    entries: tuple[Entry, ...] = field(repr=False)

    @property
    def unfinished(self) -> list[Entry]:
        """The members that are not done, in order."""
        return [entry for entry in self.entries if entry.state is not State.DONE]


def compare_sweep(sweep: Sweep) -> Comparison:
    """What a sweep came to so far.

    Raises:
        InputError: a member's file is damaged.
    """
    entries = tuple(_entry(member) for member in sweep.members)
    done = [entry for entry in entries if entry.state is State.DONE]
    measure = "error" if not done or any(entry.error is not None for entry in done) else "loss"
    keys = tuple(key for key in sweep.keys if key != SEED)
    collected: dict[tuple[tuple[str, str], ...], list[Entry]] = {}
    for entry in entries:
        # members of a collection have no settings of their own: each is a case by itself
        settings = entry.member.own or {"case": entry.member.case.stem}
        shared = tuple((key, value) for key, value in settings.items() if key != SEED)
        collected.setdefault(shared, []).append(entry)
    groups = [Group(dict(shared), tuple(members), measure) for shared, members in collected.items()]
    groups.sort(key=lambda group: math.inf if group.mean is None else group.mean)
    keys = keys or (("case",) if any("case" in group.settings for group in groups) else ())
    return Comparison(sweep.path, keys, measure, tuple(groups), entries)


def reasons(entries: Sequence[Entry]) -> list[tuple[str, str, list[str]]]:
    """State, reason and names of members that ended alike, those that failed first."""
    collected: dict[tuple[State, str], list[str]] = {}
    for entry in entries:
        collected.setdefault((entry.state, entry.reason), []).append(entry.member.name)
    ordered = sorted(collected.items(), key=lambda item: not item[0][0].bad)
    return [(state.value, reason, names) for (state, reason), names in ordered]


def _entry(member: Member) -> Entry:
    state, reason = state_of(member)
    if state is not State.DONE:
        return Entry(member, state, reason)
    result = member.run.read_result()
    if result is None:
        raise InputError("has no result any more", file=member.run.path)
    return Entry(
        member,
        state,
        reason,
        error=result.errors.get("relative_l2") if result.errors else None,
        loss=result.loss,
        baseline=best_baseline(result.baselines),
        seconds=result.seconds,
    )
