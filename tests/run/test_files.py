"""Files that are whole at any moment: metrics, checkpoints, JSON."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from pinnx.errors import InputError
from pinnx.run.checkpoints import Checkpoint, Checkpoints
from pinnx.run.files import WriteError, is_temporary, read_json, temporary, write_bytes, write_json
from pinnx.run.metrics import Metrics, read_metrics
from pinnx.run.result import Result
from pinnx.status import Outcome, Status


def rows() -> Metrics:
    metrics = Metrics()
    metrics.append({"step": 1, "loss": 0.5, "loss/residual": 0.25})
    metrics.append({"step": 4, "loss": 0.1 + 0.2, "relative_l2": 1e-3, "loss/residual": -2.0})
    metrics.append({"step": 6, "loss": 1e-300, "late": 5.0})
    return metrics


def test_metrics_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "metrics.h5"
    rows().write(path)
    table = read_metrics(path)
    assert list(table) == ["step", "loss", "loss/residual", "relative_l2", "late"]
    assert table["loss"].tolist() == [0.5, 0.1 + 0.2, 1e-300]
    np.testing.assert_array_equal(table["late"], [np.nan, np.nan, 5.0])
    again = Metrics.read(path)
    again.drop_after(4)
    assert again.table()["step"].tolist() == [1, 4]
    assert list(again.table()) == ["step", "loss", "loss/residual", "relative_l2"]  # as if "late" had never come


def test_metrics_are_readable_while_they_are_replaced(tmp_path: Path) -> None:
    path, metrics = tmp_path / "metrics.h5", rows()
    metrics.write(path)
    with h5py.File(path, "r") as reader:
        metrics.append({"step": 8, "loss": 3.0})
        metrics.write(path)
        assert reader["loss"].shape == (3,)
    assert read_metrics(path)["loss"].shape == (4,)


@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n" + bytes(50)])
def test_a_damaged_metrics_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"metrics\.h5: not a metrics file of pinnx"):
        read_metrics(path)


def test_a_foreign_hdf5_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "metrics.h5", "w") as file:
        file["image"] = np.zeros((3, 3))
    with pytest.raises(InputError, match="expected columns of one length, 'step' among them"):
        read_metrics(tmp_path / "metrics.h5")


def test_a_full_disk_is_one_error_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write_bytes(path, b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        WriteError, match=r"cannot write .*result\.json: No space left on device.*free some space"
    ) as error:
        write_bytes(path, b"new")
    assert error.value.exit_code == 4
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_temporary_files_are_told_from_others(tmp_path: Path) -> None:
    assert is_temporary(temporary(tmp_path / "case.toml"))
    assert not is_temporary(tmp_path / "case.toml")


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1.5, float("nan")], "b": {"c": float("inf")}})
    assert read_json(tmp_path / "a.json") == {"a": [1.5, None], "b": {"c": None}}


@pytest.mark.parametrize(
    ("content", "message"), [("{", "expected JSON"), ("[1]", "expected a JSON object, found list")]
)
def test_damaged_json_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_json(tmp_path / "a.json")


def test_result_comes_back_as_it_was(tmp_path: Path) -> None:
    errors = {"relative_l2": 1e-3, "relative_l1": 2e-3, "max_error": 0.5}
    status = Status(Outcome.STOPPED, "a sentence")
    result = Result(
        status, errors, {"zero": errors, "constant": None, "affine": None}, steps=7, seconds=3.5, notes=("n",)
    )
    result.write(tmp_path / "result.json")
    again = Result.read(tmp_path / "result.json")
    assert again.status == status
    assert again.errors == errors
    assert again.baselines == result.baselines
    assert again.steps_per_second == 2.0
    assert again.notes == ("n",)


def test_a_result_of_nobody_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "result.json", {"status": "splendid", "message": ""})
    with pytest.raises(InputError, match=r"not a result of pinnx.*'splendid'"):
        Result.read(tmp_path / "result.json")


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, 1.5, 2.5, {"position": torch.full((3,), float(step), dtype=torch.float64)})


def test_the_newest_good_checkpoint_is_taken(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (3, 20, 100):
        checkpoints.save(checkpoint(step))
    newest = checkpoints.files()[0]
    newest.write_bytes(newest.read_bytes()[:100])
    found = checkpoints.newest()
    assert found is not None
    assert found.step == 20
    assert torch.equal(found.training["position"], checkpoint(20).training["position"])


def test_if_no_checkpoint_is_good_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "step-00000004.pt").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"step-00000004\.pt: not a checkpoint of pinnx, or damaged"):
        Checkpoints(tmp_path).newest()


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"format": 1, "step": 1, "training": Path("evil")}, tmp_path / "step-00000001.pt")
    with pytest.raises(InputError, match="not a checkpoint of pinnx"):
        Checkpoints(tmp_path).newest()
