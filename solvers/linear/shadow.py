"""The safeguard: conjugate gradients that run beside an untrusted direction, and offer it their iterate.

Let x be the iterate and s that of (preconditioned) conjugate gradients on the same system. In every iteration x is
minimised, in the A-norm of its error, over x + span{p, s - x}, p being the direction of the network made A-orthogonal
to earlier ones. So the error of x is never larger than that of s: the loop needs no more iterations than conjugate
gradients, whatever the network does. Since A(s - x) = r - r_s, the offer costs no product with A; the shadow's own
step costs one.

Where the direction is far ahead the shadow rests, and where it then fails a new shadow starts from the iterate: mostly
that is the quicker way, but not always, since conjugate gradients that start anew forget what they know of the
spectrum. Hence the first shadow is kept, and catches up at intervals that grow with the iterations (`Reference`).
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from pinnx.solvers.linear.base import LinearOperator, PreparedDirection
from pinnx.solvers.linear.vectors import add_scaled, dots

#: Iterations in which the reference is not asked: a good direction has ended before.
_FIRST = 10


@final
class Shadow:
    """Conjugate gradients from a given iterate.

    Args:
        x: the iterate, (k, n).
        r: its residual, (k, n).
        fallback: a symmetric positive definite preconditioner, or None.
    """

    def __init__(self, x: Tensor, r: Tensor, fallback: PreparedDirection | None):
        self.x, self.r, self.fallback = x.clone(), r.clone(), fallback
        self.p = self._preconditioned()
        self.rz = dots(self.r, self.p)
        self.curvature = torch.ones_like(self.rz)
        self.last = self.image = self.p

    def step(self, operator: LinearOperator, frozen: Tensor) -> None:
        """One iteration, but for the columns marked in `frozen` (k,) and those with no positive curvature."""
        self.last, self.image = self.p, operator.apply(self.p)
        self.curvature = dots(self.p, self.image)
        usable = ~frozen & (self.curvature > 0) & self.curvature.isfinite() & (self.rz > 0)
        alpha = torch.where(usable, self.rz / self.curvature, torch.zeros_like(self.rz))
        add_scaled(self.x, alpha, self.p)
        add_scaled(self.r, -alpha, self.image)
        z = self._preconditioned()
        rz = dots(self.r, z)
        beta = torch.where(usable, rz / self.rz, torch.zeros_like(rz))
        self.p = torch.addcmul(z, beta[:, None], self.p)
        self.rz = rz

    def renew(self, operator: LinearOperator, b: Tensor, which: Tensor) -> None:
        """Compute the residual of some columns anew; the search direction stays."""
        self.r = torch.where(which[:, None], operator.residual(b, self.x), self.r)

    def select(self, index: Tensor, fallback: PreparedDirection | None) -> None:
        """Keep some of the columns."""
        self.x, self.r, self.p = self.x[index], self.r[index], self.p[index]
        self.rz, self.curvature, self.fallback = self.rz[index], self.curvature[index], fallback

    def take(self, other: Shadow, which: Tensor) -> None:
        """Go on as another does, in the columns marked in `which` (k,)."""
        for name in ("x", "r", "p"):
            setattr(self, name, torch.where(which[:, None], getattr(other, name), getattr(self, name)))
        self.rz = torch.where(which, other.rz, self.rz)

    def _preconditioned(self) -> Tensor:
        return self.r.clone() if self.fallback is None else self.fallback(self.r).to(self.r.dtype)


@final
class Reference:
    """The conjugate gradients of the very start, at rest between the iterations in which they are asked for.

    Asked at iterations that grow by a twentieth, they keep the loop from needing more than 1.05 times their number,
    whatever happened before, and cost at most one product with A per iteration, none in the first few.

    Args:
        shadow: conjugate gradients from the first iterate.
        iteration: how many steps they have made.
    """

    def __init__(self, shadow: Shadow, iteration: int):
        self.shadow, self._made, self._due = shadow, iteration, max(iteration, _FIRST)

    def due(self, iteration: int) -> bool:
        """Whether they are to be asked after this iteration."""
        return iteration >= self._due

    def catch_up(self, operator: LinearOperator, frozen: Tensor, iteration: int) -> int:
        """Make the steps up to an iteration; how many they were."""
        missing = iteration - self._made
        for _ in range(missing):
            self.shadow.step(operator, frozen)
        self._made, self._due = iteration, iteration + max(1, iteration // 20)
        return missing
