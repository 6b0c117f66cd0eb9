"""Time stepping of Fourier coefficients: diffusion implicit, the rest explicit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from pinnx.errors import PinnxError


def integrate(
    start: np.ndarray,
    times: Sequence[float],
    decay: np.ndarray,
    rate: Callable[[np.ndarray], np.ndarray],
    longest_step: float,
) -> np.ndarray:
    """Solve ŵ' = -decay ŵ + rate(ŵ) by Heun's method for the rate and Crank and Nicolson's for the decay.

    Both are of second order in the step.

    Args:
        start: coefficients (…), complex.
        times: ascending, the first one that of the start.
        decay: not negative, broadcasts with the coefficients.
        rate: the other terms.
        longest_step: the steps between two times are equal and at most this long.

    Returns:
        Coefficients at all times, (len(times), …).

    Raises:
        PinnxError: the solution blew up, since the steps are too long for it.
    """
    state, result = start, [start]
    for before, after in zip(times[:-1], times[1:], strict=True):
        count = max(1, math.ceil((after - before) / longest_step - 1e-9))
        step = (after - before) / count
        keep, damp = 1 - step / 2 * decay, 1 / (1 + step / 2 * decay)
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(count):
                first = rate(state)
                kept = keep * state
                guess = damp * (kept + step * first)
                state = damp * (kept + step / 2 * (first + rate(guess)))
        if not np.isfinite(state).all():
            raise PinnxError(f"the reference blew up before the time {after:g}: steps of {step:g} are too long for it")
        result.append(state)
    return np.stack(result)
