"""How collocation points are chosen."""

from pinnx.solvers.sampling.base import Law, Resampling, Sampler
from pinnx.solvers.sampling.generative import Aas, Das
from pinnx.solvers.sampling.importance import Importance
from pinnx.solvers.sampling.r3 import R3
from pinnx.solvers.sampling.rad import Rad
from pinnx.solvers.sampling.rar_d import RarD
from pinnx.solvers.sampling.uniform import Uniform

__all__ = ["R3", "Aas", "Das", "Importance", "Law", "Rad", "RarD", "Resampling", "Sampler", "Uniform"]
