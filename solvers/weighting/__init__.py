"""Weights of points and terms that change during a training."""

from pinnx.solvers.weighting.base import Circumstances, Weighting, Weights
from pinnx.solvers.weighting.causal import Causal
from pinnx.solvers.weighting.gradient_norm import GradientNorm
from pinnx.solvers.weighting.self_adaptive import SelfAdaptive

__all__ = ["Causal", "Circumstances", "GradientNorm", "SelfAdaptive", "Weighting", "Weights"]
