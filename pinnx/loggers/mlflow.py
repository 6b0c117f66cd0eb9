"""MLflow: a database in the run directory, or one that many runs share, or a server."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from pinnx.loggers.base import Log, Logger, Session
from pinnx.options import option

#: Metrics that MLflow takes at once, parameters likewise, and characters of a parameter's value.
METRICS, PARAMETERS, LETTERS = 1000, 100, 500
#: Seconds between two writes: each is a transaction of a database.
SECONDS = 5.0
_ENDS = {"done": "FINISHED", "stopped": "KILLED"}
_IDENTITY = "pinnx.run"


@final
@dataclass(frozen=True)
class Mlflow(Logger):
    """A database of MLflow; look at it with `mlflow ui --backend-store-uri sqlite:///runs/my_case/mlflow.db`.

    Nothing leaves this machine unless `uri` is that of a server; MLflow's own reports of usage are switched off.
    """

    kind: ClassVar[str] = "mlflow"
    packages = ("mlflow", "sqlalchemy", "alembic")
    extra = "mlflow"
    uri: str = option(
        "", 'where runs are kept: "sqlite:////shared/mlflow.db", "http://host:5000"; empty for the run directory'
    )
    experiment: str = option("pinnx", "the experiment that the run belongs to")

    def open(self, session: Session) -> Log:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        for name in ("mlflow", "alembic"):  # they tell how they set up their tables
            logging.getLogger(name).setLevel(logging.WARNING)
        client = importlib.import_module("mlflow.tracking").MlflowClient(
            tracking_uri=self.uri or f"sqlite:///{session.folder.absolute() / 'mlflow.db'}"
        )
        return _Run(client, self._run(client, session))

    def _run(self, client: Any, session: Session) -> str:
        """The number of the run, which an earlier session may have begun."""
        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            place = None if self.uri else (session.folder / "mlflow-artifacts").absolute().as_uri()
            experiment = client.create_experiment(self.experiment, artifact_location=place)
        else:
            experiment = found.experiment_id
        known = client.search_runs([experiment], f"tags.`{_IDENTITY}` = '{session.identity}'", max_results=1)
        if known:
            client.set_terminated(known[0].info.run_id, "RUNNING")
            return known[0].info.run_id
        tags = {_IDENTITY: session.identity, "pinnx.directory": str(session.folder.absolute())}
        run = client.create_run(experiment, tags=tags, run_name=session.title).info.run_id
        entry = importlib.import_module("mlflow.entities").Param
        options = [entry(name, str(value)[:LETTERS]) for name, value in session.options.items()]
        for start in range(0, len(options), PARAMETERS):
            client.log_batch(run, params=options[start : start + PARAMETERS])
        return run


@final
class _Run(Log):
    def __init__(self, client: Any, run: str):
        self.client, self.run, self.step = client, run, 0
        self._metric: Any = importlib.import_module("mlflow.entities").Metric
        self._waiting: list[Any] = []
        self._written = time.monotonic()

    def record(self, step: int, row: Mapping[str, float]) -> None:
        self.step, now = step, int(time.time() * 1000)
        self._waiting += [self._metric(name, value, now, step) for name, value in row.items()]
        if len(self._waiting) >= METRICS or time.monotonic() - self._written >= SECONDS:
            self._flush()

    def close(self, outcome: str, figures: Mapping[str, float]) -> None:
        self.record(self.step, {f"result/{name}": value for name, value in figures.items()})
        self._flush()
        self.client.set_tag(self.run, "pinnx.outcome", outcome)
        self.client.set_terminated(self.run, _ENDS.get(outcome, "FAILED"))

    def _flush(self) -> None:
        while self._waiting:
            self.client.log_batch(self.run, metrics=self._waiting[:METRICS])
            del self._waiting[:METRICS]
        self._written = time.monotonic()
