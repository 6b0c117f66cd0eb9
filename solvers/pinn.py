"""The physics-informed neural network: least squares on the residuals at random collocation points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor

from pinnx.errors import DivergedError, InputError, UnsupportedError
from pinnx.expr import Points
from pinnx.networks.base import NetworkSpec
from pinnx.networks.compiled import CompiledTail
from pinnx.options import at_least, check_limits, option, positive
from pinnx.problem import Problem
from pinnx.solvers.base import Solver, Training
from pinnx.solvers.derivatives.auto import Auto
from pinnx.solvers.derivatives.base import DerivativeEstimator
from pinnx.solvers.diagnostics import SEED as DIAGNOSTICS_SEED
from pinnx.solvers.diagnostics import Diagnostics, Which, diagnose
from pinnx.solvers.errors import Errors, TestSet, baselines
from pinnx.solvers.loss import loss_for
from pinnx.solvers.natural import LeastSquares, Linearization
from pinnx.solvers.probe import Probe
from pinnx.solvers.sampling.base import Law, Resampling, Sampler
from pinnx.solvers.sampling.batches import Batches
from pinnx.solvers.sampling.uniform import Uniform
from pinnx.solvers.solution import TEST_SEED, Solution, build_network
from pinnx.solvers.split import Split, Whole
from pinnx.solvers.system import ResidualSystem, require_single
from pinnx.solvers.training.adam import Adam
from pinnx.solvers.training.base import Optimizer, Situation
from pinnx.solvers.training.snapshot import snapshot
from pinnx.solvers.training.stages import Leg, Stage, legs_of
from pinnx.solvers.weighting.base import Circumstances, Weighting

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@final
@dataclass(frozen=True)
class Pinn(Solver):
    """Minimizes the mean squared residuals, plus weighted soft conditions, over a network's parameters."""

    kind: ClassVar[str] = "pinn"
    steps: int = option(10_000, "training steps", at_least(1))
    points: int = option(100, "collocation points per step", at_least(1))
    condition_points: int = option(100, "points per step on each soft condition", at_least(1))
    precision: Literal["float32", "float64"] = option("float32", "floating-point format of network and points")
    sampling: Literal["uniform", "sobol"] = option("uniform", "how collocation points are drawn")
    resample_every: int | None = option(
        None,
        "steps between fresh points; 0 keeps the first; default 1, or 0 for L-BFGS; adaptive points have their own",
        at_least(0),
    )
    resampling: Resampling = option(Uniform, "which collocation points are chosen")
    weighting: tuple[Weighting, ...] = option((), "weights that change during the training, multiplied where several")
    derivatives: DerivativeEstimator = option(Auto, "how derivatives of the network are obtained")
    optimizer: Optimizer = option(Adam, "how parameters move")
    stage: tuple[Stage, ...] = option((), "optimizers one after the other, in the place of `steps` and `optimizer`")
    clip_gradient: float | None = option(None, "largest norm of the gradient; longer ones are shortened", positive)
    evaluate_every: int = option(500, "steps between measurements of the error on the test points", at_least(1))
    compile: bool = option(False, "torch.compile the loss, or with smoothing the network (measure whether it pays)")

    def __post_init__(self) -> None:
        check_limits(self)
        defaults = type(self).__dataclass_fields__
        if self.stage and (self.steps != defaults["steps"].default or self.optimizer != Adam()):
            raise InputError(
                "steps and optimizer belong into each [[solver.stage]] where there are stages", key="stage"
            )

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, or the one that `steps` and `optimizer` make."""
        return self.stage or (Stage(self.steps, self.optimizer),)

    def start(self, problem: Problem, network: NetworkSpec, *, seed: int, device: torch.device) -> Training:
        return PinnTraining(self, problem, network, seed=seed, device=device)


@final
class PinnTraining(Training):
    """A run of `Pinn`."""

    def __init__(self, options: Pinn, problem: Problem, spec: NetworkSpec, *, seed: int, device: torch.device):
        self.options, self.problem, self.spec, self.device = options, problem, spec, device
        require_single(problem, "the solver 'pinn'")
        self.dtype = _DTYPES[options.precision]
        self.network = build_network(problem, spec, seed=seed, dtype=self.dtype, device=device)
        self.generator = torch.Generator(device).manual_seed(seed + 1)
        self.system = ResidualSystem(problem, self.network, options.derivatives)
        self.trainable = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.parameters = sum(parameter.numel() for parameter in self.trainable)
        reasons = self._choose_optimizers()
        self.step_number, self.total_steps = 0, sum(leg.steps for leg in self.legs)
        self.evaluate_every = options.evaluate_every
        self.loss = loss_for(self.system, self.total_steps)
        self.notes = (self.system.note, *self.loss.notes, *reasons)
        if any(leg.optimizer.needs == "residuals" for leg in self.legs):
            self._squares = LeastSquares(self.system, self.trainable, self.loss.names)
            self.notes += (self._squares.note,)
        self.batches = self._choose_points()
        self._terms: Callable[..., dict[str, Tensor]] = self.loss.terms
        if options.compile and self.system.estimator.stochastic:
            self.system.network = CompiledTail(self.network)
        elif options.compile:
            self._terms = torch.compile(self.loss.terms)
        self._tests: TestSet | None = None
        self.split: Split = Whole()
        self._enter(0)

    def step(self) -> dict[str, float]:
        if self.step_number >= self.leg.start + self.leg.steps and self._stage + 1 < len(self.legs):
            self._enter(self._stage + 1)
        if self.batches.prepare(self.leg, self.step_number, self.generator):
            self._forget_loss()
        rate = self.leg.learning_rate(self.step_number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        calls: list[dict[str, float]] = []
        undo = (
            snapshot(self.trainable, self.optimizer)
            if self.leg.optimizer.fixed_points and not self.leg.optimizer.restores
            else None
        )

        def closure() -> Tensor:
            loss, metrics = self._loss_and_gradient()
            calls.append(metrics)
            return loss

        argument = _BatchResiduals(self) if self.leg.optimizer.needs == "residuals" else closure
        try:
            self.optimizer.step(argument)  # type: ignore[arg-type]
        except DivergedError:
            if undo is not None:
                undo()
            raise
        self.step_number += 1
        seen = calls[getattr(self.optimizer, "reported", 0)] if calls else {}
        metrics = {**seen, "learning_rate": rate, **getattr(self.optimizer, "metrics", {}), **self.batches.metrics}
        return metrics | self.loss.observe(self.step_number, metrics["loss"])

    def evaluate(self) -> Errors | None:
        return self._test_set().errors(self.solution().values)

    def baselines(self) -> dict[str, Errors | None]:
        return baselines(self._test_set())

    def diagnose(self, which: Which = "own", seconds: float = 0.5) -> Diagnostics:
        batch = self.batches.plain(self.leg, torch.Generator(self.device).manual_seed(DIAGNOSTICS_SEED))
        estimator, steps = self.options.derivatives, self.total_steps
        return diagnose(self.problem, self.network, estimator, batch, which=which, seconds=seconds, total_steps=steps)

    @property
    def network_evaluations(self) -> int:  # type: ignore[override]
        """Evaluations of the network so far."""
        return self.loss.evaluations

    def solution(self) -> Solution:
        solution = Solution(self.problem, self.network, self.spec)
        solution.collocation, solution.collocation_weights = self.batches.shown()
        return solution

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step_number,
            "stage": self._stage,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "loss": self.loss.state_dict(),
            **self.batches.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step_number = state["step"]
        self._enter(state.get("stage", 0))
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.load_state_dict(state, self.leg if self.step_number else None, self.generator)
        self.loss.load_state_dict(state["loss"])
        self.generator.set_state(state["generator"].cpu())

    def _forget_loss(self) -> None:
        """The loss is another function now: the optimizer must not compare it with what it knows."""
        restart = getattr(self.optimizer, "restart", None)
        if restart is not None:
            restart()
        elif isinstance(self.optimizer, torch.optim.LBFGS):
            self.optimizer.state.clear()

    @property
    def _batch(self) -> list[Points] | None:
        return self.batches.current

    def _enter(self, stage: int) -> None:
        """Begin a stage: a new optimizer, and points of its own."""
        self._stage, self.leg = stage, self.legs[stage]
        self.optimizer = self.leg.optimizer.build(self.trainable)
        self.batches.current = None

    def _loss_and_gradient(self) -> tuple[Tensor, dict[str, float]]:
        assert self._batch is not None
        self.optimizer.zero_grad(set_to_none=True)
        parts = self._terms(self.split.share(self._batch), self.split.noise(self.generator))
        self.loss.count(self._batch)
        parts = self.split.weighted(parts, self._batch)
        torch.stack(list(parts.values())).sum().backward()
        terms = self.split.total({name: part.detach() for name, part in parts.items()}, self.trainable)
        loss = torch.stack(list(terms.values())).sum()
        metrics = {"loss": float(loss)} | {f"loss/{name}": float(term) for name, term in terms.items()}
        self._require_finite(metrics)
        limit = float("inf") if self.options.clip_gradient is None else self.options.clip_gradient
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.trainable if p.grad is not None])
        metrics["gradient_norm"] = float(norm)
        self._require_finite({"the gradient": metrics["gradient_norm"]})
        if metrics["gradient_norm"] > limit:
            torch.nn.utils.clip_grads_with_norm_(self.trainable, limit, norm)
        return loss, metrics

    def _require_finite(self, values: dict[str, float]) -> None:
        bad = [name for name, value in values.items() if value != value or abs(value) == float("inf")]
        if bad:
            terms = ", ".join(name for name in bad if name != "loss") or bad[0]
            raise DivergedError(
                f"step {self.step_number + 1}: {terms} is not finite ({values[bad[-1]]}); try a smaller "
                "solver.optimizer.learning_rate, solver.clip_gradient = 1.0 or solver.precision = 'float64'"
            )

    def _choose_optimizers(self) -> list[str]:
        """Decide on every stage; the reasons for what was chosen. Combinations that would mislead are refused."""
        options, reasons, stages = self.options, list[str](), list[Stage]()
        estimator = self.system.estimator
        if options.compile and estimator.stochastic and not getattr(estimator, "compilable", False):
            raise UnsupportedError(
                f"compile = true cannot serve the derivatives {estimator.kind!r}, which draw directions of Taylor "
                "series; use smoothing, or exact derivatives"
            )
        for leg, stage in zip(self._legs(options.stages), options.stages, strict=True):
            optimizer, reason = stage.optimizer.choose(self._situation(leg))
            if optimizer.needs == "residuals" and (options.clip_gradient is not None or options.compile):
                raise UnsupportedError(
                    f"the optimizer {optimizer.kind!r} works with residuals, not with the gradient of the loss: it "
                    "knows neither clip_gradient nor compile"
                )
            stages.append(replace(stage, optimizer=optimizer))
            reasons += [] if reason is None else [reason]
        self.legs = self._legs(stages)
        return list(dict.fromkeys(reasons))

    def _legs(self, stages: Sequence[Stage]) -> list[Leg]:
        options = self.options
        every = options.resampling.steps_between
        return legs_of(stages, options.points, options.condition_points, options.resample_every, every)

    def _choose_points(self) -> Batches:
        """The sampler and the weights. What would mislead is refused."""
        options, problem, stochastic = self.options, self.problem, self.system.estimator.stochastic
        resampling, stay = options.resampling, all(leg.resample_every == 0 for leg in self.legs)
        if (reason := resampling.refusal(stochastic)) is not None:
            raise UnsupportedError(f"the points {resampling.kind!r}: it {reason}")
        if resampling.adaptive and stay:
            raise InputError(
                f"resample_every = 0 keeps the first points, and the points {resampling.kind!r} would never be chosen"
            )
        sampler: Sampler = resampling.build(Law(problem.domain, self.dtype, options.sampling))
        given = Circumstances(problem, stochastic, stay, self.device, self.dtype)
        weights = [weighting.build(given) for weighting in options.weighting]
        probe = Probe(self.system, self.loss, self.trainable)
        return Batches(problem, sampler, options.weighting, weights, probe, self.generator)

    def _situation(self, leg: Leg) -> Situation:
        rows = leg.points * len(self.system.residuals) + leg.condition_points * len(self.system.conditions)
        return Situation(
            parameters=self.parameters,
            residuals=rows,
            precision=self.options.precision,
            stochastic=self.system.estimator.stochastic,
            coordinates=self.problem.domain.coordinates.total,
            points_stay=leg.resample_every == 0,
        )

    def _test_set(self) -> TestSet:
        if self._tests is None:
            self._tests = TestSet(self.problem, TEST_SEED, self.device)
        return self._tests


@final
class _BatchResiduals:
    """The residuals of the batch that a training holds, for optimizers that ask for them."""

    def __init__(self, training: PinnTraining):
        self.training = training

    def linearize(self) -> Linearization:
        training, batch = self.training, self.training._batch
        assert batch is not None
        split, counts = training.split, [len(points) for points in batch]
        share = training._squares.linearize(split.share(batch), split.noise(training.generator), counts)
        linear = split.linear(share, batch)
        training.loss.count(batch)
        training._require_finite({f"loss/{name}": value for name, value in linear.terms.items()})
        return linear

    def loss(self) -> float:
        training, split, batch = self.training, self.training.split, self.training._batch
        assert batch is not None
        training.loss.count(batch)
        with torch.no_grad():
            parts = training.loss.terms(split.share(batch), split.noise(training.generator))
            return float(sum(split.total(split.weighted(parts, batch), ()).values()))
