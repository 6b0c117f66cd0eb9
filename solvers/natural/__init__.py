"""Natural gradients: the residuals of a batch, their Gram matrix, and products with their Jacobian."""

from pinnx.solvers.natural.dense import DenseJacobian
from pinnx.solvers.natural.jacobian import Alone, Exchange, Jacobian
from pinnx.solvers.natural.layers import Layer, LayerwiseJacobian, Slots
from pinnx.solvers.natural.least_squares import LeastSquares, Linearization

__all__ = [
    "Alone",
    "DenseJacobian",
    "Exchange",
    "Jacobian",
    "Layer",
    "LayerwiseJacobian",
    "LeastSquares",
    "Linearization",
    "Slots",
]
