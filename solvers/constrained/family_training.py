"""Many instances of one equation: a network on a grid learns a basis from residuals alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from pinnx.errors import InputError, UnsupportedError
from pinnx.expr import Atom
from pinnx.family import HELD_OUT, Instances, open_data
from pinnx.networks.base import NetworkSpec
from pinnx.networks.grid import GridNetworkSpec
from pinnx.problem import Problem
from pinnx.solvers.constrained.basis import require_not_stochastic
from pinnx.solvers.constrained.exact_forms import require_exact
from pinnx.solvers.constrained.examination import examine
from pinnx.solvers.constrained.family_solution import FamilySolution, errors_of
from pinnx.solvers.constrained.operator import Operator, Setting
from pinnx.solvers.constrained.outer import OuterLoss, OuterTraining, choose_optimizer
from pinnx.solvers.constrained.point_training import constraint_metrics
from pinnx.solvers.errors import Errors
from pinnx.solvers.experts import Ending, Rows, Solved
from pinnx.solvers.training.base import Situation

if TYPE_CHECKING:
    from pinnx.solvers.hard_constraint import HardConstraint

#: What is added to the seed of a case for the instances whose solutions the baselines know.
KNOWN = 2_000_003


@final
class FamilyTraining(OuterTraining):
    """A run of `HardConstraint` on a family of instances.

    At each step fresh instances are drawn, or a few of a fixed number. The loss is the mean square of the residual of
    the stitched field on the whole grid: no solution takes part in it. References serve the validation alone, on
    instances that are never trained on.
    """

    def __init__(
        self, options: HardConstraint, problem: Problem, spec: NetworkSpec, *, seed: int, device: torch.device
    ):
        if not isinstance(spec, GridNetworkSpec):
            raise UnsupportedError(
                f"the network {spec.kind!r} is a function of the coordinates alone, and a family of instances needs "
                "one that sees the instance: fno or encoded-mlp"
            )
        if device.type != "cpu":
            raise UnsupportedError(
                f'families of instances are solved on the CPU so far: set device = "cpu", not {device}'
            )
        self.options, self.problem, self.seed, self.device = options, problem, seed, device
        self.setting = setting_of(options, problem)
        trained = _trained(self.setting)
        self.operator = Operator(self.setting, trained)
        family = self.family = self.operator.family
        self.free = Operator(replace(self.setting, method="soft"), trained) if options.warm_up else self.operator
        self.size = 1 if options.method == "soft" else options.basis
        probe = self.operator.features(family.numbered([0], seed))
        generator = torch.Generator(device).manual_seed(seed)
        network = spec.build_on_grid(
            probe.shape[1],
            self.size * family.outputs,
            tuple(axis.periodic for axis in family.grid.axes),
            generator=generator,
            dtype=options.dtype,
        )
        if self.setting.exact is not None:
            require_exact(network, family, exact_data=self.setting.exact_data)
            require_not_stochastic(self.setting.exact)
        rows = options.instances_per_step * sum(len(each.nodes) for each in self.operator.field_rows.stated)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        situation = Situation(parameters, rows, options.precision, coordinates=family.grid.dimension)
        optimizer, reasons = choose_optimizer(options.optimizer, situation)
        if options.warm_up and optimizer.fixed_points:
            raise UnsupportedError(
                f"the optimizer {optimizer.kind!r} needs one loss for the whole run, and solver.warm_up changes it: "
                "use adam or soap"
            )
        super().__init__(
            network,
            optimizer,
            steps=options.steps,
            evaluate_every=options.evaluate_every,
            clip=options.clip_gradient,
            seed=seed,
        )
        self.frame = trained
        self.notes = (self._note(), *reasons)
        self._references: tuple[Instances, Tensor] | None = None
        self._answers: dict[str, Tensor] | None = None

    @property
    def batch_sizes(self) -> dict[str, int]:
        count, total = self.options.instances_per_step, self.options.instances
        return {"instances": count if total is None else min(count, total)}

    def learning_rate(self) -> float:
        """The schedule goes through once in the warm-up and once more after it: a rate that had fallen for a network
        without a constraint would leave nothing to learn with one."""
        options, done = self.options, self.options.warm_up
        if self.step_number < done:
            return self.chosen.learning_rate_at(self.step_number, min(done, self.total_steps))
        rate = self.chosen.learning_rate_at(self.step_number - done, self.total_steps - done)
        return rate * (options.rate_after_warm_up if done else 1.0)

    def loss(self, generator: torch.Generator) -> OuterLoss:
        drawn = self._drawn(generator)
        instances = drawn.rows(self.split.rows(len(drawn)))
        if self.step_number < self.options.warm_up:
            rows, ones = self._unconstrained(instances)
            return OuterLoss(_terms(self.free, rows, ones, len(instances) / len(drawn)))
        rows, omega, solved = self._solve(instances, generator)
        if solved is None:
            return OuterLoss(_terms(self.operator, rows, omega, len(instances) / len(drawn)))
        metrics = constraint_metrics(solved, len(instances) / len(drawn))
        sound = torch.tensor([status.ending is not Ending.NOT_FINITE for status in solved.statuses])
        kept = int(sound.sum())
        left_out = (len(instances) - kept) / len(drawn)
        if not kept:
            nothing = {each.name: torch.zeros((), dtype=torch.float64) for each in self.operator.field_rows.stated}
            return OuterLoss(nothing, metrics, left_out, f"no instance is solved: {solved.statuses[0].message}")
        if left_out:  # from the start: even a zero cotangent makes NaN of what is not finite
            rows, omega, _ = self._solve(instances.rows(sound), generator)
        return OuterLoss(_terms(self.operator, rows, omega, kept / len(drawn)), metrics, left_out)

    def _solve(self, instances: Instances, generator: torch.Generator) -> tuple[list[Rows], Tensor, Solved | None]:
        basis = self.operator.basis(self.network, instances, self.size)  # type: ignore[arg-type]
        self.network_evaluations += len(instances)
        return self.operator.solve(basis, instances, generator)

    def _unconstrained(self, instances: Instances) -> tuple[list[Rows], Tensor]:
        """The rows of the mean of the basis functions: a network that solves roughly by itself is a good basis, while
        least squares in a basis that knows nothing shrink the solution to the trial solution of f = 0. Of the mean,
        since a sum of N moves N times as far with each step of the last layer."""
        basis = self.free.basis(self.network, instances, self.size)  # type: ignore[arg-type]
        self.network_evaluations += len(instances)
        if isinstance(basis, Tensor):
            whole: Tensor | dict[Atom, Tensor] = basis.mean(1, keepdim=True)
        else:
            whole = {atom: form.mean(-1, keepdim=True) for atom, form in basis.items()}
        rows, ones, _ = self.free.solve(whole, instances, torch.Generator())
        return rows, ones

    def evaluate(self) -> Errors:
        instances, reference = self.held_out()
        return errors_of(self.solution().solve(instances).values, reference, self.family.grid.measure())

    def baselines(self) -> dict[str, Errors | None]:
        _, reference = self.held_out()
        measure = self.family.grid.measure()
        return {name: errors_of(values, reference, measure) for name, values in self.answers().items()}

    def answers(self) -> dict[str, Tensor]:
        """What the baselines answer for the held-out instances, (B, m, *grid) each; computed once."""
        if self._answers is None:
            known = self.family.numbered(range(self.options.known_instances), self.seed + KNOWN)
            self._answers = self.family.baselines(self.held_out()[0], known, self.family.reference(known))
        return self._answers

    def held_out(self) -> tuple[Instances, Tensor]:
        """The instances that errors are measured on and their references; computed once."""
        if self._references is None and self.options.test_data is not None:
            self._references = self._from_file(self.options.test_data)
        if self._references is None:
            instances = self.family.numbered(range(self.options.test_instances), self.seed + HELD_OUT)
            self._references = instances, self.family.reference(instances)
        return self._references

    def _from_file(self, path: Path) -> tuple[Instances, Tensor]:
        """Held-out instances and their references.

        Raises:
            InputError: the file is of another equation, or holds the instances that are trained on.
        """
        data = open_data(path)
        data.require(self.problem.equation, self.family)
        if data.seed == self.seed:
            raise InputError("holds the instances that are trained on: make it with another seed", file=path)
        rows = slice(0, self.options.test_instances)
        return self.family.realize(data.parameters[rows]), data.solutions(rows)

    def solution(self) -> FamilySolution:
        found = FamilySolution(self.network, self.setting, self.frame, self.size, self.seed)  # type: ignore[arg-type]
        found.examine = lambda: examine(found, *self.held_out(), self.answers())
        return found

    def _drawn(self, generator: torch.Generator) -> Instances:
        count, total = self.options.instances_per_step, self.options.instances
        if total is None:
            return self.family.draw(count, generator)
        numbers = torch.randperm(total, generator=generator)[:count]
        return self.family.numbered(numbers.tolist(), self.seed)

    def _note(self) -> str:
        grid = " × ".join(map(str, self.family.grid.shape))
        if self.options.method == "soft":
            return f"no constraint, on a grid of {grid} nodes"
        experts = len(self.operator.partition)
        return f"{self.size} basis functions on a grid of {grid} nodes; " + (
            "one constraint" if experts == 1 else f"{experts} experts, {self.setting.coupling.kind}"
        )


def _terms(operator: Operator, rows: list[Rows], omega: Tensor, part: float) -> dict[str, Tensor]:
    """The mean square of each weighted residual over some instances, times their part of the batch."""
    found = zip(operator.field_rows.stated, operator.residuals(rows, omega), strict=True)
    return {stated.name: (residual.square() * stated.weight).mean() * part for stated, residual in found}


def setting_of(options: HardConstraint, problem: Problem) -> Setting:
    """How the options turn a basis into a solution."""
    assert problem.instances is not None
    dimension = problem.instances.grid.dimension
    blocks = (options.blocks,) * dimension if isinstance(options.blocks, int) else tuple(options.blocks)
    return Setting(
        problem.equation,
        options.method,
        options.coupling,
        blocks,
        options.constraint,
        options.known_values == "exact",
        options.sees_residual,
        options.constraint_nodes,
        options.train_until,
        options.time,
        options.space,
        options.derivatives if options.basis_derivatives == "exact" else None,
    )


def _trained(setting: Setting) -> tuple[tuple[float, float], ...]:
    """Both ends of each axis, as far as is trained."""
    family = setting.equation.problem().instances
    assert family is not None
    time = family.grid.time
    if setting.until is not None and (time is None or not time.low < setting.until <= time.high):
        found = "there is no time" if time is None else f"it runs from {time.low} to {time.high}"
        raise InputError(f"must be a time of the grid ({found}), got {setting.until}", key="solver.train_until")
    return tuple(
        (axis.low, axis.high if axis.group != "t" or setting.until is None else setting.until)
        for axis in family.grid.axes
    )
