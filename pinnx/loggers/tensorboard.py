"""TensorBoard: event files in the run directory, for `tensorboard --logdir runs`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from pinnx.loggers.base import Log, Logger, Session
from pinnx.options import check_limits, option, positive

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


@final
@dataclass(frozen=True)
class TensorBoard(Logger):
    """Event files in the folder `tensorboard/` of the run directory; look at them with `tensorboard --logdir runs`."""

    kind: ClassVar[str] = "tensorboard"
    packages = ("tensorboard",)
    extra = "tensorboard"
    flush: float = option(10.0, "seconds after which new metrics are on disk", positive)

    def __post_init__(self) -> None:
        check_limits(self)

    def open(self, session: Session) -> Log:
        from torch.utils.tensorboard import SummaryWriter

        # a resumed run does the steps after its checkpoint again: TensorBoard drops what it has of them
        purge = session.step + 1 if session.step else None
        folder = str(session.folder / "tensorboard")
        writer = SummaryWriter(folder, purge_step=purge, flush_secs=max(1, round(self.flush)))
        if not session.step:
            writer.add_text("case", "\n".join(f"    {line}" for line in session.case.splitlines()))
        return _Events(writer, session.step)


@final
class _Events(Log):
    def __init__(self, writer: SummaryWriter, step: int):
        self.writer, self.step = writer, step

    def record(self, step: int, row: Mapping[str, float]) -> None:
        self.step = step
        for name, value in row.items():
            self.writer.add_scalar(name, value, step)

    def close(self, outcome: str, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self.writer.add_scalar(f"result/{name}", value, self.step)
        self.writer.add_text("outcome", outcome, self.step)
        self.writer.close()
