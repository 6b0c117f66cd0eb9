"""How parameters move: optimizers and learning-rate schedules."""

from pinnx.solvers.training.adam import Adam
from pinnx.solvers.training.base import Optimizer
from pinnx.solvers.training.lbfgs import Lbfgs
from pinnx.solvers.training.schedules import Constant, Cosine, Exponential, Linear, Schedule
from pinnx.solvers.training.soap import Soap

__all__ = ["Adam", "Constant", "Cosine", "Exponential", "Lbfgs", "Linear", "Optimizer", "Schedule", "Soap"]
