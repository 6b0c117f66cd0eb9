"""One problem, one coordinate network: its equation holds at chosen points by construction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

import torch

from pinnx.errors import DivergedError, UnsupportedError
from pinnx.expr import Evaluator, Expr, Points, atoms, has_unknown, with_explicit_values
from pinnx.networks.base import NetworkSpec
from pinnx.problem import Problem
from pinnx.solvers.constrained.basis import (
    Combination,
    CombinationSpec,
    basis_atoms,
    basis_forms,
    require_not_stochastic,
)
from pinnx.solvers.constrained.outer import OuterLoss, OuterTraining, choose_optimizer
from pinnx.solvers.errors import Errors, TestSet, baselines
from pinnx.solvers.experts import Ending, Rows, Solved, solve_coefficients
from pinnx.solvers.solution import TEST_SEED, Solution
from pinnx.solvers.system import in_network
from pinnx.solvers.training.base import Situation

if TYPE_CHECKING:
    from pinnx.solvers.hard_constraint import HardConstraint


@final
class PointTraining(OuterTraining):
    """A run of `HardConstraint` on a problem without instances.

    The network's N outputs per unknown are a basis. At each step the coefficients are solved for at the chosen points,
    which stay the same for the whole run; then the basis moves down the mean square of the residuals at fresh points.
    """

    def __init__(
        self,
        options: HardConstraint,
        problem: Problem,
        spec: NetworkSpec,
        *,
        seed: int,
        device: torch.device,
        chosen: Sequence[Points] | None = None,
    ):
        """Build it.

        Args:
            options: of the solver.
            problem: what is solved.
            spec: of the basis.
            seed: of all random numbers.
            device: of the network.
            chosen: the points where the equation, then each soft condition, must hold; by default they are drawn.
        """
        self.options, self.problem, self.dtype, self.device = options, problem, options.dtype, device
        self.spec = CombinationSpec(spec, options.basis)
        self.unknowns = len(problem.equation.unknowns)
        generator = torch.Generator(device).manual_seed(seed)
        inputs, outputs = problem.domain.coordinates.total, self.unknowns * options.basis
        self.basis = spec.build(inputs, outputs, generator=generator, dtype=self.dtype).to(device)
        self.chosen_points = list(chosen or self._draw(options.points, options.condition_points, generator))
        self.residuals = self._residuals()
        every = atoms(*(expr for _, expr, _ in self.residuals))
        self.estimator, note = options.derivatives.choose(self.basis, basis_atoms(every, options.basis))
        require_not_stochastic(self.estimator)
        rows = sum(len(points) for points in self._points_of(self.chosen_points))
        super().__init__(
            self.basis,
            self._choose(rows),
            steps=options.steps,
            evaluate_every=options.evaluate_every,
            clip=options.clip_gradient,
            seed=seed,
        )
        self.omega = torch.zeros(1, options.basis, dtype=torch.float64, device=device)
        self.notes = (note, f"{options.basis} coefficients solve {rows} rows at each step", *self._reasons)
        self._tests: TestSet | None = None

    @property
    def batch_sizes(self) -> dict[str, int]:
        conditions = {"condition_points": self.options.condition_points} if self.problem.conditions else {}
        return {"loss_points": self.options.loss_points, **conditions}

    def loss(self, generator: torch.Generator) -> OuterLoss:
        solved = self.solve()
        self.omega = solved.omega.detach()
        fresh = self._draw(self.options.loss_points, self.options.condition_points, generator)
        terms = {}
        for (name, expr, weight), whole in zip(self.residuals, self._points_of(fresh), strict=True):
            points = whole.rows(self.split.rows(len(whole)))
            forms = basis_forms(self.estimator, self.basis, points, atoms(expr), self.options.basis)
            values = {atom: torch.einsum("b...j,bj->...", form.double(), solved.omega) for atom, form in forms.items()}
            residual = Evaluator(points.to(torch.float64), values)(expr)
            terms[name] = weight * residual.square().mean() * (len(points) / len(whole))
            self.network_evaluations += len(points)
        part = self.split.rows(len(fresh[0]))  # every process solves for the coefficients, alike
        share = (part.stop - part.start) / len(fresh[0])
        return OuterLoss(terms, {name: share * value for name, value in constraint_metrics(solved).items()})

    def solve(self) -> Solved:
        """The coefficients for the network as it is, differentiable in its parameters.

        Raises:
            DivergedError: the rows are not finite.
        """
        rows = []
        for (_, expr, weight), points in zip(self.residuals, self._points_of(self.chosen_points), strict=True):
            forms = basis_forms(self.estimator, self.basis, points, atoms(expr), self.options.basis)
            rows.append(Rows(expr, points, forms, weight=weight))
            self.network_evaluations += len(points)
        solved = solve_coefficients(rows, self.options.constraint, self.omega)
        if solved.statuses[0].ending is Ending.NOT_FINITE:
            raise DivergedError(f"step {self.step_number + 1}: {solved.statuses[0].message}")
        return solved

    def evaluate(self) -> Errors | None:
        return self._test_set().errors(self.solution().values)

    def baselines(self) -> dict[str, Errors | None]:
        return baselines(self._test_set())

    @torch.no_grad()
    def solution(self) -> Solution:
        before = self.network_evaluations
        omega = self.solve().omega[0].to(self.dtype)
        self.network_evaluations = before
        return Solution(self.problem, Combination(self.basis, omega, self.unknowns), self.spec)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "omega": self.omega, "chosen": [each.tensor for each in self.chosen_points]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.omega = state["omega"]
        self.chosen_points = [
            Points(tensor, points.coordinates, points.extra)
            for tensor, points in zip(state["chosen"], self.chosen_points, strict=True)
        ]

    def _residuals(self) -> list[tuple[str, Expr, float]]:
        """Name, expression in the network's atoms and weight of every residual, those of the equation first."""
        equations = [in_network(self.problem, expr) for expr in self.problem.equation.residuals()]
        names = ["residual"] if len(equations) == 1 else [f"residual{place + 1}" for place in range(len(equations))]
        found = [(name, expr, 1.0) for name, expr in zip(names, equations, strict=True)]
        conditions = self.problem.conditions
        found += [(each.name, in_network(self.problem, each.residual), each.weight) for each in conditions]
        for name, expr, _ in found:
            if not has_unknown(with_explicit_values(expr)):
                raise UnsupportedError(f"the {name} does not depend on the unknown: {expr}")
        return [(name, with_explicit_values(expr), weight) for name, expr, weight in found]

    def _points_of(self, batch: Sequence[Points]) -> list[Points]:
        """The points of every residual: all equations share the first set."""
        return [batch[0]] * len(self.problem.equation.residuals()) + list(batch[1:])

    def _draw(self, points: int, condition_points: int, generator: torch.Generator) -> list[Points]:
        draw: dict[str, Any] = {"dtype": self.dtype, "method": self.options.sampling}
        batch = [self.problem.domain.sample(points, generator, **draw)]
        batch += [each.domain.sample(condition_points, generator, **draw) for each in self.problem.conditions]
        return batch

    def _choose(self, rows: int) -> Any:
        parameters = sum(parameter.numel() for parameter in self.basis.parameters() if parameter.requires_grad)
        coordinates = self.problem.domain.coordinates.total
        situation = Situation(parameters, rows, self.options.precision, coordinates=coordinates)
        optimizer, self._reasons = choose_optimizer(self.options.optimizer, situation)
        return optimizer

    def _test_set(self) -> TestSet:
        if self._tests is None:
            self._tests = TestSet(self.problem, TEST_SEED, self.device)
        return self._tests


def constraint_metrics(solved: Solved, part: float = 1.0) -> dict[str, float]:
    """What is worth a line of the solve: root mean square of the constraint's residual, iterations, failures.

    Args:
        solved: of some instances.
        part: of the batch that these are; means are multiplied by it.
    """
    return {
        "constraint": part * float(solved.residual_norm.mean()),
        "constraint_iterations": part * float(solved.iterations.double().mean()),
        "constraint_failures": float((~solved.ok).sum()),
    }
