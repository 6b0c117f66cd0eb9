"""The size of a solution, estimated from data known beforehand: conditions and forcings, never the exact solution.

An unscaled network spends thousands of steps on learning the mere size of a high-dimensional solution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from pinnx.domain import Domain
from pinnx.expr import Expr, Known, Number, Points, Symbol, Unknown, evaluate, substitute
from pinnx.expr.atoms import Atom, Gradient, Partial, SecondOrder
from pinnx.problem import Condition

SEED = 60887
"""Of the small samples on which sizes are measured."""


def sample(domain: Domain) -> Points:
    """A small fixed sample: fewer points where each of them is large."""
    n = min(256, max(16, 2**21 // domain.coordinates.total))
    return domain.sample(n, torch.Generator().manual_seed(SEED))


def root_mean_square(expr: Expr, domain: Domain) -> float:
    """Root mean square of an expression without unknowns over a small sample of a domain."""
    return float(evaluate(expr, sample(domain)).square().mean().sqrt())


def scale_from_residual(
    residual: Callable[[Symbol], Expr], domain: Domain, factor: Known, offset: Known | float = 0.0
) -> float:
    """The scale of the trial solution scale · factor · f + offset for which a network f is of size one.

    With f = 0 the residual is that of the offset: the forcing, or the operator applied to the initial condition. A
    constant f changes it at the rate of the operator's linear part applied to the factor. The scale is the ratio of
    the two sizes (root mean squares over a small sample), and 1 where either of them vanishes.

    Args:
        residual: the equation's left-hand side.
        domain: where it is sampled.
        factor: vanishes where the conditions hold.
        offset: meets the conditions.
    """
    start = offset if isinstance(offset, Known) else _constant(offset)
    points = sample(domain)
    # The difference quotient is a central one, so that quadratic terms drop out of it.
    step = 1e-4
    there, back = (evaluate(residual(_moved(start, factor, sign * step)), points) for sign in (1.0, -1.0))
    gain = float(((there - back) / (2 * step)).square().mean().sqrt())
    size = float(evaluate(residual(start), points).square().mean().sqrt())
    return size / gain if size > 0 and gain > 0 else 1.0


def scale_from_conditions(conditions: Iterable[Condition], unknown: Unknown) -> float:
    """Root mean square of the data of some conditions: what is left of them for the zero function.

    It is 1 where there are no data.
    """
    zero = _constant(0.0)
    squares = [root_mean_square(substitute(c.residual, {unknown: zero}), c.domain) ** 2 for c in conditions]
    mean = sum(squares) / len(squares) if squares else 0.0
    return mean**0.5 if mean > 0 else 1.0


def _constant(value: float) -> Known:
    def everywhere(points: Points) -> torch.Tensor:
        return points.tensor.new_full((len(points),), value)

    return _from_atoms(f"{value:g}", everywhere, lambda atom: Number(0.0))


def _moved(start: Known, direction: Known, step: float) -> Known:
    """The function start + step · direction, with the derivatives of both."""
    return _from_atoms(
        f"({start} + {step:g} {direction})",
        lambda points: start(points) + step * direction(points),
        lambda atom: atom.on(start) + step * atom.on(direction),
    )


def _from_atoms(name: str, function: Callable[[Points], torch.Tensor], derivative: Callable[[Atom], Expr]) -> Known:
    """A known function whose derivatives are expressions in those of others."""
    unknown = Unknown()

    def closed(atom: Atom) -> Callable[[Points], torch.Tensor]:
        def form(points: Points) -> torch.Tensor:
            value = evaluate(derivative(atom), points)
            return value[:, None].expand_as(points.x) if atom.rank and value.ndim == 1 else value

        return form

    dt = Partial(unknown, columns=(("t", 0),))
    return Known(
        name,
        function,
        gradient=closed(Gradient(unknown)),
        laplacian=closed(SecondOrder(unknown)),
        dt=closed(dt),
    )
