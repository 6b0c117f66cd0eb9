"""A problem: an equation on a domain, with its conditions, trial solution and what is known of the answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, final

from pinnx.domain.base import Domain
from pinnx.expr import Expr, Input, Known, Unknown
from pinnx.family import Family
from pinnx.trial.base import TrialSolution
from pinnx.trial.plain import Plain


@final
@dataclass(frozen=True)
class Condition:
    """A soft condition: an expression that must vanish on a part of the domain.

    Attributes:
        name: of the loss term, such as "initial" or "boundary".
        residual: the expression, in the unknowns.
        domain: where it must vanish, with the same coordinates as the problem's domain.
        weight: factor of its mean square in the loss.
    """

    name: str
    residual: Expr
    domain: Domain
    weight: float = 1.0


class Equation(ABC):
    """A partial differential equation, stated once, as mathematics. Leaves are frozen dataclasses; their fields are the
    parameters.

    Attributes:
        unknowns: names of the unknown functions.
        inputs: names of known fields that each instance brings; empty unless `problem` gives a family of instances.
        references: bibliographic keys or full citations, for `pinnx show` and `pinnx cite`.
    """

    unknowns: ClassVar[tuple[str, ...]] = ("u",)
    inputs: ClassVar[tuple[str, ...]] = ()
    references: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def residual(self, *unknowns: Any, **kwargs: Any) -> Expr | tuple[Expr, ...]:
        """The expression, or one per equation of a system, that vanishes for the solution.

        Subclasses name their unknowns, and after them their inputs: `def residual(self, u): return laplacian(u) + u -
        u**3 - …`. (This signature is the one that type checkers let them replace.)
        """

    @abstractmethod
    def problem(self) -> Problem:
        """The domain, conditions, trial solution and exact solution, with `equation=self`."""

    def residuals(self) -> tuple[Expr, ...]:
        """The residuals with the equation's own unknowns and inputs, always as a tuple."""
        unknowns = [Unknown(name, index) for index, name in enumerate(self.unknowns)]
        inputs = [Input(name, index) for index, name in enumerate(self.inputs)]
        result = self.residual(*unknowns, *inputs)
        return result if isinstance(result, tuple) else (result,)

    def latex(self) -> str:
        """The equations in LaTeX, one a line, without dollar signs."""
        return r" \\ ".join(f"{residual.latex()} = 0" for residual in self.residuals())

    def _repr_latex_(self) -> str:
        return f"$$\\begin{{gathered}}{self.latex()}\\end{{gathered}}$$"


@final
@dataclass(frozen=True)
class Problem:
    """What a solver solves.

    Attributes:
        equation: gives the residuals.
        domain: where they must vanish, and from which law collocation points are drawn.
        trial: how the unknown is built from a network; one per unknown, or one for all.
        conditions: soft conditions, empty where the trial solution meets them all.
        exact: the exact solution or a reference of known accuracy, one per unknown; only ever used to measure errors.
        test_points: number of points of the error measure.
        instances: the family of instances, where the problem is one of many: an operator is solved for.
    """

    equation: Equation
    domain: Domain
    trial: TrialSolution | tuple[TrialSolution, ...] = Plain()
    conditions: tuple[Condition, ...] = ()
    exact: Known | tuple[Known, ...] | None = None
    test_points: int = 20_000
    instances: Family | None = None

    @property
    def trials(self) -> tuple[TrialSolution, ...]:
        """One trial solution per unknown."""
        return self.trial if isinstance(self.trial, tuple) else (self.trial,) * len(self.equation.unknowns)

    @property
    def exacts(self) -> tuple[Known, ...]:
        """One exact solution per unknown, or none."""
        return self.exact if isinstance(self.exact, tuple) else () if self.exact is None else (self.exact,)
