"""Weights & Biases: offline, to be sent by `wandb sync`, or online."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

from pinnx.loggers.base import Log, Logger, Session
from pinnx.options import option

STEP = "step"


@final
@dataclass(frozen=True)
class Wandb(Logger):
    """A run of Weights & Biases, written into the folder `wandb/` of the run directory.

    Nothing leaves this machine unless `mode` is "online"; `wandb sync runs/my_case/wandb/offline-run-*` sends it later.
    """

    kind: ClassVar[str] = "wandb"
    packages = ("wandb",)
    extra = "wandb"
    project: str = option("pinnx", "the project that the run belongs to")
    entity: str | None = option(None, "the user or team; online only")
    mode: Literal["offline", "online"] = option("offline", "whether anything is sent")

    def open(self, session: Session) -> Log:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        wandb: Any = importlib.import_module("wandb")
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            name=session.title,
            id=session.identity,
            dir=session.folder,
            mode=self.mode,
            config=dict(session.options),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True),
        )
        # a resumed run does the steps after its checkpoint again, and W&B's own count of steps cannot go back
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP)
        return _Run(run)


@final
class _Run(Log):
    def __init__(self, run: Any):
        self.run = run

    def record(self, step: int, row: Mapping[str, float]) -> None:
        self.run.log({**row, STEP: step})

    def close(self, outcome: str, figures: Mapping[str, float]) -> None:
        self.run.summary.update({**{f"result/{name}": value for name, value in figures.items()}, "outcome": outcome})
        self.run.finish(exit_code=0 if outcome in ("done", "stopped") else 1)
