"""What the choice of points and weights asks of a training: sizes of residuals, and norms of gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import Parameter

from pinnx.errors import DivergedError
from pinnx.expr import Points, atoms
from pinnx.solvers.loss import Loss
from pinnx.solvers.system import ResidualSystem

#: Points that are evaluated at once.
CHUNK = 2048


@final
class Probe:
    """Looks at the residuals of a network as it is; changes nothing but the count of its evaluations.

    Args:
        system: equation, network and estimator.
        loss: whose count of evaluations it adds to.
        parameters: those that are trained.
    """

    def __init__(self, system: ResidualSystem, loss: Loss, parameters: Sequence[Parameter]):
        self.system, self.loss, self.parameters = system, loss, list(parameters)

    @torch.no_grad()
    def squares(self, points: Points, generator: torch.Generator) -> Tensor:
        """r² (n,) at points, summed over the equations.

        Raises:
            DivergedError: it is not finite somewhere.
        """
        parts = [
            torch.stack(self.system.residual_values(points.rows(slice(start, start + CHUNK)), generator))
            for start in range(0, len(points), CHUNK)
        ]
        self._count(points)
        squares = torch.cat(parts, dim=1).square().sum(0)
        if not bool(squares.isfinite().all()):
            raise DivergedError(
                f"the residual is not finite at {int((~squares.isfinite()).sum())} of {len(points)} points; try a "
                "smaller solver.optimizer.learning_rate or solver.precision = 'float64'"
            )
        return squares

    @torch.no_grad()
    def condition_squares(self, index: int, points: Points, generator: torch.Generator) -> Tensor:
        """r² (n,) of a soft condition, without its weight."""
        self.loss.evaluations += len(points)
        return self.system.condition_values(index, points, generator).square()

    def gradient_norms(self, batch: Sequence[Points], generator: torch.Generator) -> list[float]:
        """Norms of the gradients in the parameters: of the equations' part of the loss, then of each condition's mean
        square without the condition's weight."""
        names, conditions = self.loss.names, self.system.problem.conditions
        with torch.enable_grad():
            terms = self.loss.terms(batch, generator)
            parts = [torch.stack([terms[name] for name in names]).sum()]
            parts += [terms[condition.name] / condition.weight for condition in conditions]
        self.loss.count(batch)
        return [self._norm(part) for part in parts]

    def _norm(self, part: Tensor) -> float:
        gradients = torch.autograd.grad(part, self.parameters, retain_graph=True, allow_unused=True)
        return float(torch.nn.utils.get_total_norm([each for each in gradients if each is not None]))

    def _count(self, points: Points) -> None:
        estimator = self.system.estimator
        each = 1
        if estimator.stochastic:
            each = estimator.evaluations(atoms(*self.system.residuals), getattr(estimator, "samples", 0))
        self.loss.evaluations += len(points) * each
