"""Every built-in equation passes the conformance kit in several dimensions."""

from __future__ import annotations

from tests.equations.conformance import BuiltIn


class TestAllenCahn(BuiltIn):
    name = "allen-cahn"


class TestSineGordon(BuiltIn):
    name = "sine-gordon"


class TestFokkerPlanck(BuiltIn):
    name = "fokker-planck"


class TestHamiltonJacobiBellman(BuiltIn):
    name = "hjb"


class TestBurgers(BuiltIn):
    name = "burgers"


class TestClassicalBurgers(BuiltIn):
    name = "burgers-1d"


class TestPoisson(BuiltIn):
    name = "poisson"


class TestHeat(BuiltIn):
    name = "heat"


class TestLogFokkerPlanck(BuiltIn):
    name = "log-fokker-planck"


class TestDiffusionSorption(BuiltIn):
    name = "diffusion-sorption"


class TestNavierStokes(BuiltIn):
    name = "navier-stokes"


class TestRandomBurgers(BuiltIn):
    name = "random-burgers"


class TestDarcy(BuiltIn):
    name = "darcy"
