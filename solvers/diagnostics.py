"""What a user needs to choose an estimator: how noisy, how biased, how expensive it is on the problem at hand.

Everything is measured on the network as it is, at a few fixed points and with a generator of its own: nothing of a
training is changed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.expr import Biharmonic, Custom, Evaluator, Expr, Gradient, Points, atoms, with_explicit_values
from pinnx.expr.nodes import Function, Power
from pinnx.networks.base import Network
from pinnx.problem import Problem
from pinnx.solvers.derivatives.auto import Auto
from pinnx.solvers.derivatives.autodiff import Autodiff
from pinnx.solvers.derivatives.base import DerivativeEstimator
from pinnx.solvers.derivatives.sampled import SampledEstimator, SquaredResiduals
from pinnx.solvers.derivatives.smoothing import Smoothing
from pinnx.solvers.derivatives.stochastic import Hutchinson, Sdgd, StochasticTaylor
from pinnx.solvers.live_memory import peak_bytes
from pinnx.solvers.loss import loss_for
from pinnx.solvers.system import ResidualSystem

#: Seed of the points and draws, the same for every run, so that figures of different runs compare.
SEED = 60_217_933
#: Points at which residuals are estimated, and independent estimates at each.
POINTS, DRAWS, FEWEST_DRAWS = 32, 128, 4
#: Elements of the largest tensor of one draw, and of the noise of an estimator that is worth trying at all.
DRAW_ELEMENTS, NOISE_ELEMENTS = 1 << 22, 1 << 28
#: Dimension above which the reference by nested automatic differentiation would take too long.
AUTODIFF_DIMENSION = 50

Which = Literal["own", "compact", "every"]


@final
@dataclass(frozen=True)
class Figures:
    """What was measured of one estimator. None stands for what could not be measured.

    Attributes:
        name: for people.
        kind: as in a case file.
        own: whether it is the case's.
        stochastic: whether it draws samples.
        samples: how many.
        variance: mean over the points of the variance of the residual's estimate, summed over equations.
        bias: mean over the points of E r̂² − r²: the variance, where r̂ is known to be unbiased; else from the mean of
            r̂² and the residual r with exact derivatives.
        bias_error: standard error of `bias`.
        evaluations: network evaluations per point and step.
        seconds_per_step: median time of a step's loss and its gradient.
        peak_memory_bytes: of such a step, beyond what was there before.
        refused: why it cannot serve, or None.
    """

    name: str
    kind: str
    own: bool
    stochastic: bool
    samples: int | None = None
    variance: float | None = None
    bias: float | None = None
    bias_error: float | None = None
    evaluations: float | None = None
    seconds_per_step: float | None = None
    peak_memory_bytes: int | None = None
    refused: str | None = None


@final
@dataclass(frozen=True)
class Diagnostics:
    """Figures of several estimators on one problem and network.

    Attributes:
        estimators: the figures, the case's own first.
        mean_square: mean over the points of r², from exact derivatives; None where they are out of reach.
        points: number of points at which residuals were estimated.
        notes: how it was measured, and what follows.
    """

    estimators: tuple[Figures, ...]
    mean_square: float | None
    points: int
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def diagnose(
    problem: Problem,
    network: Network,
    estimator: DerivativeEstimator,
    batch: Sequence[Points],
    *,
    which: Which = "own",
    seconds: float = 0.5,
    total_steps: int = 10_000,
) -> Diagnostics:
    """Measure estimators on a problem and a network in any state.

    Args:
        problem: the problem.
        network: its network; left as it is.
        estimator: the case's own.
        batch: the points of a training step: one set for the equation, one for each soft condition.
        which: the case's estimator only; or also exact derivatives and the stochastic ones with their defaults; or
            their variants besides.
        seconds: about how long each estimator's draws, and its steps, may take.
        total_steps: of the training.

    Returns:
        The figures. An estimator that cannot serve has a reason in their place.
    """
    own = ResidualSystem(problem, network, estimator).estimator
    chosen = [own] if which == "own" else candidates(own, network, problem, every=which == "every")
    points = batch[0].rows(slice(0, POINTS))
    exact = exact_residuals(problem, network, points)
    measured = tuple(
        _measure(each, each == own, problem, network, batch, points, exact, seconds, total_steps) for each in chosen
    )
    mean_square = None if exact is None else float(exact.square().sum(0).mean())
    return Diagnostics(measured, mean_square, len(points), _notes(measured, exact, points))


def candidates(
    own: DerivativeEstimator, network: Network, problem: Problem, *, every: bool
) -> list[DerivativeEstimator]:
    """The estimators to compare: the case's own, exact derivatives, and the stochastic ones with its samples."""
    size = max(1, dict(problem.domain.coordinates.groups).get("x", 1))
    affine = network.first_affine()
    reduces = affine is not None and size > affine[0].shape[0]
    settings: dict[str, Any] = {}
    if isinstance(own, SampledEstimator):
        settings = {name: getattr(own, name) for name in ("samples", "correction", "realization")}
    samples = settings.get("samples", Sdgd().samples)
    smoothing = replace(own if isinstance(own, Smoothing) else Smoothing(), **settings, weights="difference")
    fourth = any(isinstance(atom, Biharmonic) for atom in atoms(*problem.equation.residuals()))
    hutchinson = Hutchinson(**settings, law="gaussian") if fourth else Hutchinson(**settings)
    found: list[DerivativeEstimator] = [own, Auto(), replace(smoothing, space="rows"), replace(hutchinson)]
    if every and smoothing.samples > 1:
        found.append(replace(smoothing, space="rows", weights="stein", baseline="leave-one-out"))
    if every and reduces:
        found += [replace(smoothing, space="full"), replace(hutchinson, space="full")]
        found += [replace(smoothing, space="full", weights="stein", baseline="center")]
    found.append(Sdgd(**{**settings, "samples": min(samples, size)}))
    resolved = [each.choose(network, ())[0] if isinstance(each, Auto) else each for each in found]
    return list(dict.fromkeys(resolved))


@torch.no_grad()
def exact_residuals(problem: Problem, network: Network, points: Points) -> Tensor | None:
    """The residuals (e, n) of e equations with exact derivatives, or None where they would take too long."""
    system = ResidualSystem(replace(problem, conditions=()), network, Auto())
    if isinstance(system.estimator, Autodiff) and problem.domain.coordinates.total > AUTODIFF_DIMENSION:
        return None
    return torch.stack(system.residual_values(points, torch.Generator(points.tensor.device)))


def _measure(
    estimator: DerivativeEstimator,
    own: bool,
    problem: Problem,
    network: Network,
    batch: Sequence[Points],
    points: Points,
    exact: Tensor | None,
    seconds: float,
    total_steps: int,
) -> Figures:
    sampled = isinstance(estimator, SampledEstimator)
    samples = estimator.samples if sampled else None
    figures = Figures(label(estimator), estimator.kind, own, estimator.stochastic, samples)
    try:
        _require_affordable(estimator, problem)
        system = ResidualSystem(replace(problem, conditions=()), network, estimator)
        counter = loss_for(system, total_steps)
        counter.count([points])
        noise = _noise(system, points, exact, seconds) if sampled else {"variance": 0.0, "bias": 0.0}
        cost = _cost(ResidualSystem(problem, network, estimator), batch, seconds, total_steps)
    except UnsupportedError as error:
        return replace(figures, refused=str(error))
    except (torch.OutOfMemoryError, MemoryError):
        return replace(figures, refused="it runs out of memory")
    return replace(figures, evaluations=counter.evaluations / len(points), **noise, **cost)


def _require_affordable(estimator: DerivativeEstimator, problem: Problem) -> None:
    """Refuse noise in all d dimensions that alone would fill the memory."""
    if isinstance(estimator, (Smoothing, Hutchinson)) and estimator.space == "full":
        elements = estimator.samples * problem.domain.coordinates.total
        if elements > NOISE_ELEMENTS:
            raise UnsupportedError(f"not tried, because its noise alone takes {4e-9 * elements:.0f} GB")


@torch.no_grad()
def _noise(system: ResidualSystem, points: Points, exact: Tensor | None, seconds: float) -> dict[str, float | None]:
    """Variance of the residual's estimate, and bias of its square, from independent estimates at the same points."""
    estimator = system.estimator
    assert isinstance(estimator, SampledEstimator)
    residuals = [with_explicit_values(expr) for expr in system.residuals]
    requests = atoms(*residuals)
    generator = torch.Generator(points.tensor.device).manual_seed(SEED)
    affine = system.network.first_affine()
    width = points.tensor.shape[1] if affine is None else affine[0].shape[0]
    vectors = points.tensor.shape[1] if any(isinstance(atom, Gradient) for atom in requests) else 0
    largest = max(1, min(DRAWS, DRAW_ELEMENTS // (len(points) * max(width * estimator.samples, vectors))))
    parts: list[Tensor] = []
    start = time.perf_counter()
    while (count := sum(part.shape[1] for part in parts)) < DRAWS:
        # as many again as there are: they will take as long again
        if count >= FEWEST_DRAWS and 2 * (time.perf_counter() - start) > seconds:
            break
        chunk = min(largest, count or FEWEST_DRAWS, DRAWS - count)
        drawn = estimator.draw(system.network, points, requests, generator, [estimator.samples] * chunk)
        evaluator = Evaluator(points, drawn)
        parts.append(torch.stack([evaluator(expr).expand(chunk, len(points)) for expr in residuals]))
    draws = torch.cat(parts, 1).double()  # (e, R, n)
    figures: dict[str, float | None] = {"variance": float(draws.var(1).sum(0).mean())}
    if _unbiased(estimator, residuals):
        return figures | {"bias": figures["variance"]}
    if exact is not None:
        gaps = (draws.square() - exact[:, None].double().square()).sum(0).mean(1)
        figures |= {"bias": float(gaps.mean()), "bias_error": float(gaps.std()) / len(gaps) ** 0.5}
    return figures


def _unbiased(estimator: SampledEstimator, residuals: Sequence[Expr]) -> bool:
    """Whether the estimates of the residuals have the right mean: unbiased atoms, in an expression affine in them."""

    def bends(node: Expr) -> bool:
        bent = isinstance(node, (Function, Custom, Power))
        return bent and any(estimator.random(atom) for atom in atoms(node))

    straight = not any(bends(node) for expr in residuals for node in expr.walk())
    return straight and isinstance(estimator, StochasticTaylor) and SquaredResiduals(estimator, residuals).slots == 1


def _cost(system: ResidualSystem, batch: Sequence[Points], seconds: float, total_steps: int) -> dict[str, Any]:
    """Time and memory of the loss and its gradient; the first step, which is not timed, serves for the memory."""
    device = batch[0].tensor.device
    loss, generator = loss_for(system, total_steps), torch.Generator(device).manual_seed(SEED)
    parameters = [parameter for parameter in system.network.parameters() if parameter.requires_grad]
    times: list[float] = []

    def step() -> None:
        start = time.perf_counter()
        total = torch.stack(list(loss.terms(batch, generator).values())).sum()
        torch.autograd.grad(total, parameters, allow_unused=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)

    memory = peak_bytes(step, device)
    first = times.pop()
    while len(times) < 5 and first + sum(times) < seconds:
        step()
    return {"seconds_per_step": statistics.median(times or [first]), "peak_memory_bytes": memory}


def label(estimator: DerivativeEstimator) -> str:
    """An estimator's name with the options that tell its variants apart."""
    words = [estimator.kind]
    if isinstance(estimator, Smoothing):
        words.append("Stein" if estimator.weights == "stein" else f"differences, {estimator.law}")
    if isinstance(estimator, Hutchinson):
        words.append(estimator.law)
    if isinstance(estimator, (Smoothing, Hutchinson)):
        words.append("row space" if estimator.space == "rows" else "all coordinates")
        if estimator.noise == "per-point":
            words.append("per point")
    return ", ".join(words) + ("" if estimator.stochastic else " (exact)")


def _notes(measured: Sequence[Figures], exact: Tensor | None, points: Points) -> tuple[str, ...]:
    usable = [figures for figures in measured if figures.refused is None]
    sampled = [each for each in usable if each.stochastic]
    notes = [f"at {len(points)} fixed points; a step is the loss of all points and its gradient"]
    notes.append(
        "memory: largest size of the tensors that are alive at one time within a step"
        if points.tensor.device.type == "cpu"
        else "memory: largest allocation within a step"
    )
    if sampled and all(each.bias_error is None for each in sampled if each.bias is not None):
        notes.append(
            "bias of the square: equal to the variance, since these estimates of the residual have the right mean"
        )
    elif sampled:
        notes.append(
            "bias of the square: the variance, for hutchinson and sdgd where the residual is affine in what is random; "
            "else (with its standard error) the mean square of the estimates less that of the exact residual"
        )
    if exact is None:
        notes.append("exact derivatives take too long here: what is missing needs them")
    else:
        notes.append(f"mean square of the exact residual, to compare with: {float(exact.square().sum(0).mean()):.3g}")
    if len(measured) > 1:
        notes += _comparison(usable, sampled)
    return tuple(notes)


def _comparison(usable: Sequence[Figures], sampled: Sequence[Figures]) -> list[str]:
    """Which is the default, and which does best."""
    notes = []
    exact = next((each for each in usable if not each.stochastic), None)
    if exact is not None:
        notes.append(f'the default is kind = "auto", here {exact.kind}: exact, {_time(exact)} a step')
    if sampled:
        best = min(sampled, key=lambda each: ((each.variance or 0.0) * (each.evaluations or 1), each.seconds_per_step))
        notes.append(f"the best stochastic one by variance × evaluations is {best.name}: {_time(best)} a step")
        if exact is not None and (exact.seconds_per_step or 0.0) <= (best.seconds_per_step or 0.0):
            notes.append("exact derivatives are no slower than that here: prefer them")
    return notes


def _time(figures: Figures) -> str:
    return f"{1e3 * (figures.seconds_per_step or 0.0):.3g} ms"
