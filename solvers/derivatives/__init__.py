"""Estimators of derivatives: exact ones, and stochastic ones with the bias of their squares corrected."""

from pinnx.solvers.derivatives.auto import Auto
from pinnx.solvers.derivatives.autodiff import Autodiff
from pinnx.solvers.derivatives.base import DerivativeEstimator
from pinnx.solvers.derivatives.sampled import SampledEstimator
from pinnx.solvers.derivatives.smoothing import Smoothing
from pinnx.solvers.derivatives.stochastic import Hutchinson, Sdgd
from pinnx.solvers.derivatives.taylor import Taylor

__all__ = [
    "Auto",
    "Autodiff",
    "DerivativeEstimator",
    "Hutchinson",
    "SampledEstimator",
    "Sdgd",
    "Smoothing",
    "Taylor",
]
