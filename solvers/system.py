"""The residuals of a problem as functions of a network: equation × trial solution × estimator."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.expr import Atom, Evaluator, Expr, Points, Unknown, Value, atoms, evaluate
from pinnx.networks.base import Network
from pinnx.problem import Problem
from pinnx.solvers.derivatives.base import DerivativeEstimator


def unknowns_of(problem: Problem) -> tuple[Unknown, ...]:
    """The unknowns of a problem's equation, in the order of the network's outputs."""
    return tuple(Unknown(name, index) for index, name in enumerate(problem.equation.unknowns))


def in_network(problem: Problem, expr: Expr) -> Expr:
    """An expression in the unknowns as one in the atoms of the network, through the trial solutions."""
    for unknown, trial in zip(unknowns_of(problem), problem.trials, strict=True):
        expr = trial.apply(expr, unknown)
    return expr


def trial_values(problem: Problem, network: Network, points: Points) -> Tensor:
    """The trial solution at points: (n, m), in the points' dtype."""
    outputs = network(points.tensor)
    unknowns = unknowns_of(problem)
    values = {Value(unknown): outputs[:, unknown.index] for unknown in unknowns}
    return torch.stack([evaluate(in_network(problem, unknown), points, values) for unknown in unknowns], dim=1)


def require_single(problem: Problem, method: str) -> None:
    """Raise UnsupportedError for a problem that is a family of instances.

    Args:
        problem: any problem.
        method: who asks, such as "the solver 'pinn'".
    """
    if problem.instances is not None:
        raise UnsupportedError(
            f"{method} solves one problem, and {type(problem.equation).__name__} is a family of instances with "
            "different data; the solver 'hard-constraint' learns all of them"
        )


class ResidualSystem:
    """Everything that must vanish, ready to be evaluated.

    Args:
        problem: the problem.
        network: the unknown's network, with one output per unknown.
        derivatives: the estimator asked for; `estimator` is the one chosen and `note` says why.

    Raises:
        UnsupportedError: the estimator cannot serve the equation or the network, or their sizes do not fit.
    """

    def __init__(self, problem: Problem, network: Network, derivatives: DerivativeEstimator):
        require_single(problem, "a residual at random points")
        self.problem, self.network = problem, network
        self.residuals = tuple(in_network(problem, residual) for residual in problem.equation.residuals())
        self.conditions = tuple(in_network(problem, condition.residual) for condition in problem.conditions)
        for expr in (*self.residuals, *self.conditions):
            if expr.rank:
                raise UnsupportedError(f"a residual must be a scalar, got the vector {expr}")
        requests = atoms(*self.residuals, *self.conditions)
        self.estimator, self.note = derivatives.choose(network, requests)

    def residual_values(self, points: Points, generator: torch.Generator) -> list[Tensor]:
        """One tensor (n,) per equation."""
        return self.values(self.residuals, points, generator)

    def condition_values(self, index: int, points: Points, generator: torch.Generator) -> Tensor:
        """The residual of one soft condition, (n,)."""
        return self.values([self.conditions[index]], points, generator)[0]

    def values(self, expressions: Iterable[Expr], points: Points, generator: torch.Generator) -> list[Tensor]:
        """Expressions in the network's atoms, (n,) each."""
        expressions = list(expressions)
        requests: tuple[Atom, ...] = atoms(*expressions)
        values = self.estimator.estimate(self.network, points, requests, generator)
        evaluator = Evaluator(points, values)
        return [evaluator(expr).expand(len(points)) for expr in expressions]
