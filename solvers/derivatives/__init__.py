"""Estimators of derivatives: exact, by automatic differentiation and by Taylor mode in the first layer's row space."""

from pinnx.solvers.derivatives.auto import Auto
from pinnx.solvers.derivatives.autodiff import Autodiff
from pinnx.solvers.derivatives.base import DerivativeEstimator
from pinnx.solvers.derivatives.taylor import Taylor

__all__ = ["Auto", "Autodiff", "DerivativeEstimator", "Taylor"]
