"""The two simplest directions: the residual itself, and the residual over the diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.solvers.linear.base import Direction, LinearOperator, PreparedDirection


class Sound(Direction):
    """A direction that is linear, symmetric and positive definite."""

    @property
    def symmetric(self) -> bool:
        return True

    @property
    def linear(self) -> bool:
        return True


@final
@dataclass(frozen=True)
class Identity(Sound):
    """The residual: with memory 1 the method of conjugate gradients."""

    kind: ClassVar[str] = "identity"

    def prepare(self, operator: LinearOperator) -> PreparedDirection:
        return _Scaling(None)


@final
@dataclass(frozen=True)
class Jacobi(Sound):
    """The residual divided by the diagonal."""

    kind: ClassVar[str] = "jacobi"

    def prepare(self, operator: LinearOperator) -> PreparedDirection:
        diagonal = operator.diagonal()
        if not bool((diagonal > 0).all()):
            raise UnsupportedError("the Jacobi preconditioner needs a positive diagonal: the operator is not definite")
        return _Scaling(diagonal.reciprocal())


@final
class _Scaling:
    def __init__(self, factors: Tensor | None):
        self.factors = factors

    def __call__(self, r: Tensor) -> Tensor:
        return r if self.factors is None else r * self.factors

    def select(self, index: Tensor) -> _Scaling:
        shared = self.factors is None or len(self.factors) == 1
        return self if shared or self.factors is None else _Scaling(self.factors[index])
