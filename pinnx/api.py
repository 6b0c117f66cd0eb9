"""Solving from Python: one function for cases, equations and problems."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pinnx import registry
from pinnx.case import Case, load_case, torch_device
from pinnx.case.case import Output
from pinnx.errors import InputError, did_you_mean
from pinnx.networks.base import NetworkSpec
from pinnx.networks.mlp import Mlp
from pinnx.problem import Equation, Problem
from pinnx.run.directory import RunDirectory
from pinnx.run.loop import train
from pinnx.run.metrics import read_metrics
from pinnx.run.progress import progress_for
from pinnx.run.recorder import MemoryRecorder
from pinnx.run.running import execute, load_solution, use_threads
from pinnx.solvers.base import Solver
from pinnx.solvers.pinn import Pinn
from pinnx.solvers.solution import Solution
from pinnx.status import Outcome, Status

SEED = 20931


def solve(
    what: Case | Equation | Problem | Path | str,
    *,
    network: NetworkSpec | str | None = None,
    solver: Solver | str | None = None,
    seed: int | None = None,
    device: str | None = None,
    directory: Path | str | None = None,
    quiet: bool = False,
    **options: Any,
) -> Solution:
    """Solve a problem.

    Args:
        what: an equation, a problem, a `Case`, or the path of a case file.
        network: the network that stands for the unknown, or the name of a kind; by default the case's, or an MLP.
        solver: the method, or the name of a kind; by default the case's, or `Pinn`.
        seed: of all random numbers.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".
        directory: write a run directory there, as `pinnx solve` does; by default nothing is written.
        quiet: print no progress.
        **options: options of the solver by name, such as `steps=2000`; an option that is itself chosen by kind takes
            an instance or the name of a kind: `optimizer="lbfgs"`.

    Returns:
        The solution; its `status` says how the training ended, `history` holds the metrics by name. Ctrl-C ends the
        training early and gives the solution as it is then.

    Raises:
        InputError: an argument is wrong, or the parts do not fit together.

    Example:
        >>> from pinnx.equations import Poisson
        >>> solution = solve(Poisson(dimension=2), steps=5, points=20, quiet=True)
        >>> solution([[0.25, 0.5]]).shape
        torch.Size([1])
    """
    case = load_case(what) if isinstance(what, (Path, str)) else what if isinstance(what, Case) else None
    spec = _member("networks", network) or (case.network if case else Mlp())
    chosen = _with_options(_member("solvers", solver) or (case.solver if case else Pinn()), options)
    seed = seed if seed is not None else case.seed if case else SEED
    device = device or (case.device if case else "auto")
    if directory is not None:
        return _in_directory(what if case is None else case, spec, chosen, seed, device, Path(directory), quiet)
    if case is not None:
        case = dataclasses.replace(case, network=spec, solver=chosen, seed=seed)
        training = case.start(torch_device(device))
    else:
        training = chosen.start(_problem(what), spec, seed=seed, device=torch_device(device))
    recorder, progress = MemoryRecorder(), progress_for(quiet=quiet)
    for note in training.notes:
        progress.say(note)
    try:
        with use_threads(case.threads if case else None):
            status = train(training, recorder, progress, every=case.output.every if case else Output().every)
    except KeyboardInterrupt:
        status = Status(Outcome.STOPPED, f"interrupted after step {training.step_number} of {training.total_steps}")
    finally:
        progress.stop()
    solution = training.solution()
    solution.status, solution.history = status, recorder.history
    if not status.ok:
        progress.say(f"{status.outcome.value}: {status.message}")
    return solution


def load(path: Path | str) -> Solution:
    """A solution from a run directory, or from a file written by `Solution.save`.

    Raises:
        InputError: there is none.
    """
    return load_solution(path) if Path(path).is_dir() else Solution.load(path)


def _in_directory(
    what: Any, spec: NetworkSpec, solver: Solver, seed: int, device: str, directory: Path, quiet: bool
) -> Solution:
    """Solve as the command line does, and read the result back."""
    if isinstance(what, Problem):
        raise InputError(
            "a run directory must hold all that is needed to repeat the run: pass the equation, not a Problem"
        )
    base = what if isinstance(what, Case) else Case(_equation(what))
    case = dataclasses.replace(base, network=spec, solver=solver, seed=seed, device=device)
    result = execute(case, directory, quiet=quiet)
    solution = load_solution(directory)
    solution.status, solution.history = result.status, read_metrics(RunDirectory(directory).metrics)
    return solution


def _equation(what: Any) -> Equation:
    if not isinstance(what, Equation):
        found = f"the class {what.__name__}: call it" if isinstance(what, type) else f"a {type(what).__name__}"
        raise InputError(f"solve needs an Equation, a Problem, a Case or the path of a case file; got {found}")
    return what


def _problem(what: Any) -> Problem:
    return what if isinstance(what, Problem) else _equation(what).problem()


def _member(family: str, value: Any) -> Any:
    """An instance for the name of a kind; anything else as it is."""
    return registry.resolve(family, value)() if isinstance(value, str) else value


def _with_options(solver: Solver, options: dict[str, Any]) -> Solver:
    if not dataclasses.is_dataclass(solver):
        raise InputError(f"the solver {type(solver).__name__} has no options")
    names = {field.name for field in dataclasses.fields(solver)}
    for name in options:
        if name not in names:
            raise InputError(f"unknown option; {did_you_mean(name, names)}", key=name)
    families = registry.BASES
    values = {
        name: _member(name if name in families else f"{name}s", value)
        if name in families or f"{name}s" in families
        else value
        for name, value in options.items()
    }
    try:
        return dataclasses.replace(solver, **values)
    except (ValueError, TypeError) as error:
        raise InputError(str(error)) from None
