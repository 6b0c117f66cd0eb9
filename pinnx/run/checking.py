"""Everything short of training: build a case, do a few steps, and tell what the whole would cost."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from pinnx.case import torch_device
from pinnx.run.description import describe
from pinnx.run.environment import device_name, peak_memory
from pinnx.run.logs import require_loggers

if TYPE_CHECKING:
    from pinnx.case import Case
    from pinnx.solvers.base import Training
    from pinnx.solvers.diagnostics import Which

#: Steps that are timed at most, and the seconds that they may take together.
TIMED_STEPS, TIMED_SECONDS = 7, 10.0


def check(case: Case, which: Which = "compact") -> dict[str, Any]:
    """Build a case and do a few of its steps; nothing is written.

    Args:
        case: the case.
        which: the estimators of derivatives that are compared.

    Returns:
        Figures by name: equation, dimension, parameters, steps, seconds_per_step (median, after a first step that is
        not counted; the mean over the steps of all stages, where there are several), network_evaluations_per_step,
        seconds_per_evaluation of the error, estimated_seconds of the whole run, peak_memory_bytes, loss of the first
        step, device, threads, notes; and `diagnostics` of the estimators after these steps (see
        `pinnx.solvers.diagnostics`), where the solver has such.

    Raises:
        InputError: the case cannot be built.
        MissingExtraError: a logger that it names needs a package that is missing.
        DivergedError: a first step already gives a loss that is not finite.
    """
    require_loggers(case)
    before = torch.get_num_threads()
    if case.threads is not None:
        torch.set_num_threads(case.threads)
    try:
        return _check(case, which)
    finally:
        torch.set_num_threads(before)


def _check(case: Case, which: Which) -> dict[str, Any]:
    device = torch_device(case.device)
    training = case.start(device)
    first = training.step()
    counted, done = training.network_evaluations, training.step_number
    seconds_per_step = _seconds_per_step(training)
    steps = training.step_number - done
    start = time.perf_counter()
    training.evaluate()
    seconds_per_evaluation = time.perf_counter() - start
    if seconds_per_step is not None:
        seconds_per_step = _over_stages(case, device, seconds_per_step, training.total_steps)
    problem = describe(case.equation)
    evaluations = training.total_steps // training.evaluate_every + 1
    estimate = (
        None
        if seconds_per_step is None
        else training.total_steps * seconds_per_step + evaluations * seconds_per_evaluation
    )
    memory = peak_memory(device)  # before others than the case's own estimator take theirs
    diagnostics = training.diagnose(which)
    residuals = [f"{residual['text']} = 0" for residual in problem["residuals"]]
    return {
        "equation": residuals if len(residuals) > 1 else residuals[0],
        "dimension": problem["dimension"],
        "parameters": training.parameters,
        "steps": training.total_steps,
        "seconds_per_step": seconds_per_step,
        "seconds_per_evaluation": seconds_per_evaluation,
        "estimated_seconds": estimate,
        "network_evaluations_per_step": (training.network_evaluations - counted) / steps if steps else None,
        "peak_memory_bytes": memory,
        "loss": first["loss"],
        "device": f"{device} ({device_name(device)})",
        "threads": torch.get_num_threads(),
        "notes": list(training.notes),
        **({} if diagnostics is None else {"diagnostics": diagnostics.as_dict()}),
    }


def _seconds_per_step(training: Training) -> float | None:
    """The median of a few steps; None where there is none left."""
    times: list[float] = []
    while len(times) < TIMED_STEPS and sum(times) < TIMED_SECONDS and training.step_number < training.total_steps:
        start = time.perf_counter()
        training.step()
        times.append(time.perf_counter() - start)
    return statistics.median(times) if times else None


def _over_stages(case: Case, device: torch.device, first: float, total: int) -> float:
    """The mean seconds of a step over all stages, each timed from the start; `first` is that of the first stage."""
    stages = getattr(case.solver, "stage", ())
    seconds = first * (stages[0].steps if stages else total)
    for stage in stages[1:]:
        alone = replace(case, solver=replace(case.solver, stage=(stage,))).start(device)  # type: ignore[call-arg]
        alone.step()
        seconds += stage.steps * (_seconds_per_step(alone) or first)
    return seconds / total
