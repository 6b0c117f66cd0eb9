"""Small problems that the tests of solvers share."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pinnx.domain import Box, Interval, Product
from pinnx.expr import Known, Unknown, dt, laplacian
from pinnx.networks.base import Network
from pinnx.problem import Condition, Equation, Problem
from pinnx.trial import Affine, Plain


@dataclass(frozen=True)
class Decay(Equation):
    """u_t = Δu/d − u on the unit box, u = e^{−t}·Σx_i: initial data hard or soft."""

    dimension: int = 2
    hard: bool = True

    def residual(self, u: Unknown):
        return dt(u) - laplacian(u) / self.dimension + u

    def problem(self) -> Problem:
        domain = Product(Box([0.0] * self.dimension, [1.0] * self.dimension), Interval(0.0, 1.0))
        start = Known("g", lambda p: p.x.sum(-1))
        exact = Known("u*", lambda p: torch.exp(-p.t) * p.x.sum(-1))
        if self.hard:
            trial = Affine(Known("t", lambda p: p.t), start)
            return Problem(self, domain, trial=trial, exact=exact, test_points=500)
        (u,) = (Unknown("u"),)
        at_start = Product(Box([0.0] * self.dimension, [1.0] * self.dimension), Interval(0.0, 1e-12))
        initial = Condition("initial", u - start, at_start, weight=3.0)
        return Problem(self, domain, trial=Plain(), conditions=(initial,), exact=exact, test_points=500)


@dataclass(frozen=True)
class Coupled(Equation):
    """A system of two unknowns: u_t = v, v_t = −u, with u = cos t·x1, v = −sin t·x1."""

    unknowns = ("u", "v")

    def residual(self, u: Unknown, v: Unknown):
        return dt(u) - v, dt(v) + u

    def problem(self) -> Problem:
        domain = Product(Box([0.0], [1.0]), Interval(0.0, 1.0))
        t = Known("t", lambda p: p.t)
        trials = (Affine(t, Known("x1", lambda p: p.x[:, 0])), Affine(t, 0.0))
        exact = (
            Known("u*", lambda p: torch.cos(p.t) * p.x[:, 0]),
            Known("v*", lambda p: -torch.sin(p.t) * p.x[:, 0]),
        )
        return Problem(self, domain, trial=trials, exact=exact, test_points=400)


class Counting(Network):
    """Counts the rows that pass through the tail."""

    def __init__(self, network: Network):
        super().__init__()
        self.network, self.rows = network, 0

    def first_affine(self):
        return self.network.first_affine()

    def tail(self, hidden: torch.Tensor) -> torch.Tensor:
        self.rows += hidden.shape[0]
        return self.network.tail(hidden)
