"""How the learning rate changes over a run."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

from pinnx.options import at_least, between, check_limits, option, positive


class Schedule(ABC):
    """A factor of the learning rate as a function of the step. Leaves are frozen dataclasses."""

    kind: ClassVar[str]

    @abstractmethod
    def factor(self, step: int, total: int) -> float:
        """The factor for a step, counted from 0, of a run of `total` steps."""


def _warm(step: int, warmup: int) -> float:
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


@final
@dataclass(frozen=True)
class Constant(Schedule):
    """The learning rate stays as it is."""

    kind: ClassVar[str] = "constant"
    warmup: int = option(0, "steps over which the learning rate first rises linearly to its value", at_least(0))

    def __post_init__(self) -> None:
        check_limits(self)

    def factor(self, step: int, total: int) -> float:
        return _warm(step, self.warmup)


@final
@dataclass(frozen=True)
class Exponential(Schedule):
    """The learning rate is multiplied by a constant at every step."""

    kind: ClassVar[str] = "exponential"
    rate: float = option(0.9995, "factor per step", positive, between(0.0, 1.0))
    warmup: int = option(0, "steps over which the learning rate first rises linearly to its value", at_least(0))

    def __post_init__(self) -> None:
        check_limits(self)

    def factor(self, step: int, total: int) -> float:
        return self.rate**step * _warm(step, self.warmup)


@final
@dataclass(frozen=True)
class Linear(Schedule):
    """The learning rate falls linearly to a fraction of itself at the last step."""

    kind: ClassVar[str] = "linear"
    final: float = option(0.0, "fraction of the learning rate that is left at the end", between(0.0, 1.0))
    warmup: int = option(0, "steps over which the learning rate first rises linearly to its value", at_least(0))

    def __post_init__(self) -> None:
        check_limits(self)

    def factor(self, step: int, total: int) -> float:
        return (1 - (1 - self.final) * step / max(total, 1)) * _warm(step, self.warmup)


@final
@dataclass(frozen=True)
class Cosine(Schedule):
    """The learning rate falls along half a cosine to a fraction of itself at the last step."""

    kind: ClassVar[str] = "cosine"
    final: float = option(0.0, "fraction of the learning rate that is left at the end", between(0.0, 1.0))
    warmup: int = option(0, "steps over which the learning rate first rises linearly to its value", at_least(0))

    def __post_init__(self) -> None:
        check_limits(self)

    def factor(self, step: int, total: int) -> float:
        falling = 0.5 * (1 + math.cos(math.pi * step / max(total, 1)))
        return (self.final + (1 - self.final) * falling) * _warm(step, self.warmup)


@final
@dataclass(frozen=True)
class Geometric(Schedule):
    """The learning rate falls by the same factor at every step, to a fraction of itself at the last step."""

    kind: ClassVar[str] = "geometric"
    final: float = option(0.01, "fraction of the learning rate that is left at the end", positive, between(0.0, 1.0))
    warmup: int = option(0, "steps over which the learning rate first rises linearly to its value", at_least(0))

    def __post_init__(self) -> None:
        check_limits(self)

    def factor(self, step: int, total: int) -> float:
        return self.final ** (step / max(total, 1)) * _warm(step, self.warmup)
