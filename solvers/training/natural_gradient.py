"""Natural gradients for least squares: ENGD-W and SPRING, by the Gram matrix of the residuals' Jacobian.

With the residuals r of N points (the loss is |r|²), J = ∂r/∂θ and K = J Jᵀ,

    ζ = −r − μ J φ,    φ ← μ φ + Jᵀ (K + λ I)⁻¹ ζ,    θ ← θ + η φ / √(1 − μ^{2k}) at step k = 1, 2, …

μ = 0 is ENGD-W, the Gauss–Newton step −Jᵀ(JJᵀ + λI)⁻¹ r by the push-through identity; μ > 0 is SPRING, which projects
the last direction onto what this batch leaves undetermined, so that batches smaller than P average over steps.

Sources: Guzmán-Cordero, Dangel, Goldshlager, Zeinhofer, NeurIPS 2025 (arXiv 2505.12149), algorithms 1 and 2; SPRING is
by Goldshlager, Abrahamsen, Lin, J. Comput. Phys. 516 (2024), 113351 (arXiv 2401.10190).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, final

import torch
from torch import Tensor
from torch.nn import Parameter

from pinnx.errors import DivergedError
from pinnx.options import at_least, between, check_limits, option, positive
from pinnx.solvers.natural.jacobian import Jacobian, unflatten
from pinnx.solvers.natural.least_squares import Linearization
from pinnx.solvers.natural.normal_equations import ESCALATION, NormalEquations
from pinnx.solvers.training.base import Optimizer, Situation
from pinnx.solvers.training.schedules import Constant, Linear, Schedule

Search = Literal["walk", "grid", "none"]
TrustOrSearch = Literal["trust", "walk", "grid", "none"]

#: Halvings of the longest step that a search tries at most, as published.
HALVINGS = 30
#: Factor of a damping that turned out larger than need be.
RELAXATION = 0.5
#: A search that ends below this fraction of the longest step has left the reach of the linear model.
TINY = 2.0**-6
#: Levenberg and Marquardt: the damping of the first step, how often it rises in a step at most, and by which factors it
#: rises and falls.
FIRST_DAMPING, TRUST_TRIALS, TRUST_RISE, TRUST_FALL = 1e-3, 12, 4.0, 1 / 3

_SEARCH_DOC = (
    "step length, on the same batch: the best of the longest one and its 30 halves (grid), the nearest minimum among "
    "them (walk), or none"
)


class Residuals(Protocol):
    """The residuals of the current batch, at the parameters as they are."""

    def linearize(self) -> Linearization:
        """Residuals and Jacobian; raises DivergedError where they are not finite."""
        ...

    def loss(self) -> float:
        """|r|² alone; may be infinite or nan."""
        ...


class NaturalGradient(torch.optim.Optimizer):
    """A torch optimizer whose `step` takes `Residuals`.

    Args:
        parameters: what is trained.
        learning_rate: the longest step, the step without a search; PinnTraining sets it before each step.
        momentum: μ.
        damping: λ relative to the mean diagonal entry of K.
        search: how the step length is found.

    Attributes:
        metrics: of the last step: the loss and its terms before it, the norm of the loss's gradient, the relative
            damping that was used and the step length.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float,
        momentum: float,
        damping: float,
        search: TrustOrSearch,
    ):
        super().__init__(parameters, {"lr": learning_rate})
        self.momentum, self.damping, self.search = momentum, damping, search
        self.metrics: dict[str, float] = {}
        (group,) = self.param_groups
        self.trained: list[Parameter] = group["params"]

    @torch.no_grad()
    def step(self, closure: Any = None) -> float:  # type: ignore[override]
        """One step on the residuals of a batch.

        Raises:
            DivergedError: no step length gives a finite loss; the parameters stay.
        """
        batch: Residuals = closure
        linear = batch.linearize()
        gradient_norm = 2 * float(linear.jacobian.adjoint(linear.residuals).norm())
        move = self._trusted if self.search == "trust" else self._searched
        damping, length = move(batch, linear.residuals, linear.jacobian, linear.loss)
        terms = {f"loss/{name}": value for name, value in linear.terms.items()}
        found = {"gradient_norm": gradient_norm, "damping": damping, "step_length": length}
        self.metrics = {"loss": linear.loss, **terms, **found}
        return linear.loss

    def _searched(self, batch: Residuals, residuals: Tensor, jacobian: Jacobian, loss: float) -> tuple[float, float]:
        """Solve once and search along the direction; damping and step length."""
        state, mu = self.state[self.trained[0]], self.momentum
        count = state.get("count", 0) + 1
        direction, target = None, -residuals
        if mu and "momentum" in state:
            direction = mu * state["momentum"]
            target = target - jacobian.apply(direction)
        system = self._system(jacobian, len(target))
        natural, damping = system.solve(target, max(self.damping, state.get("damping", 0.0)))
        del system  # large, and of no use to the search
        direction = natural if direction is None else direction + natural
        step = direction / math.sqrt(1 - mu ** (2 * count))
        length = self._move(batch, step, loss, state.get("length", math.inf))
        state |= {"count": count, "momentum": direction, "length": length}
        if not mu:
            del state["momentum"]
        state["damping"] = self._next_damping(damping, length)
        if state["damping"] > damping:  # the direction was useless: nothing of it is kept
            escalated = state["damping"]
            state.clear()
            state["damping"] = escalated
        return damping, length

    def _system(self, jacobian: Jacobian, count: int) -> NormalEquations:
        return NormalEquations(jacobian, count, sum(parameter.numel() for parameter in self.trained))

    def _trusted(self, batch: Residuals, residuals: Tensor, jacobian: Jacobian, loss: float) -> tuple[float, float]:
        """Levenberg and Marquardt: more damping until the step lowers the loss, less after a step that did at once.

        Returns:
            The damping of the step, and its length; 0 where no damping gives a descent, and the parameters stay.
        """
        state, system = self.state[self.trained[0]], self._system(jacobian, len(residuals))
        longest, start = self.param_groups[0]["lr"], [parameter.detach().clone() for parameter in self.trained]
        damping, tries = max(self.damping, state.get("damping", FIRST_DAMPING)), 0
        for tries in range(TRUST_TRIALS):
            direction, damping = system.solve(-residuals, damping)
            parts = unflatten(direction, self.trained)
            for length in (longest, longest / 2, longest / 4):
                self._place(start, parts, length)
                if batch.loss() < loss:
                    kept = tries == 0 and length == longest
                    state["damping"] = damping * (TRUST_FALL if kept else 1.0 if length > longest / 4 else 2.0)
                    return damping, length
            damping *= TRUST_RISE
        state["damping"] = damping
        self._place(start, start, 0.0)
        return damping, 0.0

    def _place(self, start: list[Tensor], parts: Sequence[Tensor], length: float) -> None:
        """Put the parameters where they are after a step of a length."""
        for parameter, old, part in zip(self.trained, start, parts, strict=True):
            torch.add(old, part, alpha=length, out=parameter)

    def _next_damping(self, damping: float, length: float) -> float:
        """Where the next step begins: more damping after a search that fell back to a tiny step, else less."""
        if self.search != "none" and length < TINY * self.param_groups[0]["lr"]:
            return min(ESCALATION * damping, max(1.0, damping))
        return RELAXATION * damping

    def _move(self, batch: Residuals, direction: Tensor, loss: float, last: float) -> float:
        """Move the parameters along the direction; the step length."""
        start = [parameter.detach().clone() for parameter in self.trained]
        parts = unflatten(direction, self.trained)

        def loss_at(length: float) -> float:
            self._place(start, parts, length)
            value = batch.loss()
            return value if math.isfinite(value) else math.inf

        longest = self.param_groups[0]["lr"]
        if self.search == "grid":
            length = min((longest * 2.0**-power for power in range(HALVINGS + 1)), key=loss_at)
        elif self.search == "walk":
            length = walk(loss_at, min(longest, 2 * last), longest, loss)
        else:
            length = longest
        # one that does not lower the loss is taken too, as published: it ends at a step of nearly zero
        if self.search != "none" and not math.isfinite(loss_at(length)):
            self._place(start, parts, 0.0)
            raise DivergedError("no step length gives a finite loss; try a larger solver.optimizer.damping")
        self._place(start, parts, length)
        return length


def walk(loss_at: Callable[[float], float], start: float, longest: float, before: float) -> float:
    """Downhill from `start`, by halves or by doubles up to `longest`, to a step length whose neighbors are worse.

    Beyond the reach of the linear model the loss goes up and down: halving goes on while it is above that `before` the
    step.
    """
    shortest, length, best, value = longest * 2.0**-HALVINGS, start, start, loss_at(start)
    while length / 2 >= shortest:
        length /= 2
        lower = loss_at(length)
        if lower > value and value <= before:
            break
        if lower <= value:
            best, value = length, lower
    while best >= start and best * 2 <= longest and (higher := loss_at(best * 2)) < value:
        best, value = best * 2, higher
    return best


def _refusal(situation: Situation, search: TrustOrSearch) -> str | None:
    if situation.precision != "float64":
        return (
            'needs solver.precision = "float64": its Gram matrix squares the condition number of the Jacobian, and in '
            "float32 the directions that matter drown in rounding errors"
        )
    if situation.stochastic and search != "none":
        return (
            "compares losses along a line, and stochastic derivatives change them at every evaluation; use exact "
            'derivatives, or search = "none" with kind = "spring"'
        )
    return None


@final
@dataclass(frozen=True)
class Engd(Optimizer):
    """Energy natural gradient descent by the Woodbury identity, for least squares the Gauss–Newton method.

    Each step solves with the N × N Gram matrix of the residuals at N points, whatever the number of parameters.
    """

    kind: ClassVar[str] = "engd"
    needs = "residuals"
    learning_rate: float = option(1.0, "longest step, or every step where there is no search", positive)
    schedule: Schedule = option(Constant, "how the learning rate changes over the run")
    damping: float = option(1e-10, "least damping, relative to the mean diagonal entry of the Gram matrix", positive)
    search: TrustOrSearch = option("walk", f"{_SEARCH_DOC}; or the full step with as much damping as it needs (trust)")

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
        return NaturalGradient(parameters, self.learning_rate, 0.0, self.damping, self.search)

    def refusal(self, situation: Situation) -> str | None:
        if situation.stochastic:
            return (
                "solves for the residuals of its batch as if they were exact, and would fit the noise of stochastic "
                'derivatives; use exact derivatives, or kind = "spring" with search = "none"'
            )
        return _refusal(situation, self.search)


@final
@dataclass(frozen=True)
class Spring(Optimizer):
    """SPRING: natural gradients with a momentum that keeps what earlier batches have taught."""

    kind: ClassVar[str] = "spring"
    needs = "residuals"
    learning_rate: float = option(1.0, "longest step, or every step where there is no search", positive)
    schedule: Schedule = option(Linear, "how the learning rate changes over the run")
    momentum: float = option(0.9, "what is kept of the last direction, at most 0.999", at_least(0.0), between(0, 0.999))
    damping: float = option(1e-8, "damping relative to the mean diagonal entry of the Gram matrix", positive)
    search: Search = option("walk", _SEARCH_DOC)

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
        return NaturalGradient(parameters, self.learning_rate, self.momentum, self.damping, self.search)

    def refusal(self, situation: Situation) -> str | None:
        return _refusal(situation, self.search)
