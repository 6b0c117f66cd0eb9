"""How parameters move: optimizers and learning-rate schedules."""

from pinnx.solvers.training.adam import Adam
from pinnx.solvers.training.auto import AutoOptimizer
from pinnx.solvers.training.base import Optimizer, Situation
from pinnx.solvers.training.lbfgs import Lbfgs
from pinnx.solvers.training.natural_gradient import Engd, Spring
from pinnx.solvers.training.quasi_newton import SelfScaled
from pinnx.solvers.training.schedules import Constant, Cosine, Exponential, Geometric, Linear, Schedule
from pinnx.solvers.training.soap import Soap
from pinnx.solvers.training.stages import Stage

__all__ = [
    "Adam",
    "AutoOptimizer",
    "Constant",
    "Cosine",
    "Engd",
    "Exponential",
    "Lbfgs",
    "Geometric",
    "Linear",
    "Optimizer",
    "Schedule",
    "SelfScaled",
    "Situation",
    "Soap",
    "Spring",
    "Stage",
]
