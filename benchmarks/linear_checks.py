"""What the loop promises whatever the direction: the history of conjugate gradients, a bound on the iterations, and a
status for every way to end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from linear_rows import SEED
from scipy import sparse
from scipy.sparse import linalg
from torch import Tensor

from pinnx.solvers.linear import (
    Direction,
    FunctionOperator,
    LinearOperator,
    LinearResult,
    Reason,
    SparseOperator,
    grid_operator,
    random_obstacle_problem,
    random_right_hand_sides,
    solve,
)
from pinnx.solvers.linear.directions import box


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def _random_matrix() -> SparseOperator:
    q = np.linalg.qr(np.random.default_rng(SEED).standard_normal((200, 200)))[0]
    matrix = q @ np.diag(np.linspace(1, 100, 200)) @ q.T
    return SparseOperator(sparse.csr_array((matrix + matrix.T) / 2))


#: The matrices on which the histories are compared.
MATRICES: dict[str, Callable[[], Any]] = {
    "3-point, 100": lambda: box((100,)),
    "5-point, 64 × 64": lambda: box((64, 64)),
    "7-point, 16 × 16 × 16": lambda: box((16, 16, 16)),
    "mixed walls, stretched cells, 40 × 24": lambda: grid_operator(
        (40, 24), sides=["neumann", ("dirichlet", "neumann")], spacing=(0.1, 0.2)
    ),
    "reaction, 48 × 48": lambda: grid_operator((48, 48), reaction=0.5),
    "obstacles, 32 × 32": lambda: random_obstacle_problem((32, 32), 1, contrast=1.0, generator=_generator()),
    "obstacles and jumps, 16 × 16": lambda: random_obstacle_problem((16, 16), 1, generator=_generator()),
    "eigenvalues 1 to 1000 in 4 clusters, 200": lambda: SparseOperator(
        sparse.diags_array(np.repeat([1.0, 10.0, 100.0, 1000.0], 50)).tocsr()
    ),
    "random eigenvectors, 200": _random_matrix,
}


def history() -> dict[str, Any]:
    """The identity as direction, memory 1: relative residual norms beside those of scipy's conjugate gradients.

    Where rounding decides, no two implementations agree; hence scipy's also beside its own on the unknowns in another
    order.
    """
    table = {}
    for name, make in MATRICES.items():
        operator = make()
        on_grid = hasattr(operator, "grid")
        b = random_right_hand_sides(operator, 1, generator=_generator())[0] if on_grid else _vector(operator)
        matrix, vector = sparse.csr_array(operator.to_scipy()), b.numpy()
        order = np.random.default_rng(SEED).permutation(len(vector))
        scipys, other = _scipy_norms(matrix, vector), _scipy_norms(matrix[order][:, order], vector[order])
        ours = solve(operator, b, rtol=1e-8).history[:, 0].numpy()
        table[name] = {
            "iterations": len(ours) - 1,
            "scipy": len(scipys) - 1,
            "largest_difference": _difference(ours, scipys),
            "scipy_reordered": _difference(other, scipys),
        }
    return {"table": table, "seed": SEED}


def _vector(operator: LinearOperator) -> Tensor:
    return torch.randn(operator.shape[0], generator=_generator(), dtype=torch.float64)


def _scipy_norms(matrix: Any, b: np.ndarray) -> np.ndarray:
    norms = [1.0]
    linalg.cg(matrix, b, rtol=1e-8, callback=lambda x: norms.append(np.linalg.norm(b - matrix @ x) / np.linalg.norm(b)))
    return np.array(norms)


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    shared = min(len(one), len(other))
    return float(f"{float(np.abs(one[:shared] - other[:shared]).max()):.1e}")


@dataclass(frozen=True)
class Adversary(Direction):
    """What a network may answer on its worst day; by name, see `ADVERSARIES`."""

    name: str
    symmetric = False
    linear = False

    def prepare(self, operator: LinearOperator) -> Callable[[Tensor], Tensor]:
        generator = _generator()

        def noise(r: Tensor) -> Tensor:
            return torch.randn(r.shape, generator=generator, dtype=r.dtype)

        def antisymmetric(r: Tensor) -> Tensor:
            half = r.shape[1] // 2
            return torch.cat([-r[:, half : 2 * half], r[:, :half], torch.zeros_like(r[:, 2 * half :])], 1)

        answers: dict[str, Callable[[Tensor], Tensor]] = {
            "random": noise,
            "zero": torch.zeros_like,
            "NaN": lambda r: torch.full_like(r, torch.nan),
            "sign flipped": lambda r: -r,
            "antisymmetric": antisymmetric,
        }
        return answers[self.name]


ADVERSARIES = ("random", "zero", "NaN", "sign flipped", "antisymmetric")


def adversaries() -> dict[str, Any]:
    """Iterations to 1e-8 as parts of those of the fallback: the largest of all systems; and what the result says."""
    systems: list[LinearOperator] = [box((64, 64)), box((16, 16, 16)), grid_operator((48, 48), reaction=0.5)]
    systems += [
        random_obstacle_problem(grid, 8, generator=_generator()) for grid in ((13, 12), (16, 16), (32, 32), (8, 8, 8))
    ]
    right = [random_right_hand_sides(operator, 8, generator=_generator()) for operator in systems]
    plain = [solve(operator, b, rtol=1e-8) for operator, b in zip(systems, right, strict=True)]
    table = {}
    for name in ADVERSARIES:
        worst, failures, says = 0.0, 0, ""
        for operator, b, fallback in zip(systems, right, plain, strict=True):
            for memory in (0, 1, 2):
                result = solve(operator, b, direction=Adversary(name), memory=memory, rtol=1e-8)
                worst = max(worst, float((result.iterations / fallback.iterations).max()))
                failures += int((_true_residuals(operator, b, result) > 1e-8).sum())
                says = says or " · ".join(result.notes)
        solves = 3 * sum(len(b) for b in right)
        table[name] = {"solves": solves, "largest_ratio": round(worst, 3), "failures": failures, "says": says}
    return {"table": table, "seed": SEED}


def _true_residuals(operator: LinearOperator, b: Tensor, result: LinearResult) -> Tensor:
    return torch.linalg.vector_norm(operator.residual(b, result.x), dim=1) / torch.linalg.vector_norm(b, dim=1)


def endings() -> dict[str, Any]:
    """The status of what is no symmetric positive definite system."""
    neumann = grid_operator((64, 48), sides="neumann")
    b = _vector(neumann)
    even, ones = b - b.mean(), torch.ones(60, dtype=torch.float64)
    indefinite = SparseOperator(sparse.diags_array(np.linspace(-1.0, 5.0, 60)).tocsr())
    sheared = sparse.csr_array(np.eye(60) + np.diag(np.ones(59), 1))
    cases: dict[str, tuple[Any, Tensor, Reason]] = {
        "indefinite": (indefinite, ones, Reason.INDEFINITE),
        "negative definite": (FunctionOperator(lambda x: -x, 60), ones, Reason.INDEFINITE),
        "pure Neumann, consistent": (neumann, even, Reason.CONVERGED),
        "pure Neumann, inconsistent": (neumann, b, Reason.SINGULAR_INCONSISTENT),
        "pure Neumann as a sparse matrix, consistent": (neumann.to_scipy(), even, Reason.CONVERGED),
        "pure Neumann as a sparse matrix, inconsistent": (neumann.to_scipy(), b, Reason.SINGULAR_INCONSISTENT),
        "not symmetric": (sheared, ones, Reason.NOT_SYMMETRIC),
        "not symmetric, a function": (FunctionOperator(_sheared, 60), ones, Reason.NOT_SYMMETRIC),
    }
    table = {}
    for name, (operator, right, expected) in cases.items():
        found = [
            solve(operator, right, direction=direction, rtol=1e-8).status[0]
            for direction in (None, *map(Adversary, ADVERSARIES))
        ]
        right_ones = sum(status.reason is expected for status in found)
        table[name] = {"status": str(expected), "of": len(found), "right": right_ones, "says": found[0].message}
    return {"table": table, "seed": SEED}


def _sheared(x: Tensor) -> Tensor:
    return x + torch.roll(x, 1, dims=1)


CHECKS: dict[str, Callable[[], dict[str, Any]]] = {
    "history": history,
    "adversaries": adversaries,
    "endings": endings,
}
