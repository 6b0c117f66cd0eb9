"""The Krylov solver: flexible conjugate directions, with any map from residuals to directions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pinnx.errors import InputError
from pinnx.solvers.linear.base import Direction, LinearOperator, PreparedDirection, as_columns, spot_check
from pinnx.solvers.linear.convert import as_operator
from pinnx.solvers.linear.iteration import Iteration
from pinnx.solvers.linear.nullspace import project
from pinnx.solvers.linear.reporting import notes, statuses
from pinnx.solvers.linear.result import LinearResult, Reason
from pinnx.solvers.linear.state import Iterate, Memory, Outcome, Settings, select_prepared

#: Elements of one vector of a batch: larger batches are solved in parts, which stay in a core's cache.
_CACHED = 1 << 17


def solve(
    A: Any,
    b: Any,
    x0: Any = None,
    *,
    direction: Direction | None = None,
    memory: Memory = 1,
    rtol: float = 1e-6,
    atol: float = 0.0,
    max_iterations: int | None = None,
    safeguard: bool = True,
    fallback: Direction | None = None,
    batch: int | None = None,
    callback: Callable[[Iterate], None] | None = None,
) -> LinearResult:
    """Solve A x = b for symmetric positive (semi-)definite A by flexible conjugate directions.

    Each iteration asks the direction for q = f(r/‖r‖), makes it A-orthogonal to the last `memory` directions and takes
    the step that minimises the A-norm of the error along it. With the identity and memory 1 this is the method of
    conjugate gradients, with a symmetric positive definite preconditioner its preconditioned form, with others the
    flexible one (Y. Notay. Flexible conjugate gradients. SIAM J. Sci. Comput. 22 (2000), 1444-1460).

    A direction that is not known to be linear, symmetric and positive definite is guarded: conjugate gradients run
    beside it and offer their iterate (see `shadow`), so that it never takes more iterations than they would; they stop
    while the direction is far ahead. Products with A: one per iteration, two where the guard runs.

    Args:
        A: a `LinearOperator`, a scipy sparse matrix or a torch matrix.
        b: right-hand sides, (n,) or (k, n).
        x0: start; zero where left out.
        direction: None for the identity.
        memory: number of earlier directions, 0 or more, or "full".
        rtol: a column has converged when the norm of its true residual is at most rtol·‖b‖ ...
        atol: ... or atol.
        max_iterations: limit; by default 10 n, at most 10 000.
        safeguard: False leaves the guard out, to see what a direction does alone.
        fallback: a symmetric positive definite preconditioner for the conjugate gradients of the guard.
        batch: number of columns iterated together; by default all on a GPU, on a CPU as many as fit its cache.
        callback: called after each iteration of each batch with an `Iterate`.

    Returns:
        The solution, with a status for each column; failures are statuses, not exceptions.

    Raises:
        InputError: an argument is of the wrong type or out of range.
        ShapeError: shapes do not fit.
        UnsupportedError: the direction cannot serve the operator.

    Example:
        >>> import torch
        >>> from pinnx.solvers.linear import grid_operator, solve
        >>> result = solve(grid_operator((64,)), torch.ones(64))
        >>> result.ok
        True
    """
    A = as_operator(A)
    _check(memory, rtol, atol, max_iterations, batch)
    columns = as_columns(b, A, "b")
    x = torch.zeros_like(columns) if x0 is None else as_columns(x0, A, "x0").expand_as(columns)
    limit = min(10 * A.shape[0], 10_000) if max_iterations is None else max_iterations
    start = time.perf_counter()
    refused = _refusal(A)
    labels = None if refused or A.positive_definite else A.null_labels()
    sound = direction is None or (direction.symmetric and direction.linear)
    prepared = direction.prepare(A) if direction is not None and not refused else _identity
    guard = fallback.prepare(A) if fallback is not None and not refused else None
    set_up = time.perf_counter()
    settings = Settings(memory, 0 if refused else limit, sound, safeguard and direction is not None, callback)
    consistent = project(columns, labels)
    tolerance = torch.clamp(rtol * torch.linalg.vector_norm(consistent, dim=1), min=atol)
    size = batch or (len(columns) if columns.is_cuda else max(1, _CACHED // A.shape[0]))
    with torch.no_grad():
        outcomes = [
            _part(A, consistent, x, tolerance, prepared, guard, settings, part)
            for part in torch.arange(len(columns), device=columns.device).split(size)
        ]
    found = _reasons(outcomes, refused, None if labels is None else _exceeds(columns, consistent))
    solution, history = project(torch.cat([outcome.x for outcome in outcomes]), labels), _joined(outcomes)
    return LinearResult(
        x=solution[0] if torch.as_tensor(b).ndim == 1 else solution,
        status=statuses(found, history, rtol, limit, refused),
        iterations=torch.cat([outcome.iterations for outcome in outcomes]),
        history=history,
        setup_seconds=set_up - start,
        solve_seconds=time.perf_counter() - set_up,
        notes=notes([outcome.counts for outcome in outcomes], labels is not None, sound),
        direction_calls=sum(outcome.counts.direction for outcome in outcomes) if direction is not None else 0,
        operator_calls=sum(outcome.counts.operator for outcome in outcomes),
    )


def _exceeds(columns: Tensor, consistent: Tensor) -> Tensor:
    """Which right-hand sides had a part in the null space, (k,)."""
    return torch.linalg.vector_norm(columns - consistent, dim=1) > 1e-10 * torch.linalg.vector_norm(columns, dim=1)


def _reasons(outcomes: list[Outcome], refused: str, excess: Tensor | None) -> list[Reason | None]:
    """Why each column stopped; `excess` marks those whose part in the null space was taken out, (k,)."""
    reasons = [reason for outcome in outcomes for reason in outcome.reasons]
    if refused:
        return [Reason.NOT_SYMMETRIC] * len(reasons)
    if excess is None:
        return reasons
    return [
        Reason.SINGULAR_INCONSISTENT if bad and reason is Reason.CONVERGED else reason
        for reason, bad in zip(reasons, excess.tolist(), strict=True)
    ]


def _part(
    A: LinearOperator,
    b: Tensor,
    x: Tensor,
    tolerance: Tensor,
    prepared: PreparedDirection,
    guard: PreparedDirection | None,
    settings: Settings,
    part: Tensor,
) -> Outcome:
    """The solve of some of the columns."""
    if A.systems > 1 and len(part) < len(b):
        A = A.select(part)
        prepared = select_prepared(prepared, part, len(b))
        guard = None if guard is None else select_prepared(guard, part, len(b))
    return Iteration(A, b[part], x[part], tolerance[part], prepared, guard, settings).run()


def _identity(r: Tensor) -> Tensor:
    return r


_identity.select = lambda index: _identity  # type: ignore[attr-defined]


def _refusal(A: LinearOperator) -> str:
    """Why the method cannot be used, or nothing."""
    if not A.symmetric:
        return "the operator is tagged symmetric=False"
    if not A.verified and bool(
        A.apply(torch.ones(A.systems, A.shape[0], dtype=A.dtype, device=A.device)).isfinite().all()
    ):
        try:
            spot_check(A, torch.Generator().manual_seed(50923), probes=2, tags=("symmetric",))
        except InputError as error:
            return error.message
    return ""


def _check(memory: Memory, rtol: float, atol: float, max_iterations: int | None, batch: int | None) -> None:
    if not (memory == "full" or (isinstance(memory, int) and memory >= 0)):
        raise InputError(f'memory must be a whole number of at least 0, or "full", got {memory!r}')
    for name, value in {"rtol": rtol, "atol": atol}.items():
        if not (0 <= value < float("inf")):
            raise InputError(f"{name} must be a finite number of at least 0, got {value}")
    for name, value in {"max_iterations": max_iterations, "batch": batch}.items():
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")


def _joined(outcomes: list[Outcome]) -> Tensor:
    """Histories side by side, filled up with NaN."""
    histories = [outcome.history for outcome in outcomes]
    longest = max(len(history) for history in histories)
    return torch.cat([torch.nn.functional.pad(h, (0, 0, 0, longest - len(h)), value=torch.nan) for h in histories], 1)
