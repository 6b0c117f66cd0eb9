"""From a case to a run directory, and on with a run that stopped."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch

from pinnx.case import torch_device
from pinnx.errors import InputError
from pinnx.run.checkpoints import Checkpoint, Checkpoints
from pinnx.run.comparison_table import comparison_lines
from pinnx.run.description import describe
from pinnx.run.directory import RunDirectory, resolved_tables
from pinnx.run.environment import environment, peak_memory
from pinnx.run.files import WriteError, write_json
from pinnx.run.logs import LoggedRecorder, leaves, require_loggers
from pinnx.run.loop import Clock, train
from pinnx.run.progress import Progress, progress_for
from pinnx.run.recorder import DirectoryRecorder
from pinnx.run.reporting import write_figures_and_report
from pinnx.run.result import Result
from pinnx.run.sources import sources_of
from pinnx.solvers.base import Training
from pinnx.solvers.constrained.family_solution import FamilySolution
from pinnx.solvers.solution import Answer, Solution
from pinnx.status import Outcome, Status

if TYPE_CHECKING:
    from pinnx.case import Case

#: Seconds that the draws, and the steps, of the diagnostics at the end of a run take at most, if steps are quick.
DIAGNOSTICS_SECONDS = 0.2

#: What may differ between a run and the case that it is resumed with: it changes no step.
_FREE = ("title", "device", "threads", "output")


def _unchanged(training: Training) -> Training:
    return training


@final
@dataclass(frozen=True)
class Manner:
    """How a run is carried out: nothing here changes a number of it.

    Attributes:
        quiet: print nothing.
        figures: draw figures and write the report at the end; `pinnx report` makes them later.
        stop_on: signals that end the run at the next step boundary, besides SIGINT and SIGTERM.
        prepare: called with the training before anything is written; returns the one to run in its place.
    """

    quiet: bool = False
    figures: bool = True
    stop_on: tuple[signal.Signals, ...] = ()
    prepare: Callable[[Training], Training] = field(default_factory=lambda: _unchanged)


def execute(
    case: Case, directory: Path | str, *, resume: bool = False, quiet: bool = False, manner: Manner | None = None
) -> Result:
    """Solve a case and write a run directory.

    Args:
        case: what to solve, and how.
        directory: of the run, which must not hold one yet.
        resume: go on if the directory holds a run of this case; start one if it does not.
        quiet: print nothing.
        manner: how it is carried out; by default `Manner(quiet)`.

    Raises:
        InputError: the case cannot be built, or the directory cannot be used; nothing is written then.
        WriteError: a file cannot be written; what was written before can be resumed.
    """
    run, manner = RunDirectory(directory), manner or Manner(quiet)
    sources = sources_of(case)
    if resume and run.holds_run:
        return _go_on(run, _same_case(case, run, sources), manner)
    run.require_free(sources)
    require_loggers(case)
    with use_threads(case.threads):
        training = manner.prepare(case.start(torch_device(case.device)))
        with run.locked():
            run.require_free(sources)  # another process may have been quicker
            run.create(case, sources)
            return _train(case, training, run, manner)


def resume(directory: Path | str, *, quiet: bool = False, manner: Manner | None = None) -> Result:
    """Go on with a run from its newest checkpoint; on a CPU its metrics are, bit for bit, those of a run never stopped.

    Args:
        directory: of the run; a run that is done has only its figures and its report made again.
        quiet: print nothing.
        manner: how it is carried out; by default `Manner(quiet)`.

    Raises:
        InputError: this is no run directory, or another process is writing it.
    """
    run = RunDirectory(directory)
    return _go_on(run, run.read_case(), manner or Manner(quiet))


def load_solution(directory: Path | str) -> Any:
    """The solution of a run as its newest checkpoint holds it, also while the run goes on.

    Returns:
        A `Solution`; of a linear system, a `LinearSystemSolution`.

    Raises:
        InputError: this is no run directory, or there is no checkpoint yet.
    """
    run = RunDirectory(directory)
    return solution_of(run, run.read_case())[0]


def function_of(run: RunDirectory, case: Case) -> tuple[Solution, int]:
    """The solution of a run and the step it is from; raises InputError where it is no function."""
    solution, step = solution_of(run, case)
    if isinstance(solution, FamilySolution):
        raise InputError(
            "the run learned an operator for a family of instances: there is no one function to evaluate; "
            "instances.h5 holds its held-out instances, and pinnx.load(directory).solve(instances) solves others",
            file=run.path,
        )
    if not isinstance(solution, Solution):
        raise InputError(
            "the run solved a linear system: there is no function to evaluate; x.h5 holds the solution vector, and "
            "direction.pt the direction, if one was trained",
            file=run.path,
        )
    return solution, step


def solution_of(run: RunDirectory, case: Case) -> tuple[Answer, int]:
    """What a run came to and the step it is from; on the CPU, if the run's device is not there."""
    checkpoint = Checkpoints(run.checkpoints).newest()
    if checkpoint is None:
        raise InputError("has no checkpoint yet; resume the run, or wait for its first one", file=run.path)
    try:
        device = torch_device(case.device)
    except InputError:
        device = torch.device("cpu")
    training = case.start(device)
    fresh = training.state_dict()
    # A generator of another kind of device has a state of another shape; a solution needs none.
    usable = {
        key: fresh[key] if _foreign(value, fresh.get(key)) else value for key, value in checkpoint.training.items()
    }
    _load(training, dataclasses.replace(checkpoint, training=usable), run)
    return training.solution(), checkpoint.step


def _go_on(run: RunDirectory, case: Case, manner: Manner) -> Result:
    run.require_run()
    require_loggers(case)
    with run.locked(), use_threads(case.threads):
        return _train(case, manner.prepare(case.start(torch_device(case.device))), run, manner)


def _train(case: Case, training: Training, run: RunDirectory, manner: Manner) -> Result:
    """Train from the newest checkpoint, if there is one, and write all files."""
    device = torch_device(case.device)
    recorder = DirectoryRecorder(run, checkpoint_every=case.output.checkpoint_every, keep=case.output.keep)
    clock = _restore(training, recorder, run)
    first = training.step_number
    run.add_session({**environment(case.seed, device), "from_step": first})
    write_json(run.problem, describe(case.equation))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    progress = progress_for(quiet=manner.quiet)
    run.say(f"start: {case.heading}" if first == 0 else f"resumed after step {first}")
    for sentence in (*training.notes, *([f"going on after step {first}"] if first else [])):
        progress.say(sentence)
    logged = LoggedRecorder(recorder, case, run, first, progress.say)
    try:
        status = train(training, logged, progress, every=case.output.every, clock=clock, stop_on=manner.stop_on)
        progress.stop()
        result = _measure(case, training, run, status, recorder, clock)
        logged.close(status.outcome.value, result)
    except KeyboardInterrupt:
        logged.close(Outcome.STOPPED.value)
        return _interrupted(run, training)
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        with suppress(WriteError):  # the disk may be full
            run.say(f"{Outcome.FAILED.value}: {reason}")
        raise
    finally:
        progress.stop()
        logged.close(Outcome.FAILED.value)
    _finish(training, run, result, progress, figures=manner.figures)
    return result


def _measure(
    case: Case, training: Training, run: RunDirectory, status: Status, recorder: DirectoryRecorder, clock: Clock
) -> Result:
    """Errors beside the baselines, and what they cost; written before anything else can fail."""
    errors = training.evaluate()
    baselines = {name: error.as_dict() if error else None for name, error in training.baselines().items()}
    device = torch_device(case.device)
    losses = recorder.metrics.table().get("loss")
    clock.tick()
    result = Result(
        status=_with_advice(status, run),
        errors=errors.as_dict() if errors else None,
        baselines=baselines,
        steps=training.step_number,
        total_steps=training.total_steps,
        seconds=clock.seconds,
        wall_seconds=clock.wall_seconds,
        network_evaluations=training.network_evaluations,
        peak_memory_bytes=peak_memory(device),
        parameters=training.parameters,
        seed=case.seed,
        device=str(device),
        loss=float(losses[-1]) if losses is not None and len(losses) else None,
        notes=training.notes,
        directory=run.path,
    )
    result.write(run.result)
    run.say(f"{result.status.outcome.value}: {result.status.message}")
    return result


def _finish(training: Training, run: RunDirectory, result: Result, progress: Progress, *, figures: bool) -> None:
    """Figures and report, for all but a run that was asked to end soon; then the table of errors."""
    if figures and result.status.outcome is Outcome.DONE:
        write_diagnostics(run, training)
    if figures and result.status.outcome is not Outcome.STOPPED:
        comparison = training.finish(run.path, progress.say)
        if comparison is not None:
            write_json(run.comparison, comparison)
        write_figures_and_report(run, training.solution(), training.step_number)
        for sentence in [] if comparison is None else comparison_lines(comparison):
            progress.say(sentence)
        if comparison is not None and result.errors is None:
            return
    progress.finish(result)


def write_diagnostics(run: RunDirectory, training: Training) -> None:
    """Measure the estimator of derivatives at the solution reached; takes a few steps' time."""
    diagnostics = training.diagnose("own", DIAGNOSTICS_SECONDS)
    if diagnostics is not None:
        write_json(run.diagnostics, diagnostics.as_dict())


def _with_advice(status: Status, run: RunDirectory) -> Status:
    if status.outcome is not Outcome.STOPPED:
        return status
    return Status(status.outcome, f"{status.message}; go on with `{run.resume_command}`")


def _interrupted(run: RunDirectory, training: Training) -> Result:
    step = Checkpoints(run.checkpoints).newest_step or 0
    sentence = f"interrupted at once; the newest checkpoint is that of step {step}; go on with `{run.resume_command}`"
    run.say(sentence)
    return Result(Status(Outcome.STOPPED, sentence), steps=step, total_steps=training.total_steps, directory=run.path)


def _restore(training: Training, recorder: DirectoryRecorder, run: RunDirectory) -> Clock:
    """Bring training and metrics to the newest checkpoint, or to the beginning if there is none."""
    checkpoint = recorder.checkpoints.newest()
    recorder.restore(checkpoint.step if checkpoint else 0)
    if checkpoint is None:
        return Clock()
    fresh = training.state_dict()
    if any(_foreign(value, fresh.get(key)) for key, value in checkpoint.training.items()):
        raise InputError("was made on another kind of device; resume it on that one", file=run.path, key="device")
    _load(training, checkpoint, run)
    return Clock(checkpoint.seconds, checkpoint.wall_seconds)


def _load(training: Training, checkpoint: Checkpoint, run: RunDirectory) -> None:
    try:
        training.load_state_dict(checkpoint.training)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = str(error).strip().replace("\n", " ")
        raise InputError(
            f"the checkpoint of step {checkpoint.step} does not fit the case in case.toml or this version of pinnx; "
            f"neither may change between start and resume ({type(error).__name__}: {reason})",
            file=run.checkpoints,
        ) from None


def _foreign(value: Any, fresh: Any) -> bool:
    """Whether a generator's state, a tensor of bytes, is that of another kind of generator."""
    return (
        isinstance(value, torch.Tensor)
        and isinstance(fresh, torch.Tensor)
        and value.dtype == torch.uint8
        and value.shape != fresh.shape
    )


def _same_case(case: Case, run: RunDirectory, sources: list[Path]) -> Case:
    """The run's own case, if the one asked for differs from it in nothing that changes a step.

    Raises:
        InputError: it differs; the message names the keys.
    """
    stored = run.read_case()
    old = dict(leaves(resolved_tables(stored, [Path(run.path, file.name) for file in sources])))
    new = dict(leaves(resolved_tables(case, sources)))
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key) and key.partition(".")[0] not in _FREE]
    keys += [file.name for file in sources if file.read_bytes() != _content(run.path / file.name)]
    if keys:
        shown = "; ".join(f"{key} is {old.get(key, '…')!r} there, {new.get(key, '…')!r} here" for key in keys[:5])
        raise InputError(
            f"holds a run of another case: {shown}; choose another directory with --output, or go on with that case "
            f"by `{run.resume_command}`",
            file=run.path,
        )
    return dataclasses.replace(stored, device=case.device, threads=case.threads)


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


@contextmanager
def use_threads(count: int | None) -> Iterator[None]:
    """So many CPU threads for the time of a run."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
