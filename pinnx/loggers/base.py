"""What a logger is: it shows the metrics of runs in a program of its own. Nothing of a run depends on it."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from pinnx.errors import MissingExtraError


@final
@dataclass(frozen=True)
class Session:
    """From a start of a run to its end or its next stop.

    Attributes:
        folder: the run directory.
        identity: hexadecimal digits that no other run has, the same in all sessions of one.
        title: heading of the run.
        case: the case with every default filled in, as TOML.
        options: its leaves by their place, such as "solver.steps".
        step: steps done before; metrics after it are written anew.
    """

    folder: Path
    identity: str
    title: str
    case: str
    options: Mapping[str, object]
    step: int


class Log(ABC):
    """What a logger writes in one session."""

    @abstractmethod
    def record(self, step: int, row: Mapping[str, float]) -> None:
        """Take the metrics of a step."""

    @abstractmethod
    def close(self, outcome: str, figures: Mapping[str, float]) -> None:
        """End the session.

        Args:
            outcome: "done", "stopped", "diverged" or "failed".
            figures: what the run came to, by name.
        """


class Logger(ABC):
    """The options of a logger. Leaves are frozen dataclasses.

    Attributes:
        kind: its name in a case file.
        packages: modules that it needs.
        extra: the extra of pinnx that installs them.
    """

    kind: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    def require(self) -> None:
        """Make sure that it can work here.

        Raises:
            MissingExtraError: a package is missing.
        """
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(package, self.extra, f"the logger {self.kind!r}")

    @abstractmethod
    def open(self, session: Session) -> Log:
        """Begin a session. What it writes to disk goes into the run directory unless an option says otherwise."""
