"""Whether a float32 factor with iterative refinement would do for a natural-gradient step: it would not.

    python benchmarks/refinement.py            # a minute; prints, writes nothing

The Gram matrix K of a batch is made in float32 and factored with the least damping for which Cholesky succeeds (powers
of ten, at least the one asked for). The system (K + λI) x = −r of float64 is then solved with that factor by iterative
refinement, and by conjugate gradients preconditioned with it, both with residuals in float64. What counts is the error
of the direction Jᵀx against that of a float64 factorization.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from accuracy_rows import ROWS
from torch import Tensor

from pinnx.solvers.natural import Linearization
from pinnx.solvers.pinn import Pinn
from pinnx.solvers.training import Spring, Stage

SEED, POINTS, CONDITION_POINTS = 11, 300, 100
PROBLEMS, STEPS, DAMPINGS = ("Poisson 10", "heat 4+1"), (0, 60), (1e-8, 1e-6, 1e-4, 1e-2)
#: Enough for a direction, and when to give up.
GOAL, SWEEPS, ITERATIONS = 1e-6, 60, 100


def main() -> None:
    """One line per problem, state of the training and damping."""
    torch.set_num_threads(1)
    for name, steps in product(PROBLEMS, STEPS):
        linear = _linearize(name, steps)
        for damping in DAMPINGS:
            factor, refined, conjugate = solve(linear, damping)
            print(
                f"{name}, after {steps} steps, damping {damping:.0e}: float32 factor from {factor:.0e} on; "
                f"refinement {refined[0]} sweeps, error {refined[1]:.0e}; conjugate gradients {conjugate[0]} steps, "
                f"error {conjugate[1]:.0e}",
                flush=True,
            )


def _linearize(name: str, steps: int) -> Linearization:
    row = ROWS[name]
    solver = Pinn(
        stage=(Stage(10_000, Spring(), points=POINTS),), condition_points=CONDITION_POINTS, precision="float64"
    )
    training = solver.start(row.equation.problem(), row.network, seed=SEED, device=torch.device("cpu"))
    for _ in range(steps + 1):
        training.step()
    return training._squares.linearize(training._batch, training.generator)  # type: ignore[attr-defined]


@torch.no_grad()
def solve(linear: Linearization, damping: float) -> tuple[float, tuple[int, float], tuple[int, float]]:
    """The damping of the float32 factor; sweeps and error of refinement; steps and error of conjugate gradients."""
    rows, right = linear.jacobian.rows(), -linear.residuals
    gram, low = rows @ rows.T, rows.float() @ rows.float().T
    mean, identity = gram.diagonal().mean(), torch.eye(len(gram), dtype=torch.float64)
    matrix = gram + damping * mean * identity
    exact = rows.T @ torch.cholesky_solve(right[:, None], torch.linalg.cholesky(matrix))[:, 0]
    borne = damping
    while True:
        factor, info = torch.linalg.cholesky_ex(low + (borne * mean * identity).float())
        if not bool(info):
            break
        borne *= 10

    def apply(vector: Tensor) -> Tensor:
        return torch.cholesky_solve(vector.float()[:, None], factor)[:, 0].double()

    def error(solution: Tensor) -> float:
        return float((rows.T @ solution - exact).norm() / exact.norm())

    return borne, _refine(matrix, right, apply, error), _conjugate(matrix, right, apply, error)


def _refine(
    matrix: Tensor, right: Tensor, apply: Callable[[Tensor], Tensor], error: Callable[[Tensor], float]
) -> tuple[int, float]:
    solution, sweeps = torch.zeros_like(right), 0
    while sweeps < SWEEPS and error(solution) >= GOAL:
        solution += apply(right - matrix @ solution)
        sweeps += 1
    return sweeps, error(solution)


def _conjugate(
    matrix: Tensor, right: Tensor, apply: Callable[[Tensor], Tensor], error: Callable[[Tensor], float]
) -> tuple[int, float]:
    solution, residual, steps = torch.zeros_like(right), right.clone(), 0
    direction = apply(residual)
    size = residual @ direction
    while steps < ITERATIONS and error(solution) >= GOAL:
        image = matrix @ direction
        length = size / (direction @ image)
        solution, residual = solution + length * direction, residual - length * image
        preconditioned = apply(residual)
        size, last = residual @ preconditioned, size
        direction = preconditioned + size / last * direction
        steps += 1
    return steps, error(solution)


if __name__ == "__main__":
    main()
