"""Tests of means: how many standard errors a sample mean lies from what it should be."""

from __future__ import annotations

import torch
from scipy import stats
from torch import Tensor


def standard_errors(samples: Tensor, truth: Tensor, rounding: float = 1e-9) -> Tensor:
    """How far the means lie from the truth, in standard errors: the absolute values |z|.

    Args:
        samples: independent samples along the first axis, (k, …).
        truth: the expectations, (…).
        rounding: a difference that counts as none, relative to 1 + |truth|.

    Returns:
        (…); infinite where a difference remains that samples without any spread cannot explain.
    """
    samples, truth = samples.detach(), truth.detach()
    difference = (samples.mean(0) - truth).abs() - rounding * (1 + truth.abs())
    error = samples.std(0) / len(samples) ** 0.5
    return torch.where(difference <= 0, torch.zeros_like(difference), difference / error)


def bonferroni_bound(count: int, samples: int, level: float = 1e-4) -> float:
    """The |z| that the largest of `count` correct means exceeds with a probability of `level` at most.

    Args:
        count: number of means.
        samples: number of samples of each; with few of them Student's law matters.
        level: probability of a false alarm.
    """
    return float(stats.t.isf(level / (2 * count), samples - 1))
