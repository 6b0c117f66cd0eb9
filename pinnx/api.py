"""Solving from Python: one function for cases, equations and problems."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

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

if TYPE_CHECKING:
    from pinnx.solvers.linear import Direction, LinearResult
    from pinnx.solvers.linear.directions import LearnedDirection

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
        training early and gives the solution as it is then. A case of the solver `linear-system` gives a
        `LinearSystemSolution`, with `direction` and `x`.

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
    solution: Any = training.solution()
    solution.status, solution.history = status, recorder.history
    if not status.ok:
        progress.say(f"{status.outcome.value}: {status.message}")
    return solution


def load(path: Path | str) -> Solution:
    """A solution from a run directory, or from a file written by `Solution.save`; for a run of the solver
    `linear-system` a `LinearSystemSolution`.

    Raises:
        InputError: there is none.
    """
    return load_solution(path) if Path(path).is_dir() else Solution.load(path)


def solve_linear(
    A: Any,
    b: Any,
    x0: Any = None,
    *,
    direction: Direction | Path | str | None = None,
    grid: Sequence[int] | None = None,
    **options: Any,
) -> LinearResult:
    """Solve A x = b for a symmetric positive (semi-)definite A by conjugate directions, classical or learned.

    Args:
        A: a scipy sparse matrix or `LinearOperator`, a numpy or torch matrix (sparse or dense), an operator of
            `pinnx.solvers.linear`, or a function that maps tensors (k, n) to A x, (k, n), n being the length of b.
        b: right-hand sides (n,) or (k, n): a numpy array or a tensor.
        x0: start; zero where left out.
        direction: a `Direction`; the name of a kind, such as "multigrid" or "incomplete-cholesky"; the path of a model
            file, `.pt`; None for the method of conjugate gradients.
        grid: cells along each axis, where A is a sparse matrix that is the 3-, 5- or 7-point one of a grid: geometric
            multigrid and learned directions need to know.
        **options: those of `pinnx.solvers.linear.solve`, such as `rtol` and `memory`.

    Returns:
        The result: `x`, an array where b is one, else a tensor; `status` for each right-hand side, which says why it
        stopped (failures are no exceptions); `iterations`, `history`, times.

    Raises:
        InputError: an argument is wrong, or the direction cannot serve the matrix.

    Example:
        >>> import numpy as np, scipy.sparse as sparse
        >>> A = sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(50, 50))
        >>> result = solve_linear(A, np.ones(50), direction="multigrid", grid=(50,))
        >>> result.ok, type(result.x).__name__
        (True, 'ndarray')
    """
    from pinnx.solvers.linear import FunctionOperator, as_operator
    from pinnx.solvers.linear import solve as solve_system
    from pinnx.solvers.linear.grid_matrix import as_grid_operator
    from pinnx.solvers.linear.sparse import SparseOperator

    tensor = isinstance(b, torch.Tensor)
    columns = b if tensor else np.asarray(b)
    if columns.ndim not in (1, 2):
        raise InputError(f"b must have shape (n,) or (k, n), got {tuple(columns.shape)}")
    if callable(A) and not hasattr(A, "shape"):
        matvec: Any = A
        operator = FunctionOperator(matvec, columns.shape[-1])
    else:
        operator = as_operator(A)
    if grid is not None and isinstance(operator, SparseOperator):
        operator = as_grid_operator(operator.matrix, grid)
    result = solve_system(operator, columns, x0, direction=_direction(direction), **_known(options, solve_system))
    return result if tensor else dataclasses.replace(result, x=result.x.cpu().numpy())


def load_direction(path: Path | str) -> LearnedDirection:
    """A trained search direction: from its file, or from the run directory that it was trained in.

    Raises:
        InputError: there is none, or the file is no model file.
    """
    from pinnx.solvers.linear.directions import load_direction as load_file

    return load_file(Path(path) / "direction.pt" if Path(path).is_dir() else path)


def _direction(value: Direction | Path | str | None) -> Direction | None:
    if isinstance(value, Path) or (isinstance(value, str) and value.endswith(".pt")):
        return load_direction(value)
    if isinstance(value, str):
        cls = registry.resolve("directions", value)
        try:
            return cls()
        except TypeError:
            raise InputError(
                f"the direction {value!r} has options that must be given: pass {cls.__name__}(…)"
            ) from None
    if value is not None and not hasattr(value, "prepare"):
        raise InputError(
            f"direction must be a Direction, the name of a kind or the path of a model file, got {type(value).__name__}"
        )
    return value


def _known(options: dict[str, Any], function: Any) -> dict[str, Any]:
    names = [name for name, each in inspect.signature(function).parameters.items() if each.kind is each.KEYWORD_ONLY]
    for name in options:
        if name not in names:
            raise InputError(f"unknown option; {did_you_mean(name, names)}", key=name)
    return options


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
