"""The run directory: what lies where, who may write it, and how a run is found in it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from pinnx.errors import InputError
from pinnx.run.files import WriteError, is_temporary, make_folder, read_json, write_json, write_text
from pinnx.run.locks import is_locked, lock
from pinnx.run.result import Result

if TYPE_CHECKING:  # comparing runs reads their files only and must not import torch
    from pinnx.case import Case


@final
class RunDirectory:
    """The files of a run. Nothing is written before `create`.

    Args:
        path: the directory.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.case = self.path / "case.toml"
        self.problem = self.path / "problem.json"
        self.environment = self.path / "environment.json"
        self.diagnostics = self.path / "diagnostics.json"
        self.comparison = self.path / "comparison.json"
        self.metrics = self.path / "metrics.h5"
        self.checkpoints = self.path / "checkpoints"
        self.solution = self.path / "solution.h5"
        self.instances = self.path / "instances.h5"
        self.plots = self.path / "plots"
        self.result = self.path / "result.json"
        self.report = self.path / "report.html"
        self.log = self.path / "log.txt"
        self.loggers = self.path / "loggers.json"
        self._lock = self.path / "lock"

    def __str__(self) -> str:
        return str(self.path)

    @property
    def resume_command(self) -> str:
        """What to type to go on with this run."""
        return f"pinnx resume {shlex.quote(str(self.path))}"

    @property
    def holds_run(self) -> bool:
        """Whether a run was started here: its case is the first thing that is written."""
        return self.case.is_file()

    def require_run(self) -> None:
        """Raise InputError if this is no run directory."""
        if not self.path.exists():
            raise InputError("no such run directory", file=self.path)
        if not self.path.is_dir():
            raise InputError("expected a run directory, found a file", file=self.path)
        if not self.holds_run:
            raise InputError(
                "not a run directory: expected the file case.toml in it, which `pinnx solve` writes", file=self.path
            )

    def require_free(self, sources: list[Path]) -> None:
        """Raise InputError if a new run, which brings these files of the user's, must not start here."""
        if self.holds_run:
            raise InputError(
                f"holds a run already{self._progress()}; go on with it by `{self.resume_command}`, or choose "
                "another directory with --output (output.directory)",
                file=self.path,
            )
        if self.path.exists() and not self.path.is_dir():
            raise InputError("is a file; expected a directory for the run", file=self.path)
        ours = {self._lock.name, *(file.name for file in sources)}  # left by a start that was cut short
        strangers = sorted(file.name for file in self._files() if not is_temporary(file) and file.name not in ours)
        if strangers:
            shown = ", ".join(strangers[:3]) + (", …" if len(strangers) > 3 else "")
            raise InputError(
                f"is not empty (it holds {shown}), and a run needs a directory of its own; choose another one with "
                "--output (output.directory)",
                file=self.path,
            )

    def create(self, case: Case, sources: list[Path]) -> None:
        """Write the resolved case, after the user's files that it needs: once it is there, the run can be resumed."""
        from pinnx.case import to_toml
        from pinnx.run.sources import copy_sources

        copy_sources(sources, self.path)
        write_text(self.case, to_toml(resolved_tables(case, sources)))

    def read_case(self) -> Case:
        """The case of this run.

        Raises:
            InputError: this is no run directory, or its case cannot be read.
        """
        from pinnx.case import load_case

        self.require_run()
        try:
            return load_case(self.case)
        except InputError as error:
            if error.key == "equation.name" and '"__main__:' in self.case.read_text(encoding="utf-8"):
                raise InputError(
                    "the equation was defined in a script or notebook, which is gone; to go on with runs later, define "
                    "it in a file of its own and import it",
                    file=self.case,
                ) from None
            raise

    def read_result(self) -> Result | None:
        """How the run ended, or None if it goes on or was killed."""
        return Result.read(self.result) if self.result.is_file() else None

    def add_session(self, environment: dict[str, Any]) -> None:
        """Note down where and how the run is started or resumed: earlier sessions are kept."""
        sessions = read_json(self.environment).get("sessions", []) if self.environment.is_file() else []
        write_json(self.environment, {"sessions": [*sessions, environment]})

    def say(self, sentence: str) -> None:
        """Add a line to the log."""
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with open(self.log, "a", encoding="utf-8") as file:
                file.write(f"{stamp} {sentence}\n")
        except OSError as error:
            raise WriteError(self.log, error) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing this run; the system lifts the lock when this process ends, killed or not.

        Raises:
            InputError: another process holds it.
        """
        make_folder(self.path)
        with lock(self._lock, "is writing this run"):
            yield

    @property
    def is_locked(self) -> bool:
        """Whether a process is writing this run now, as far as the file system tells."""
        return is_locked(self._lock)

    def _files(self) -> Iterator[Path]:
        return self.path.iterdir() if self.path.is_dir() else iter(())

    def _progress(self) -> str:
        try:
            result = self.read_result()
        except InputError:
            return ""
        return f", which is {result.status.outcome.value} at step {result.steps}" if result else ", unfinished"


def resolved_tables(case: Case, sources: list[Path]) -> dict[str, Any]:
    """The tables of the resolved case; an equation of the user's own is named by the copy beside the case."""
    tables = case.resolved()
    tables["title"] = case.heading  # else the file's name would be the title of a resumed run
    if sources:
        tables["equation"]["name"] = f"./{sources[0].name}:{type(case.equation).__qualname__}"
    return tables
