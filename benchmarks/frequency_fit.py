"""How much of the 100-dimensional Allen-Cahn solution of frequency 3 simple functions explain: why its row is hard.

    python benchmarks/frequency_fit.py

The solution is (1 - |x|²) times a sum of functions of neighboring coordinates. Polynomials in the coordinates, powers
and products of neighbors up to a degree, times 1 - |x|², are fitted to the solution itself at 60 000 points; printed
are their errors at others. They know which coordinates belong together, which a network has to find out. Last line:
the share of the solution's square by the distance from the center.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pinnx.equations import AllenCahn
from pinnx.expr import Points
from pinnx.problem import Problem

POINTS, TEST_POINTS, SEED, DEGREES, RIDGE = 60_000, 20_000, 40_961, (1, 2, 3, 4, 5), 1e-9
SHELLS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def terms(x: Tensor, degree: int) -> Tensor:
    """The polynomials at points x (n, d), times 1 - |x|²."""
    scaled = 3.0 * x.shape[1] ** 0.5 * x
    head, tail = scaled[:, :-1], scaled[:, 1:]
    parts = [torch.ones(len(x), 1, dtype=x.dtype), *(scaled**power for power in range(1, degree + 1))]
    parts += [head**i * tail**j for i in range(1, degree) for j in range(1, degree + 1 - i)]
    return torch.cat(parts, 1) * (1 - x.square().sum(1, keepdim=True))


def main() -> None:
    """Fit and print."""
    torch.set_num_threads(1)
    problem, generator = AllenCahn(100, frequency=3.0).problem(), torch.Generator().manual_seed(SEED)
    points, values = _sample(problem, POINTS, generator)
    test, truth = _sample(problem, TEST_POINTS, generator)
    for degree in DEGREES:
        matrix = terms(points, degree)
        sizes = matrix.norm(dim=0)
        matrix /= sizes
        normal = matrix.T @ matrix
        normal.diagonal().add_(RIDGE)
        found = torch.linalg.solve(normal, matrix.T @ values) / sizes
        error = (terms(test, degree) @ found - truth).norm() / truth.norm()
        print(f"degree {degree}: {len(found)} terms, relative error {float(error):.2f}")
    radius, squares = points.norm(dim=1), values.square()
    for inner, outer in zip(SHELLS, SHELLS[1:], strict=False):
        share = squares[(radius >= inner) & (radius < outer)].sum() / squares.sum()
        print(f"{inner} <= |x| < {outer}: {100 * float(share):.0f} % of the square")


def _sample(problem: Problem, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points of the domain and the exact solution there."""
    points: Points = problem.domain.sample(count, generator, dtype=torch.float64)
    assert problem.exact is not None
    return points.tensor, problem.exact.function(points)


if __name__ == "__main__":
    main()
