"""The training loop by itself: which rows, which checkpoints, which end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from pinnx.run import MemoryRecorder, RunDirectory, read_metrics, train
from pinnx.run.checkpoints import Checkpoints
from pinnx.run.recorder import DirectoryRecorder
from pinnx.status import Outcome
from tests.run.fakes import Walk


def recorder_in(folder: Path, checkpoint_every: int = 7) -> DirectoryRecorder:
    return DirectoryRecorder(RunDirectory(folder), checkpoint_every=checkpoint_every, keep=2)


def without_clock(table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: column for name, column in table.items() if name != "seconds"}


def test_rows_are_those_of_the_rhythm_the_evaluations_and_the_ends() -> None:
    recorder = MemoryRecorder()
    status = train(Walk(33, evaluate_every=10), recorder, every=8)
    assert status.outcome is Outcome.DONE
    table = recorder.history
    assert table["step"].tolist() == [1, 8, 10, 16, 20, 24, 30, 32, 33]
    measured = np.isfinite(table["relative_l2"])
    assert table["step"][measured].tolist() == [10, 20, 30, 33]
    assert (table["max_error"][measured] == 3 * np.abs(table["loss"][measured])).all()


def test_a_training_without_recorder_goes_to_its_end() -> None:
    training = Walk(5)
    assert train(training).ok
    assert training.step_number == 5


def test_newest_checkpoints_are_kept_and_metrics_reach_as_far(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    train(Walk(30), recorder, every=4)
    names = [file.name for file in Checkpoints(tmp_path / "checkpoints").files()]
    assert names == ["step-00000030.pt", "step-00000028.pt"]
    assert read_metrics(tmp_path / "metrics.h5")["step"][-1] == 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_step_and_resuming_gives_the_same_numbers(tmp_path: Path, number: int) -> None:
    whole = MemoryRecorder()
    train(Walk(40), whole, every=3)
    recorder = recorder_in(tmp_path)
    before = signal.getsignal(number)
    status = train(Walk(40, on_step=lambda step: step == 17 and os.kill(os.getpid(), number)), recorder, every=3)
    assert signal.getsignal(number) is before
    assert status.outcome is Outcome.STOPPED
    assert status.exit_code == 3
    assert "after step 17 of 40" in status.message
    again, training = recorder_in(tmp_path), Walk(40)
    checkpoint = again.checkpoints.newest()
    assert checkpoint is not None
    assert checkpoint.step == 17
    training.load_state_dict(checkpoint.training)
    again.restore(checkpoint.step)
    assert train(training, again, every=3).ok
    expected, found = without_clock(whole.history), without_clock(again.metrics.table())
    assert list(found) == list(expected)
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name], column)


def test_a_second_signal_interrupts_at_once(tmp_path: Path) -> None:
    def twice(step: int) -> None:
        if step == 9:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(Walk(40, on_step=twice), recorder_in(tmp_path))


def test_signals_are_the_caller_s_own_where_nothing_could_be_resumed() -> None:
    # A shell's background jobs ignore SIGINT, and so would these tests in one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(Walk(40, on_step=lambda step: step == 9 and os.kill(os.getpid(), signal.SIGINT)), MemoryRecorder())
    finally:
        signal.signal(signal.SIGINT, before)


def test_divergence_keeps_the_last_good_state_and_names_the_term(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    status = train(Walk(40, diverge_at=12), recorder, every=5)
    assert status.outcome is Outcome.DIVERGED
    assert status.exit_code == 4
    assert "step 12: loss/residual is not finite" in status.message
    assert "try a smaller learning rate" in status.message
    assert recorder.checkpoints.newest_step == 11
    assert read_metrics(tmp_path / "metrics.h5")["step"].tolist() == [1, 5, 10]


def test_slow_steps_get_checkpoints_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinnx.run.recorder.CHECKPOINT_SECONDS", 0.0)
    seen = []
    recorder = recorder_in(tmp_path, checkpoint_every=1000)
    train(Walk(4, on_step=lambda step: seen.append(recorder.checkpoints.newest_step)), recorder)
    assert seen == [None, 1, 2, 3]
