"""Linear systems: a search direction is trained and judged, or a given system solved."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import h5py
import torch
from torch import Tensor

from pinnx.errors import DivergedError, InputError, UnsupportedError
from pinnx.networks.base import NetworkSpec
from pinnx.options import at_least, check_limits, option, positive
from pinnx.problem import Equation, Problem
from pinnx.solvers.base import SystemSolver, Training
from pinnx.solvers.errors import Errors
from pinnx.solvers.linear.base import Direction
from pinnx.solvers.linear.comparison import Comparison, SolveOptions, break_even, clock, compare, on_device, row, table
from pinnx.solvers.linear.directions.learned import LearnedDirection
from pinnx.solvers.linear.directions.ritz import OperatorRitzSamples, RitzSamples
from pinnx.solvers.linear.directions.trained import Trained
from pinnx.solvers.linear.directions.training import DirectionTraining, TrainDirection
from pinnx.solvers.linear.krylov import solve
from pinnx.solvers.linear.preconditioners import Identity
from pinnx.solvers.linear.result import LinearResult
from pinnx.solvers.linear.stencil import GridOperator
from pinnx.solvers.linear.systems import EquationSystem, System, SystemSource
from pinnx.solvers.solution import Answer

#: What is added to the seed of a case for the systems of a comparison: training never draws from it.
HELD_OUT = 1_000_003


@final
@dataclass(frozen=True)
class LinearSystem(SystemSolver):
    """Solves a linear system A x = b by conjugate directions; `[network]` plays no part in it.

    With `[solver.training]` a search direction is trained first, and saved as `direction.pt` in the run directory. With
    `[solver.comparison]` it is then judged on held-out systems beside classical methods. Without training the one step
    of the run is the solve, with `direction`. Where the system is that of an equation, Ritz samples are those of the
    equation's own matrix.
    """

    kind: ClassVar[str] = "linear-system"

    system: SystemSource = option(EquationSystem, "what is solved")
    training: TrainDirection | None = option(None, "how a direction is trained; none: the one below is used")
    direction: Direction = option(Identity, "the search direction, where none is trained")
    comparison: Comparison | None = option(None, "beside what the direction is judged; none: nothing is compared")
    tolerance: float = option(1e-6, "relative norm of the true residual at which a system counts as solved", positive)
    max_iterations: int | None = option(None, "limit of the iterations; by default 10 n, at most 10 000", at_least(1))
    memory: int | Literal["full"] = option(
        2, 'earlier directions that each new one is made conjugate to, or "full"; classical methods take 1'
    )
    evaluate_every: int = option(100, "steps between two validations on draws apart from training", at_least(1))
    data: Path | None = option(None, 'folder for large training data, kept; "none": a temporary one')

    def __post_init__(self) -> None:
        if isinstance(self.memory, int) and self.memory < 0:
            raise ValueError(f"memory must be at least 0, got {self.memory}")
        check_limits(self)

    def start(
        self, problem: Problem | None, network: NetworkSpec, *, seed: int, device: torch.device
    ) -> LinearSystemTraining:
        return LinearSystemTraining(self, problem, seed=seed, device=device)


@final
class LinearSystemSolution(Answer):
    """What a run of `LinearSystem` comes to.

    Attributes:
        direction: the trained direction, or the one that was chosen.
        system: the system that was solved; None for a distribution of systems.
        result: of the solve; None before it, and for a distribution.
    """

    def __init__(self, direction: Direction, system: System | None, result: LinearResult | None):
        self.direction, self.system, self.result = direction, system, result

    @property
    def x(self) -> Tensor | None:
        """The solution (k, n), or None where there is none (yet)."""
        return None if self.result is None else self.result.x


@final
class LinearSystemTraining(Training):
    """A run of `LinearSystem`."""

    def __init__(self, options: LinearSystem, problem: Problem | None, *, seed: int, device: torch.device):
        self.options, self.problem, self.seed, self.device = options, problem, seed, device
        self.equation: Equation | None = None if problem is None else problem.equation
        own = options.system.own(self.equation)
        self.system = None if own is None else on_device(own, device)
        self.evaluate_every, self.step_number = options.evaluate_every, 0
        self.result: LinearResult | None = None
        self._now = clock(torch.device("cpu"))
        began = self._now()
        self.trainer = self._trainer()
        self._data_seconds, self._step_seconds = self._now() - began, 0.0
        self.total_steps = self.trainer.total_steps if self.trainer else 1
        self.parameters = self.trainer.parameters if self.trainer else 0
        self.notes = tuple(self._notes())
        self._require_fit()

    @property
    def direction(self) -> Direction:
        """The direction as it is now."""
        return self.trainer.direction if self.trainer else self.options.direction

    @property
    def network_evaluations(self) -> int:  # type: ignore[override]
        """Residuals that the network has seen in training, and in the solve."""
        solved = 0 if self.result is None else self.result.direction_calls
        if self.trainer is None:
            return solved
        return self.step_number * self.trainer.options.batch * self.trainer.options.rollout + solved

    def step(self) -> dict[str, float]:
        if self.trainer is None:
            return self._solving_step()
        began = self._now()
        metrics = self.trainer.step()
        self._step_seconds += self._now() - began
        self.step_number = self.trainer.step_number
        if self.step_number % self.evaluate_every == 0 or self.step_number == self.total_steps:
            metrics["validation"] = self.trainer.validate()["loss"]
        return metrics

    def evaluate(self) -> Errors | None:
        """Errors of the discrete solution at the nodes, once there is one and the equation has a reference."""
        if self.step_number < self.total_steps or not self._has_reference():
            return None
        return self._errors(self._solved().x[0])

    def baselines(self) -> dict[str, Errors | None]:
        if self.system is None or not self._has_reference():
            return {}
        return {"zero": self._errors(torch.zeros_like(self.system.b[0]))}

    def solution(self) -> LinearSystemSolution:
        return LinearSystemSolution(self.direction, self.system, self.result)

    def finish(self, folder: Path, say: Callable[[str], None] = lambda sentence: None) -> dict[str, Any]:
        """Write `direction.pt` and `x.h5`, and compare.

        Returns:
            Plain values: `training`, what it cost; `tolerance`; `tables`, as `compare` makes them; `break_even`.
        """
        options, tables = self.options, []
        if isinstance(self.direction, LearnedDirection):
            self.direction.save(folder / "direction.pt")
        if self.system is not None:
            result = self._solved()
            _write_vector(folder / "x.h5", self.system, result)
            tables.append(self._own_table(self.system, result))
        if options.comparison is not None:
            tables = compare(
                options.system,
                options.comparison,
                {self.name: self.direction},
                self._how(),
                seed=self.seed + HELD_OUT,
                equation=self.equation,
                device=self.device,
                say=say,
            )
        training = self._training_record()
        seconds = float(training["seconds"]) if training else 0.0
        return {
            "training": training,
            "tolerance": options.tolerance,
            "tables": tables,
            "break_even": break_even(tables, seconds) if training else [],
        }

    @property
    def name(self) -> str:
        """What the direction is called beside others."""
        direction = self.direction
        learned = direction.learned if isinstance(direction, Trained) else direction
        kind = learned.spec.kind if isinstance(learned, LearnedDirection) else getattr(direction, "kind", "direction")
        if isinstance(learned, LearnedDirection):
            return f"learned {kind}"
        return "CG" if kind == "identity" else str(kind)

    def state_dict(self) -> dict[str, Any]:
        state = self.trainer.state_dict() if self.trainer else None
        return {"step": self.step_number, "trainer": state, "seconds": [self._data_seconds, self._step_seconds]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step_number = state["step"]
        self._data_seconds, self._step_seconds = state["seconds"]
        if self.trainer is not None:
            self.trainer.load_state_dict(state["trainer"])

    def _trainer(self) -> DirectionTraining | None:
        training = self.options.training
        if training is None:
            return None
        samples = training.samples
        if isinstance(samples, RitzSamples):
            if training.loss == "energy":
                raise UnsupportedError(
                    'the loss "energy" needs samples with errors, and those of kind "ritz" have none: take '
                    'solver.training.loss = "residual", or samples of kind "random-systems"'
                )
            if isinstance(self.options.system, EquationSystem):
                source = dataclasses.replace(self.options.system, grid=samples.grid)
                operator = source.own(self.equation).operator
                training.network.build(torch.Generator()).check(operator)
                assert isinstance(operator, GridOperator)
                samples = OperatorRitzSamples(samples, operator, "equation")
        folder = self.options.data
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="pinnx-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        elif not folder.is_dir():
            raise InputError("there is no such folder for training data; make it first", file=folder, key="solver.data")
        return dataclasses.replace(training, samples=samples).start(seed=self.seed, folder=folder)

    def _require_fit(self) -> None:
        """Refuse before the first step what would fail after the last."""
        direction = self.direction
        learned = direction.learned if isinstance(direction, Trained) else direction
        cells = self.options.system.cells
        if isinstance(learned, LearnedDirection):
            if self.system is not None:
                learned.check(self.system.operator)
            elif learned.spec.dimension and cells is not None and len(cells) != learned.spec.dimension:
                raise UnsupportedError(
                    f"the direction {learned.spec.kind!r} is for grids of {learned.spec.dimension} axes, and the "
                    f"systems live on {cells}"
                )
        elif self.system is not None:
            direction.prepare(self.system.operator)
        if self.options.comparison is None and self.system is None and self.trainer is None:
            raise InputError(
                "there is nothing to do: the systems are a distribution, and neither [solver.training] nor "
                "[solver.comparison] is given"
            )
        for grid in () if self.options.comparison is None else self.options.comparison.grids:
            if cells is None or len(grid) != len(cells):
                raise InputError(
                    f"each grid must have as many axes as that of the system, {cells}; found {grid}",
                    key="solver.comparison.grids",
                )

    def _notes(self) -> list[str]:
        notes = []
        if self.trainer is not None and self.device.type != "cpu":
            notes.append("the direction is trained on the CPU; systems are solved on the device")
        if self.trainer is not None and not (self.direction.linear and self.direction.symmetric):
            notes.append(
                f"the direction {self.options.training.network.kind!r} is not linear and symmetric: "  # type: ignore[union-attr]
                "conjugate gradients run beside it, as a guard"
            )
        return notes

    def _how(self) -> SolveOptions:
        return SolveOptions(self.options.tolerance, self.options.max_iterations, self.options.memory)

    def _solved(self) -> LinearResult:
        """The solve of the own system with the direction as it is; done once."""
        assert self.system is not None
        if self.result is None:
            self.result = self._solve(self.system)
        return self.result

    def _solve(self, system: System) -> LinearResult:
        options = self.options
        return solve(
            system.operator,
            system.b,
            direction=self.direction,
            memory=options.memory if self._is_learned else 1,
            rtol=options.tolerance,
            max_iterations=options.max_iterations,
        )

    @property
    def _is_learned(self) -> bool:
        return self.trainer is not None or isinstance(self.direction, Trained)

    def _sampled(self) -> LinearResult:
        """A solve of held-out systems, for a distribution that nothing is trained on."""
        assert self.options.comparison is not None
        generator = torch.Generator().manual_seed(self.seed + HELD_OUT)
        drawn = self.options.system.held_out(self.options.comparison.columns, generator, equation=self.equation)
        return self._solve(on_device(drawn, self.device))

    def _solving_step(self) -> dict[str, float]:
        result = self._sampled() if self.system is None else self._solved()
        failed = [status.message for status in result.status if not status.ok]
        if failed:
            raise DivergedError(f"{len(failed)} of {len(result.status)} right-hand sides are not solved: {failed[0]}")
        self.step_number = 1
        return {"loss": float(_last(result).max()), "iterations": float(result.iterations.max())}

    def _own_table(self, system: System, result: LinearResult) -> dict[str, Any]:
        grid = system.operator.grid if isinstance(system.operator, GridOperator) else None
        times = (result.setup_seconds / system.operator.systems, result.solve_seconds / len(system.b))
        line = row(self.name, result, self._how(), times, learned=self._is_learned)
        return table(system, grid, [line])

    def _training_record(self) -> dict[str, Any] | None:
        if self.trainer is None:
            return None
        return {
            "network": self.trainer.options.network.kind,
            "parameters": self.parameters,
            "steps": self.step_number,
            "data_seconds": self._data_seconds,
            "seconds": self._data_seconds + self._step_seconds,
        }

    def _has_reference(self) -> bool:
        return self.system is not None and self.system.points is not None and bool(self.problem and self.problem.exacts)

    def _errors(self, values: Tensor) -> Errors:
        assert self.system is not None
        assert self.system.points is not None
        assert self.problem is not None
        exact = self.problem.exacts[0](self.system.points).double()
        difference = values.detach().cpu().double() - exact
        return Errors(
            float(difference.norm() / exact.norm()),
            float(difference.abs().sum() / exact.abs().sum()),
            float(difference.abs().max()),
        )


def _last(result: LinearResult) -> Tensor:
    """The relative residual at which each column ended, (k,)."""
    return result.history[result.iterations, torch.arange(result.history.shape[1])]


def _write_vector(path: Path, system: System, result: LinearResult) -> None:
    """`x`, (k, n), with the relative residual of each column, and the points where there are any."""
    with h5py.File(path, "w") as file:
        file["x"] = result.x.cpu().numpy()
        file["relative_residual"] = _last(result).cpu().numpy()
        file["reason"] = [status.reason.value for status in result.status]
        if system.points is not None:
            file["points"] = system.points.tensor.cpu().numpy()
        if isinstance(system.operator, GridOperator):
            file.attrs["grid"] = system.operator.grid
