"""Derivatives of known functions agree with closed forms, whichever way they are obtained."""

from __future__ import annotations

import pytest
import torch

from pinnx.errors import UnsupportedError
from pinnx.expr import (
    Coordinates,
    Known,
    Matrix,
    Points,
    Unknown,
    directional,
    dot,
    dt,
    evaluate,
    grad,
    hessian,
    laplacian,
    partial,
    substitute,
    t,
    trace,
    x,
)
from pinnx.trial import Affine, Plain

D = 3
UNKNOWN = Unknown("u")
POINTS = Points(
    torch.rand(6, D + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(902_210)),
    Coordinates.of(x=D, t=0),
)
WAVE = Known("w", lambda p: torch.exp(-p.t) * torch.sin(p.x @ torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)))
K = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
PHASE = POINTS.x @ K
DECAY = torch.exp(-POINTS.t)
A = torch.tensor([[2.0, 0.5, 0.0], [-0.1, 1.0, 0.3], [0.0, 0.0, -1.5]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("expr", "truth"),
    [
        (dt(WAVE), -DECAY * torch.sin(PHASE)),
        (laplacian(WAVE), -6 * DECAY * torch.sin(PHASE)),
        (grad(WAVE), DECAY[:, None] * torch.cos(PHASE)[:, None] * K),
        (dot(x, grad(WAVE)), DECAY * torch.cos(PHASE) * PHASE),
        (directional(WAVE, K), 6 * DECAY * torch.cos(PHASE)),
        (trace(A, hessian(WAVE)), -(K @ A @ K) * DECAY * torch.sin(PHASE)),
        (trace(A.diagonal().clone(), hessian(WAVE)), -(A.diagonal() @ K**2) * DECAY * torch.sin(PHASE)),
        (trace(2.5, hessian(WAVE)), -15 * DECAY * torch.sin(PHASE)),
        (
            trace(lambda p: p.t[:, None, None] * A, hessian(WAVE)),
            -(K @ A @ K) * POINTS.t * DECAY * torch.sin(PHASE),
        ),
        (
            trace(Matrix(lambda p: p.x, diagonal=True), hessian(WAVE)),
            -(POINTS.x @ K**2) * DECAY * torch.sin(PHASE),
        ),
        (partial(WAVE, x[1], x[0], x[2]), 2 * DECAY * torch.cos(PHASE)),
        (partial(WAVE, x[1], x[1], t, t), -4 * DECAY * torch.sin(PHASE)),
    ],
)
def test_automatic_derivatives_of_a_plane_wave(expr, truth: torch.Tensor) -> None:
    torch.testing.assert_close(evaluate(expr, POINTS), truth, rtol=1e-12, atol=1e-12)


def test_closed_forms_are_used_where_given() -> None:
    marked = Known("m", lambda p: p.t, gradient=lambda p: p.x + 7, laplacian=lambda p: p.t + 8, dt=lambda p: p.t + 9)
    torch.testing.assert_close(evaluate(grad(marked), POINTS), POINTS.x + 7)
    torch.testing.assert_close(evaluate(laplacian(marked) + dt(marked), POINTS), 2 * POINTS.t + 17)
    torch.testing.assert_close(evaluate(dot(K, grad(marked)), POINTS), (POINTS.x + 7) @ K)


def test_a_matrix_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"A must have shape \[3, 3\], got \[2, 2\]"):
        evaluate(trace(torch.ones(2, 2), hessian(WAVE)), POINTS)


@pytest.mark.parametrize("trial", [Plain(3.0), Affine(2.0, 1.5, 0.3), None], ids=["plain", "constants", "functions"])
def test_the_product_rule_of_every_atom(trial) -> None:
    """u = scale·a·f + c, written out as one function, has the derivatives that the rewriting gives."""
    a = Known("a", lambda p: (1 - p.x.square().sum(-1)) * (1 + p.t))
    c = Known("c", lambda p: torch.cos(p.x[:, 0] * p.t))
    trial = trial or Affine(a, c, scale=0.7)
    scale = trial.scale
    if isinstance(trial, Plain):
        whole = Known("u", lambda p: scale * WAVE(p))
    elif isinstance(trial.factor, Known):
        whole = Known("u", lambda p: scale * a(p) * WAVE(p) + c(p))
    else:
        whole = Known("u", lambda p: scale * 2.0 * WAVE(p) + 1.5)
    vary = Matrix(lambda p: p.t[:, None, None] * A)
    for make in (
        lambda u: u + 0.0,
        lambda u: dt(u),
        lambda u: laplacian(u),
        lambda u: dot(grad(u), grad(u)),
        lambda u: dot(x, grad(u)),
        lambda u: trace(A, hessian(u)),
        lambda u: trace(vary, hessian(u)),
        lambda u: trace(A.diagonal().clone(), hessian(u)),
        lambda u: partial(u, x[0], x[1], t, x[0]),
    ):
        rewritten = trial.apply(make(UNKNOWN), UNKNOWN)
        from_network = evaluate(_replace(rewritten), POINTS)
        torch.testing.assert_close(from_network, evaluate(make(whole), POINTS), rtol=1e-11, atol=1e-11)


def _replace(expr):
    return substitute(expr, {UNKNOWN: WAVE})


def test_closed_forms_serve_single_coordinates_too() -> None:
    marked = Known("m", lambda p: p.t, gradient=lambda p: p.x + 7, laplacian=lambda p: p.t + 8)
    torch.testing.assert_close(evaluate(partial(marked, x[1]), POINTS), POINTS.x[:, 1] + 7)
    line = Points(POINTS.tensor[:, :2], Coordinates.of(x=1, t=0))
    torch.testing.assert_close(evaluate(partial(marked, x[0], x[0]), line), line.t + 8)
    torch.testing.assert_close(evaluate(partial(marked, x[0], x[0]), POINTS), torch.zeros(6, dtype=torch.float64))
