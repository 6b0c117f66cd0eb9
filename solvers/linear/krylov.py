"""The Krylov loop: flexible conjugate directions, with any map from residuals to directions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from pinnx.solvers.linear.base import Direction, LinearOperator, as_columns
from pinnx.solvers.linear.result import ColumnStatus, LinearResult, Reason


def solve(
    A: LinearOperator,
    b: Any,
    x0: Any = None,
    *,
    direction: Direction | None = None,
    memory: int | Literal["full"] = 1,
    rtol: float = 1e-6,
    atol: float = 0.0,
    max_iterations: int = 10_000,
    safeguard: bool = True,
    callback: Callable[[int, Tensor, Tensor], None] | None = None,
) -> LinearResult:
    """Solve A x = b."""
    columns = as_columns(b, A, "b")
    x = torch.zeros_like(columns) if x0 is None else as_columns(x0, A, "x0").clone()
    start = time.perf_counter()
    prepared = direction.prepare(A) if direction is not None else (lambda r: r)
    setup = time.perf_counter() - start
    start = time.perf_counter()
    r = A.residual(columns, x)
    scale = columns.norm(dim=1).clamp_min(torch.finfo(A.dtype).tiny)
    tolerance = torch.maximum(rtol * scale, torch.full_like(scale, atol))
    stored: list[tuple[Tensor, Tensor, Tensor]] = []
    history, iterations = [r.norm(dim=1) / scale], torch.zeros(len(columns), dtype=torch.int64)
    for step in range(max_iterations):
        active = r.norm(dim=1) > tolerance
        if not bool(active.any()):
            break
        q = prepared(r / r.norm(dim=1, keepdim=True).clamp_min(1e-300)).to(A.dtype)
        for p, Ap, pAp in stored:
            q = q - ((q * Ap).sum(1) / pAp)[:, None] * p
        Aq = A.apply(q)
        qAq = (q * Aq).sum(1)
        good = active & qAq.isfinite() & (qAq > 0)
        alpha = torch.where(good, (q * r).sum(1) / qAq, torch.zeros_like(qAq))[:, None]
        x, r = x + alpha * q, r - alpha * Aq
        stored = [*stored, (q, Aq, qAq)][-memory if memory != "full" else 0 :] if memory else []
        iterations += good
        history.append(r.norm(dim=1) / scale)
        if callback is not None:
            callback(step + 1, x, r)
    converged = r.norm(dim=1) <= tolerance
    status = tuple(
        ColumnStatus(Reason.CONVERGED, "converged")
        if good
        else ColumnStatus(Reason.ITERATION_LIMIT, "not converged: raise max_iterations")
        for good in converged.tolist()
    )
    x = x[0] if torch.as_tensor(b).ndim == 1 else x
    seconds = time.perf_counter() - start
    return LinearResult(x, status, iterations, torch.stack(history), setup, seconds, (), 0, 0)
