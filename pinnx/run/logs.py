"""Loggers of a run: they get every row that the metrics file gets, and cannot harm the run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, final

from pinnx.loggers.base import Log, Session
from pinnx.run.directory import RunDirectory
from pinnx.run.files import read_json, write_json
from pinnx.run.metrics import STEP
from pinnx.run.recorder import Recorder

if TYPE_CHECKING:
    from pinnx.case import Case
    from pinnx.run.loop import Clock
    from pinnx.run.result import Result
    from pinnx.solvers.base import Training


@final
class LoggedRecorder(Recorder):
    """Hands rows on to a recorder and to loggers.

    A logger that fails, such as one whose server does not answer, is left out from then on, and the run says so.

    Args:
        recorder: takes rows and checkpoints.
        case: names the loggers.
        run: its directory.
        step: steps done before this session.
        say: called with a sentence for the user.
    """

    def __init__(self, recorder: Recorder, case: Case, run: RunDirectory, step: int, say: Callable[[str], None]):
        self.inner, self._say = recorder, say
        self.resumable = recorder.resumable
        self._logs: dict[str, Log] = {}
        if case.output.loggers:
            session = _session(case, run, step)
            for number, logger in enumerate(case.output.loggers):
                name = f"{logger.kind} ({number + 1})" if number else logger.kind
                for log in self._tried(name, lambda logger=logger: logger.open(session)):
                    self._logs[name] = log

    def record(self, row: Mapping[str, float]) -> None:
        self.inner.record(row)
        metrics = {name: float(value) for name, value in row.items() if name != STEP}
        for name, log in list(self._logs.items()):
            list(self._tried(name, lambda log=log: log.record(int(row[STEP]), metrics)))

    def checkpoint_due(self, step: int) -> bool:
        return self.inner.checkpoint_due(step)

    def checkpoint(self, training: Training, clock: Clock) -> None:
        self.inner.checkpoint(training, clock)

    def say(self, sentence: str) -> None:
        self.inner.say(sentence)

    def close(self, outcome: str, result: Result | None = None) -> None:
        """End the session of every logger; a second call does nothing."""
        figures = {} if result is None else _figures(result)
        for name, log in list(self._logs.items()):
            list(self._tried(name, lambda log=log: log.close(outcome, figures)))
        self._logs = {}

    def _tried(self, name: str, call: Callable[[], Any]) -> Iterator[Any]:
        """The result of a call, or nothing where it fails."""
        try:
            yield call()
        except Exception as error:  # whatever a foreign package raises, the run goes on
            self._logs.pop(name, None)
            reason = str(error).strip().partition("\n")[0]
            sentence = f"the logger {name} failed and is left out: {type(error).__name__}: {reason}"
            self.inner.say(sentence)
            self._say(sentence)


def require_loggers(case: Case) -> None:
    """Make sure that a case's loggers can work; raises MissingExtraError if a package is missing."""
    for logger in case.output.loggers:
        logger.require()


def leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested tables, with their places: ("solver.steps", 2000)."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _session(case: Case, run: RunDirectory, step: int) -> Session:
    known = read_json(run.loggers) if run.loggers.is_file() else {"identity": uuid.uuid4().hex}
    write_json(run.loggers, known)
    text, options = run.case.read_text(encoding="utf-8"), dict(leaves(case.resolved()))
    return Session(run.path, known["identity"], case.heading, text, options, step)


def _figures(result: Result) -> dict[str, float]:
    """The numbers of a result."""
    numbers = {"loss": result.loss, "seconds": result.seconds, "network_evaluations": result.network_evaluations}
    numbers |= result.errors or {}
    return {name: float(value) for name, value in numbers.items() if value is not None}
