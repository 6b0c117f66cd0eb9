"""A trained direction, named by its file."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, final

from pinnx.solvers.linear.base import Direction, LinearOperator, PreparedDirection
from pinnx.solvers.linear.directions.learned import LearnedDirection
from pinnx.solvers.linear.directions.loading import load_direction


@final
@dataclass(frozen=True)
class Trained(Direction):
    """A trained direction from a file that an earlier run, or `LearnedDirection.save`, has written."""

    kind: ClassVar[str] = "trained"

    model: Path = field(metadata={"doc": "the model file", "input": True})

    @cached_property
    def learned(self) -> LearnedDirection:
        """What the file holds.

        Raises:
            InputError: there is no such file, or it is no model file.
        """
        return load_direction(self.model)

    @property
    def symmetric(self) -> bool:
        return self.learned.symmetric

    @property
    def linear(self) -> bool:
        return self.learned.linear

    def prepare(self, operator: LinearOperator) -> PreparedDirection:
        return self.learned.prepare(operator)
