"""Loggers show what the metrics file holds, through an interruption too, and cannot harm a run."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pinnx.case import Case, parse_case
from pinnx.cli import main
from pinnx.errors import MissingExtraError
from pinnx.loggers import Log, Logger, Session
from pinnx.run import Manner, RunDirectory, execute, read_metrics, resume
from pinnx.solvers.base import Training
from pinnx.solvers.pinn import PinnTraining
from tests.small import POISSON

CASE = f"""
title = "a case with a logger"
seed = 71_993
device = "cpu"
{POISSON}steps = 24
precision = "float64"
[output]
every = 2
checkpoint_every = 10
loggers = [{{{{ kind = "{{kind}}" }}}}]
"""
MANNER = Manner(quiet=True, figures=False)


def interrupted_at(step: int) -> Callable[[Training], Training]:
    """Ctrl-C, twice, in the middle of a step."""

    def prepare(training: Training) -> Training:
        assert isinstance(training, PinnTraining)
        whole = training.step

        def one() -> dict[str, float]:
            if training.step_number == step:
                raise KeyboardInterrupt
            return whole()

        training.step = one  # type: ignore[method-assign]
        return training

    return prepare


def interrupted_and_resumed(kind: str, folder: Path) -> RunDirectory:
    """A run that is interrupted at step 17, seven steps after its checkpoint, and resumed."""
    path, case = folder / "run", parse_case(CASE.format(kind=kind))
    execute(case, path, manner=dataclasses.replace(MANNER, prepare=interrupted_at(17)))
    assert "interrupted at once" in (path / "log.txt").read_text()
    assert resume(path, manner=MANNER).status.ok
    assert "failed" not in (path / "log.txt").read_text()
    return RunDirectory(path)


def assert_as_in_file(found: Mapping[str, Mapping[int, float]], run: RunDirectory, rtol: float) -> None:
    """Every metric of the file, at every step, and no other."""
    table = read_metrics(run.metrics)
    steps = table.pop("step").astype(int)
    assert set(table) <= set(found)
    for name, column in table.items():
        expected = {int(step): value for step, value in zip(steps, column, strict=True) if value == value}
        assert list(found[name]) == list(expected), name
        if name != "seconds":
            np.testing.assert_allclose(list(found[name].values()), list(expected.values()), rtol=rtol)


def test_tensorboard_shows_the_metrics_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason='needs the extra "tensorboard"')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = interrupted_and_resumed("tensorboard", tmp_path)
    events = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()
    found = {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in tags["scalars"]}
    for tag in tags["scalars"]:
        assert len(events.Scalars(tag)) == len(found[tag]), f"{tag}: a step is there twice"
    assert_as_in_file(found, run, 1e-6)  # it keeps float32
    result = run.read_result()
    assert result is not None
    assert result.errors is not None
    assert found["result/relative_l2"] == {24: pytest.approx(result.errors["relative_l2"], rel=1e-6)}
    assert {"case/text_summary", "outcome/text_summary"} <= set(tags["tensors"])


@pytest.mark.filterwarnings("ignore")  # of the packages that it brings
def test_mlflow_shows_the_metrics_in_one_run(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason='needs the extra "mlflow"')
    pytest.importorskip("alembic", reason='needs the extra "mlflow"')
    from mlflow.tracking import MlflowClient

    run = interrupted_and_resumed("mlflow", tmp_path)
    client = MlflowClient(tracking_uri=f"sqlite:///{run.path / 'mlflow.db'}")
    (experiment,) = [each for each in client.search_experiments() if each.name == "pinnx"]
    (stored,) = client.search_runs([experiment.experiment_id])
    assert stored.info.status == "FINISHED"
    assert stored.info.run_name == "a case with a logger"
    assert stored.data.params["solver.steps"] == "24"
    assert stored.data.tags["pinnx.outcome"] == "done"
    found = {
        # the steps between checkpoint and interruption were done twice, with the same numbers
        name: dict(sorted((each.step, each.value) for each in client.get_metric_history(stored.info.run_id, name)))
        for name in stored.data.metrics
    }
    assert_as_in_file(found, run, 0)
    assert "result/relative_l2" in found
    assert {file.name for file in run.path.iterdir()} >= {"mlflow.db"}
    assert not Path("mlruns").exists()


def leveldb_records(content: bytes, start: int) -> Iterator[bytes]:
    """The records of a log of LevelDB's, as W&B writes it after a head of `start` bytes: blocks of 32 KiB, pieces of
    records with a checksum (4 bytes), a length (2) and a kind (1: whole, 2: first, 3: middle, 4: last)."""
    place, parts = 0, b""
    while place + 7 <= len(content):
        rest = 32_768 - (place + start) % 32_768
        if rest < 7:
            place += rest
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        parts = (b"" if kind in (1, 2) else parts) + content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield parts


@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason='needs the extra "wandb"')
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    run = interrupted_and_resumed("wandb", tmp_path)
    found: dict[str, dict[int, float]] = {}
    files = sorted((run.path / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    identities, titles = set(), set()
    for file in files:
        for data in leveldb_records(file.read_bytes()[7:], 7):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                identities.add(record.run.run_id)
                titles.add(record.run.display_name)
            if record.WhichOneof("record_type") == "history":
                row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                for name, value in row.items():
                    if not name.startswith("_") and name != "step":
                        found.setdefault(name, {})[row["step"]] = value
    assert identities == {json.loads(run.loggers.read_text())["identity"]}
    assert titles == {"a case with a logger"}
    assert_as_in_file({name: dict(sorted(values.items())) for name, values in found.items()}, run, 1e-12)


@pytest.mark.parametrize(
    ("kind", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow"), ("wandb", "wandb")]
)
def test_a_missing_package_is_told_with_its_extra(
    kind: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else found(name, *rest)
    )
    (tmp_path / "a.toml").write_text(CASE.format(kind=kind))
    monkeypatch.chdir(tmp_path)
    for command in (["solve"], ["check"]):
        assert main([*command, "a.toml"]) == 2
        message = capsys.readouterr().err
        assert f"the logger '{kind}' needs the package {package}: pip install \"pinnx[{kind}]\"" in message
    assert [file.name for file in tmp_path.iterdir()] == ["a.toml"]
    with pytest.raises(MissingExtraError):
        execute(parse_case(CASE.format(kind=kind)), tmp_path / "run", manner=MANNER)


@dataclass(frozen=True)
class Broken(Logger):
    """Fails at its tenth row, or when it is opened."""

    kind = "broken"
    rows: int = 10

    def open(self, session: Session) -> Log:
        if self.rows == 0:
            raise ConnectionError("nobody answers\nat all")
        return BrokenLog(self.rows)


class BrokenLog(Log):
    def __init__(self, rows: int):
        self.rows = rows

    def record(self, step: int, row: Mapping[str, float]) -> None:
        self.rows -= 1
        if self.rows == 0:
            raise TimeoutError("the server is gone")

    def close(self, outcome: str, figures: Mapping[str, float]) -> None:
        raise AssertionError("it was left out")


@pytest.mark.parametrize(("rows", "reason"), [(0, "ConnectionError: nobody answers"), (10, "TimeoutError: the server")])
def test_a_logger_that_fails_is_left_out(tmp_path: Path, rows: int, reason: str) -> None:
    case: Case = parse_case(CASE.format(kind="tensorboard"))
    case = dataclasses.replace(case, output=dataclasses.replace(case.output, loggers=(Broken(rows),)))
    assert execute(case, tmp_path / "run", manner=MANNER).status.ok
    log = (tmp_path / "run" / "log.txt").read_text()
    assert log.count("the logger broken failed and is left out") == 1
    assert reason in log
    assert len(read_metrics(tmp_path / "run" / "metrics.h5")["step"]) == 13
