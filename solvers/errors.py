"""How far a solution is from the reference, beside the errors of trivial answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.expr import Points, Value, evaluate
from pinnx.problem import Problem
from pinnx.solvers.system import in_network, unknowns_of

#: Elements (points × coordinates) of the test points held in memory at once.
CHUNK_ELEMENTS = 1 << 22
#: Elements of all test points together: fewer points are drawn in very high dimension.
TOTAL_ELEMENTS = 1 << 28
#: The affine baseline solves a dense least-squares problem with one unknown per coordinate.
LARGEST_AFFINE = 4000


@final
@dataclass(frozen=True)
class Errors:
    """Errors against the reference on the test points.

    Attributes:
        relative_l2: ‖u − u*‖₂ / ‖u*‖₂.
        relative_l1: ‖u − u*‖₁ / ‖u*‖₁.
        max_error: largest |u − u*|.
    """

    relative_l2: float
    relative_l1: float
    max_error: float

    def as_dict(self) -> dict[str, float]:
        """The errors by name."""
        return asdict(self)


class TestSet:
    """Fixed test points, drawn from the law of the problem's test domain in float64, in chunks that fit in memory.

    Args:
        problem: gives the domain, the exact solution and the number of points.
        seed: fixes the points.
        device: where they are drawn.
        count: number of points, if not the problem's.
    """

    __test__ = False  # not a test case, whatever pytest thinks of the name

    def __init__(self, problem: Problem, seed: int, device: torch.device, count: int | None = None):
        total = problem.domain.coordinates.total
        self.problem, self.seed, self.device = problem, seed, device
        self.count = min(count or problem.test_points, max(1000, TOTAL_ELEMENTS // total))
        self._chunk = max(1, CHUNK_ELEMENTS // total)
        self._exact: list[Tensor] | None = None

    def chunks(self) -> Iterator[Points]:
        """The points, the same ones each time."""
        generator = torch.Generator(self.device).manual_seed(self.seed)
        domain = self.problem.test_domain or self.problem.domain
        for start in range(0, self.count, self._chunk):
            yield domain.sample(min(self._chunk, self.count - start), generator)

    def exact(self) -> list[Tensor]:
        """The exact solution on each chunk, (n, m); computed once."""
        if self._exact is None:
            self._exact = [_stack([known(points) for known in self.problem.exacts]) for points in self.chunks()]
        return self._exact

    @torch.no_grad()
    def errors(self, solution: Callable[[Points], Tensor]) -> Errors | None:
        """Errors of a function that gives (n, m), or None without a reference."""
        if not self.problem.exacts:
            return None
        square = absolute = square_exact = absolute_exact = largest = 0.0
        for points, exact in zip(self.chunks(), self.exact(), strict=True):
            difference = solution(points).to(exact) - exact
            square += float(difference.square().sum())
            absolute += float(difference.abs().sum())
            square_exact += float(exact.square().sum())
            absolute_exact += float(exact.abs().sum())
            largest = max(largest, float(difference.abs().max()))
        return Errors((square / square_exact) ** 0.5, absolute / absolute_exact, largest)


def baselines(tests: TestSet) -> dict[str, Errors | None]:
    """The errors of three trivial answers: network f = 0, best constant f, best affine f (least squares, test points).

    A result is worth something only beside these: in high dimension many published benchmarks are solved by an
    affine f. The affine fit needs twice as many points as coordinates and is left out (None) beyond that.
    """
    problem = tests.problem
    if not problem.exacts:
        return {"zero": None, "constant": None, "affine": None}
    total = problem.domain.coordinates.total
    result: dict[str, Errors | None] = {"zero": tests.errors(_Fit(problem, None, affine=False))}
    result["constant"] = tests.errors(_fit(tests, affine=False))
    feasible = total <= LARGEST_AFFINE and 2 * (total + 1) <= tests.count
    result["affine"] = tests.errors(_fit(tests, affine=True)) if feasible else None
    return result


class _Fit:
    """The trial solution with a constant or affine function in the place of the network."""

    def __init__(self, problem: Problem, coefficients: Tensor | None, *, affine: bool):
        self.problem, self.coefficients, self.affine = problem, coefficients, affine

    def features(self, points: Points) -> Tensor:
        ones = points.tensor.new_ones(len(points), 1)
        return torch.cat([ones, points.tensor], dim=1) if self.affine else ones

    def parts(self, points: Points) -> tuple[Tensor, Tensor]:
        """Factor and offset of u = factor·f + offset, (n, m) each."""
        zero, one = points.tensor.new_zeros(len(points)), points.tensor.new_ones(len(points))
        unknowns = unknowns_of(self.problem)

        def values(f: Tensor) -> Tensor:
            at = {Value(unknown): f for unknown in unknowns}
            return _stack([evaluate(in_network(self.problem, unknown), points, at) for unknown in unknowns])

        offset = values(zero)
        return values(one) - offset, offset

    def __call__(self, points: Points) -> Tensor:
        factor, offset = self.parts(points)
        if self.coefficients is None:
            return offset
        return factor * (self.features(points) @ self.coefficients) + offset


def _fit(tests: TestSet, *, affine: bool) -> _Fit:
    """Least squares over all test points by the normal equations, in float64."""
    fit = _Fit(tests.problem, None, affine=affine)
    outputs = len(unknowns_of(tests.problem))
    gram: list[Tensor] = []
    right: list[Tensor] = []
    for points, exact in zip(tests.chunks(), tests.exact(), strict=True):
        factor, offset = fit.parts(points)
        features = fit.features(points)
        for output in range(outputs):
            rows = features * factor[:, output, None]
            target = (exact - offset)[:, output]
            if len(gram) <= output:
                gram.append(rows.T @ rows)
                right.append(rows.T @ target)
            else:
                gram[output] += rows.T @ rows
                right[output] += rows.T @ target
    columns = [torch.linalg.lstsq(g, b[:, None], driver="gelsd").solution for g, b in zip(gram, right, strict=True)]
    return _Fit(tests.problem, torch.cat(columns, dim=1), affine=affine)


def _stack(columns: list[Tensor]) -> Tensor:
    return torch.stack(columns, dim=1)
