"""What a run came to, as `result.json` holds it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from pinnx.errors import InputError
from pinnx.run.files import read_json, write_json
from pinnx.status import Outcome, Status

#: The three errors, by name, or None where there is no reference.
ErrorTable = dict[str, float]


@final
@dataclass(frozen=True)
class Result:
    """The end of a run.

    Attributes:
        status: how it ended, and what to do about it.
        errors: `relative_l2`, `relative_l1`, `max_error` against the reference, or None without one.
        baselines: the same errors of the trivial answers, `zero`, `constant` and `affine`, or of those of a family of
            instances; None where not measured.
        steps: steps done.
        total_steps: steps asked for.
        seconds: time spent in steps, over all sessions of the run.
        wall_seconds: time altogether, with evaluations and writing.
        network_evaluations: evaluations of the network at a point.
        peak_memory_bytes: on a GPU what PyTorch allocated there, else of the process.
        parameters: trainable parameters.
        seed: of the run.
        device: that it ran on.
        loss: of the last recorded step.
        notes: what was chosen, and why.
        directory: the run directory, None for a run in memory.
    """

    status: Status
    errors: ErrorTable | None = None
    baselines: dict[str, ErrorTable | None] = field(default_factory=dict)
    steps: int = 0
    total_steps: int = 0
    seconds: float = 0.0
    wall_seconds: float = 0.0
    network_evaluations: int = 0
    peak_memory_bytes: int | None = None
    parameters: int = 0
    seed: int | None = None
    device: str = ""
    loss: float | None = None
    notes: tuple[str, ...] = ()
    directory: Path | None = None

    @property
    def steps_per_second(self) -> float | None:
        """Speed of the steps alone, without evaluations and writing."""
        return self.steps / self.seconds if self.seconds > 0 else None

    @property
    def baseline_names(self) -> tuple[str, ...]:
        """Those that were measured, or the usual ones."""
        return tuple(self.baselines) or BASELINE_NAMES

    @property
    def exit_code(self) -> int:
        """What the command line returns."""
        return self.status.exit_code

    def as_dict(self) -> dict[str, Any]:
        """The content of `result.json`."""
        plain = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        for name in ("status", "errors", "baselines", "directory"):
            plain.pop(name)
        errors: dict[str, float | None] = {name: (self.errors or {}).get(name) for name in ERROR_NAMES}
        return {
            "status": self.status.outcome.value,
            "message": self.status.message,
            **errors,
            "baselines": {name: self.baselines.get(name) for name in self.baseline_names},
            **plain,
            "steps_per_second": self.steps_per_second,
        }

    def write(self, path: Path) -> None:
        """Write `result.json`."""
        write_json(path, self.as_dict())

    @classmethod
    def read(cls, path: Path) -> Result:
        """The result in a `result.json`.

        Raises:
            InputError: the file is missing, or holds something else.
        """
        content = read_json(path)
        try:
            status = Status(Outcome(content["status"]), str(content["message"]))
            errors = {name: float(content[name]) for name in ERROR_NAMES if content[name] is not None}
            names = {each.name for each in dataclasses.fields(cls)} - {"status", "errors", "directory", "notes"}
            plain = {name: content[name] for name in names if name in content}
            notes = tuple(map(str, content.get("notes", ())))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"not a result of pinnx: {type(error).__name__} at {error}", file=path) from None
        return cls(status, errors or None, notes=notes, directory=path.parent, **plain)


ERROR_NAMES = ("relative_l2", "relative_l1", "max_error")
BASELINE_NAMES = ("zero", "constant", "affine")
