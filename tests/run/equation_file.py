"""A user's own equation, which the tests of runs name by its file; it imports a file beside it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from beside import RATE

from pinnx.domain import Box, Interval, Product
from pinnx.expr import Expr, Known, Unknown, dt, laplacian
from pinnx.problem import Equation, Problem
from pinnx.trial import Affine


@dataclass(frozen=True)
class Fading(Equation):
    """u_t = Δu/d − r·u on the unit box, with the solution e^{−rt}·Σx_i; its initial value is met by construction."""

    dimension: int = 2
    explode: bool = False
    known: bool = True

    def residual(self, u: Unknown) -> Expr:
        return dt(u) - laplacian(u) / self.dimension + RATE * u * (1e30 if self.explode else 1.0)

    def problem(self) -> Problem:
        box = Box([0.0] * self.dimension, [1.0] * self.dimension)
        trial = Affine(Known("t", lambda p: p.t), Known("g", lambda p: p.x.sum(-1)))
        exact = Known("u*", lambda p: torch.exp(-RATE * p.t) * p.x.sum(-1)) if self.known else None
        return Problem(self, Product(box, Interval(0.0, 1.0)), trial=trial, exact=exact, test_points=100)
