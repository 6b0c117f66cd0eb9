"""The equations that pinnx knows, one a file; their parameters are dataclass fields."""

from __future__ import annotations

if __name__ != "pinnx.equations":  # reached through the link pinnx/equations, never by its bare name
    raise ImportError(
        "this folder is imported by its dotted name: write `import pinnx.equations`, not `import equations`"
    )

from pinnx.equations.allen_cahn import AllenCahn
from pinnx.equations.burgers import Burgers
from pinnx.equations.burgers_1d import ClassicalBurgers
from pinnx.equations.darcy import Darcy
from pinnx.equations.diffusion_sorption import DiffusionSorption
from pinnx.equations.fokker_planck import FokkerPlanck
from pinnx.equations.heat import Heat
from pinnx.equations.hjb import HamiltonJacobiBellman
from pinnx.equations.log_fokker_planck import LogFokkerPlanck
from pinnx.equations.navier_stokes import NavierStokes
from pinnx.equations.poisson import Poisson
from pinnx.equations.random_burgers import RandomBurgers
from pinnx.equations.sine_gordon import SineGordon

__all__ = [
    "AllenCahn",
    "Burgers",
    "ClassicalBurgers",
    "Darcy",
    "DiffusionSorption",
    "FokkerPlanck",
    "HamiltonJacobiBellman",
    "Heat",
    "LogFokkerPlanck",
    "NavierStokes",
    "Poisson",
    "RandomBurgers",
    "SineGordon",
]
