"""Dense self-scaled quasi-Newton methods: SSBroyden, SSBFGS and BFGS with a strong Wolfe line search.

H approximates the inverse Hessian. With the step s = α p along p = −H g, the change y of the gradient g, ρ = 1/yᵀs,
h = ρ yᵀHy, b = −αρ sᵀg and a = hb − 1, an update of Broyden's family with parameter θ and scaling τ is

    H ← (H − Hy yᵀH/(yᵀHy) + φ (yᵀHy) v vᵀ)/τ + ρ s sᵀ,   v = ρ s − Hy/(yᵀHy),   φ = (1 − θ)/(1 + aθ).

BFGS is θ = 0, τ = 1; SSBFGS is θ = 0, τ = min(1, 1/b); SSBroyden takes θ and τ from a and b (see `broyden`).

Sources: Al-Baali, Comput. Optim. Appl. 9 (1998) 191-203; Urbán, Stefanou, Pons, J. Comput. Phys. 523 (2025), 113656
(arXiv 2405.04230); Kiyani, Shukla, Urbán, Darbon, Karniadakis, arXiv 2501.16371.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
import torch
from scipy.optimize import line_search
from torch import Tensor
from torch.nn import Parameter

from pinnx.errors import DivergedError
from pinnx.options import at_least, between, check_limits, option, positive
from pinnx.solvers.natural.jacobian import flatten, unflatten
from pinnx.solvers.training.base import Optimizer, Situation
from pinnx.solvers.training.schedules import Constant, Schedule

Formula = Literal["ssbroyden", "ssbfgs", "bfgs"]

#: Parameters that a dense P × P matrix is kept for at most: 3.2 GB in float64.
LARGEST = 20_000
#: a = hb − 1 vanishes where H is exact along s; there all updates of the family are the same.
_EXACT = 1e-14


def broyden(a: float, b: float, h: float, size: int) -> tuple[float, float]:
    """θ and τ of SSBroyden for P = `size` parameters (Urbán et al., section 2.3; Al-Baali's switches)."""
    if a < _EXACT:
        return 0.0, min(1.0, 1 / b)
    c = math.sqrt(a / (1 + a))
    rho = min(1.0, h * (1 - c))
    theta = max((rho - 1) / a, min(1 / rho, (1 - b) / b))
    sigma = 1 + theta * a
    scaled, step = abs(sigma) ** (1 / (1 - size)) if size > 1 else 1.0, min(1.0, 1 / b)
    tau = min(step * scaled, sigma) if theta <= 0 else step * min(scaled, 1 / theta)
    return theta, tau


def update(inverse: Tensor, s: Tensor, y: Tensor, gradient: Tensor, alpha: float, formula: Formula) -> None:
    """Update H in place; `gradient` is that before the step s of length `alpha`. Needs yᵀs > 0."""
    rho = 1 / float(y @ s)
    image = inverse @ y
    curvature = float(y @ image)
    h, b = rho * curvature, -alpha * rho * float(s @ gradient)
    a = max(h * b - 1, 0.0)
    theta, tau = 0.0, 1.0 if formula == "bfgs" else min(1.0, 1 / b)
    if formula == "ssbroyden":
        theta, tau = broyden(a, b, h, len(s))
    v = rho * s - image / curvature
    weights = [-1 / (curvature * tau), (1 - theta) / (1 + a * theta) * curvature / tau, rho]
    vectors = torch.stack([image, v, s])
    inverse.addmm_(vectors.T, vectors * vectors.new_tensor(weights)[:, None], beta=1 / tau)


class QuasiNewton(torch.optim.Optimizer):
    """A torch optimizer that keeps a dense inverse Hessian; one step is one iteration.

    Args:
        parameters: what is trained, in float64.
        formula: of the update.
        decrease: constant of the Wolfe condition on the decrease of the loss.
        curvature: constant of the Wolfe condition on the slope.
        trials: evaluations in the bracketing phase of a line search.

    Attributes:
        reported: which of the closure's calls in the last step was at the parameters that it ended at.
        metrics: of the last step: its length, and whether H was set back to the identity.
    """

    def __init__(
        self, parameters: Iterable[Parameter], formula: Formula, decrease: float, curvature: float, trials: int
    ):
        super().__init__(parameters, {"lr": 1.0})
        self.formula: Formula = formula
        self.decrease, self.curvature, self.trials = decrease, curvature, trials
        self.reported, self.metrics = 0, dict[str, float]()
        (group,) = self.param_groups
        self.trained: list[Parameter] = group["params"]

    def restart(self) -> None:
        """The loss is another function now: its gradient is computed anew, the curvature is kept."""
        for key in ("gradient", "loss"):
            self.state[self.trained[0]].pop(key, None)

    def step(self, closure: Callable[[], Tensor]) -> float:  # type: ignore[override]
        """One iteration.

        Raises:
            DivergedError: loss or gradient is not finite where the step begins.
        """
        state = self.state[self.trained[0]]
        line = _Line(self.trained, closure)
        if "gradient" not in state:
            state["loss"], state["gradient"] = line.evaluate()
        loss, gradient = state["loss"], state["gradient"]
        if "inverse" not in state:
            state["inverse"] = torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)
            state["fresh"] = True
        alpha, reset = self._search(line, -(state["inverse"] @ gradient)), 0.0
        if alpha is None and not state["fresh"]:
            state["inverse"].zero_().fill_diagonal_(1.0)
            state["fresh"] = True
            alpha, reset = self._search(line, -gradient), 1.0
        if alpha is None:  # no descent that rounding does not hide: stay
            line.place(0.0)
            self.reported, self.metrics = 0, {"loss": loss, "step_length": 0.0, "reset": reset}
            return loss
        new_loss, new_gradient, self.reported = line.seen[alpha]
        line.place(alpha)
        s, y = alpha * line.direction, new_gradient - gradient
        if float(y @ s) > 0:
            update(state["inverse"], s, y, gradient, alpha, self.formula)
            state["fresh"] = False
        state |= {"loss": new_loss, "gradient": new_gradient}
        self.metrics = {"step_length": alpha, "reset": reset}
        return loss

    def _search(self, line: _Line, direction: Tensor) -> float | None:
        """A step length that meets the strong Wolfe conditions, or None."""
        state = self.state[self.trained[0]]
        loss, gradient = state["loss"], state["gradient"]
        line.aim(direction)
        slope = float(direction @ gradient)
        if not (math.isfinite(slope) and slope < 0):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where it finds nothing, which we see
            alpha, *_ = line_search(
                lambda t: line.at(float(t[0]))[0],
                lambda t: np.array([float(line.at(float(t[0]))[1] @ line.direction)]),
                np.zeros(1),
                np.ones(1),
                gfk=np.array([slope]),
                old_fval=loss,
                # the first trial is 1 once H knows something of the curvature, before that one of length about 1
                old_old_fval=loss + float(gradient.norm()) / 2 if state["fresh"] else None,
                c1=self.decrease,
                c2=self.curvature,
                maxiter=self.trials,
            )
        return None if alpha is None or not math.isfinite(line.at(float(alpha))[0]) else float(alpha)


class _Line:
    """Loss and gradient along a line from where the parameters are."""

    def __init__(self, parameters: list[Parameter], closure: Callable[[], Tensor]):
        self.parameters, self.closure, self.calls = parameters, closure, 0
        self.start = [parameter.detach().clone() for parameter in parameters]
        self.seen: dict[float, tuple[float, Tensor, int]] = {}
        self.direction = flatten(self.start)

    def aim(self, direction: Tensor) -> None:
        """Go along another direction."""
        self.direction, self.seen = direction, {}
        self.parts = unflatten(direction, self.start)

    def place(self, alpha: float) -> None:
        """Put the parameters where they are after a step of a length."""
        with torch.no_grad():
            for parameter, old, part in zip(self.parameters, self.start, self.parts, strict=True):
                torch.add(old, part, alpha=alpha, out=parameter)

    def at(self, alpha: float) -> tuple[float, Tensor, int]:
        """Loss, gradient and the number of the closure's call; an infinite loss where it cannot be computed."""
        if alpha not in self.seen:
            self.place(alpha)
            try:
                loss, gradient = self.evaluate()
            except DivergedError:
                loss, gradient = math.inf, torch.zeros_like(self.direction)
            self.seen[alpha] = loss, gradient, self.calls - 1
        return self.seen[alpha]

    def evaluate(self) -> tuple[float, Tensor]:
        """Loss and gradient where the parameters are."""
        self.calls += 1
        with torch.enable_grad():
            loss = float(self.closure())
        grads = [torch.zeros_like(p) if p.grad is None else p.grad.detach() for p in self.parameters]
        return loss, flatten(grads)


@final
@dataclass(frozen=True)
class SelfScaled(Optimizer):
    """Dense self-scaled quasi-Newton: the most accurate for small networks on fixed points.

    One step is one iteration with a strong Wolfe line search. Where fresh points are drawn, the curvature is kept.
    """

    kind: ClassVar[str] = "ssbroyden"
    fixed_points: ClassVar[bool] = True
    restores: ClassVar[bool] = True
    formula: Formula = option("ssbroyden", "update of the inverse Hessian")
    learning_rate: float = option(1.0, "of no effect: the line search finds the step length", positive)
    schedule: Schedule = option(Constant, "of no effect")
    decrease: float = option(1e-4, "constant of the Wolfe condition on the decrease", positive, between(0, 0.5))
    curvature: float = option(0.9, "constant of the Wolfe condition on the slope", positive, between(0, 1))
    trials: int = option(20, "evaluations that bracket a step length, at most", at_least(2))

    def __post_init__(self) -> None:
        check_limits(self)

    def build(self, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
        return QuasiNewton(parameters, self.formula, self.decrease, self.curvature, self.trials)

    def refusal(self, situation: Situation) -> str | None:
        if situation.precision != "float64":
            return (
                'needs solver.precision = "float64": it ends where rounding hides the descent, which float32 does '
                "after a few steps"
            )
        if situation.parameters > LARGEST:
            return (
                f"keeps a dense matrix for at most {LARGEST} parameters, and this network has {situation.parameters}; "
                "use spring, lbfgs, or a smaller network"
            )
        return super().refusal(situation)
