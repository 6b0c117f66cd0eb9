"""Everything short of training: build a case, do a few steps, and tell what the whole would cost."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import torch

from pinnx.case import torch_device
from pinnx.run.description import describe
from pinnx.run.environment import device_name, peak_memory
from pinnx.run.logs import require_loggers

if TYPE_CHECKING:
    from pinnx.case import Case
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
        not counted), network_evaluations_per_step, seconds_per_evaluation of the error, estimated_seconds of the whole
        run, peak_memory_bytes, loss of the first step, device, threads, notes; and `diagnostics` of the estimators
        after these steps (see `pinnx.solvers.diagnostics`), where the solver has such.

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
    times: list[float] = []
    while len(times) < TIMED_STEPS and sum(times) < TIMED_SECONDS and training.step_number < training.total_steps:
        start = time.perf_counter()
        training.step()
        times.append(time.perf_counter() - start)
    steps = training.step_number - done
    start = time.perf_counter()
    training.evaluate()
    seconds_per_evaluation = time.perf_counter() - start
    seconds_per_step = statistics.median(times) if times else None
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
