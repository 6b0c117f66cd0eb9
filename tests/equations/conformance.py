"""Every built-in equation in the conformance kit, with its oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from pinnx.equations import (
    AllenCahn,
    Burgers,
    ClassicalBurgers,
    Darcy,
    DiffusionSorption,
    FokkerPlanck,
    HamiltonJacobiBellman,
    Heat,
    LogFokkerPlanck,
    NavierStokes,
    Poisson,
    RandomBurgers,
    SineGordon,
)
from pinnx.expr import Points
from pinnx.problem import Equation
from pinnx.testing import EquationConformance
from tests.equations.oracles import ORACLES, Function

DIMENSIONS = (2, 5, 20)
EVEN = (2, 6, 20)

EQUATIONS: dict[str, list[Equation]] = {
    "allen-cahn": [AllenCahn(d, frequency=f) for d in DIMENSIONS for f in (0.0, 0.7)],
    "sine-gordon": [SineGordon(d, frequency=f) for d in DIMENSIONS for f in (0.0, 0.7)],
    "fokker-planck": [FokkerPlanck(d, drift=m) for d in (1, *DIMENSIONS) for m in ("isotropic", "anisotropic")]
    + [FokkerPlanck(3, horizon=2.5)],
    "hjb": [HamiltonJacobiBellman(d) for d in (1, *DIMENSIONS)]
    + [HamiltonJacobiBellman(d, cost="rosenbrock") for d in EVEN]
    + [HamiltonJacobiBellman(4, cost=c, horizon=0.6) for c in ("quadratic", "rosenbrock")],
    "burgers": [Burgers(d) for d in (1, *DIMENSIONS)] + [Burgers(3, viscosity=0.2)],
    "burgers-1d": [ClassicalBurgers(constraints=c) for c in ("hard", "soft")]
    + [ClassicalBurgers(viscosity=0.1, horizon=2.0)],
    "diffusion-sorption": [DiffusionSorption(), DiffusionSorption(law="rich", horizon=200.0, diffusion=2e-3)],
    "navier-stokes": [NavierStokes(), NavierStokes(viscosity=0.1, horizon=1.0)],
    "random-burgers": [RandomBurgers(), RandomBurgers(viscosity=0.3, ends="dirichlet")],
    "darcy": [Darcy()],
    "poisson": [Poisson(d, solution=s) for d in EVEN for s in ("cosines", "products", "quadratic")]
    + [Poisson(d) for d in (1, 5)],
    "heat": [Heat(d, initial=i) for d in (1, *DIMENSIONS) for i in ("soft", "hard")],
    "log-fokker-planck": [LogFokkerPlanck(d, initial=i) for d in (1, *DIMENSIONS) for i in ("soft", "hard")],
}


class BuiltIn(EquationConformance):
    """The kit with the oracle of the equation's class; subclasses name the equation."""

    name: ClassVar[str]

    def equations(self) -> Sequence[Equation]:
        return EQUATIONS[self.name]

    def oracle(self, equation: Equation, points: Points, *unknowns: Function) -> Tensor:
        return ORACLES[type(equation)](equation, points.tensor, *unknowns)
