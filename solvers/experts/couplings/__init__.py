"""How experts are joined: not at all, at the faces of their blocks, by windows, by gates."""

from pinnx.solvers.experts.couplings.base import Coupling
from pinnx.solvers.experts.couplings.gated import Gated
from pinnx.solvers.experts.couplings.independent import Independent
from pinnx.solvers.experts.couplings.interface import Interface
from pinnx.solvers.experts.couplings.windows import Windows

__all__ = ["Coupling", "Gated", "Independent", "Interface", "Windows"]
