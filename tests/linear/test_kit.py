"""The conformance kit finds directions that are not what they say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pinnx.solvers.linear import Direction, Identity, LinearOperator
from pinnx.testing import LinearSolverConformance

kit = LinearSolverConformance  # its tests must not be collected here


def _kit() -> LinearSolverConformance:
    class Concrete(kit):
        def directions(self) -> list[Direction]:
            return []

    return Concrete()


class Planted(Direction):
    """A direction that claims to be linear and symmetric."""

    symmetric = linear = True

    def __init__(self, function: Callable[[Tensor], Tensor]):
        self.function = function

    def prepare(self, operator: LinearOperator) -> Callable[[Tensor], Tensor]:
        return self.function


BUFFER = torch.zeros(1, 33, dtype=torch.float64)


@pytest.mark.parametrize(
    ("test", "function"),
    [
        ("is_linear_if_it_says_so", torch.relu),
        ("is_symmetric_if_it_says_so", lambda r: r + 0.5 * r.roll(1, dims=1)),
        ("is_symmetric_if_it_says_so", lambda r: -r),
        ("columns_are_independent", lambda r: r - r.mean(0, keepdim=True) + r),
        ("leaves_its_argument_alone", lambda r: r.mul_(2.0)),
        ("leaves_its_argument_alone", lambda r: BUFFER.copy_(r)),
        ("needs_no_more_iterations_than_conjugate_gradients", lambda r: r * torch.linspace(1, 900, r.shape[1])),
    ],
)
def test_planted_mistakes_are_found(test: str, function: Callable[[Tensor], Tensor]) -> None:
    check = getattr(_kit(), f"test_{test}")
    check(Identity(), "line")
    with pytest.raises(AssertionError):
        check(Planted(function), "line")
