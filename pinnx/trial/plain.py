"""The network itself, times a scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from pinnx.expr import Atom, Expr, multiply
from pinnx.trial.base import TrialSolution


@final
@dataclass(frozen=True)
class Plain(TrialSolution):
    """u = scale · f: no condition is built in, so all of them are soft.

    Attributes:
        scale: the typical size of u, taken from data known beforehand.
    """

    scale: float = 1.0

    def rewrite(self, atom: Atom) -> Expr:
        return multiply(self.scale, atom)
