"""The solution of a run at the points of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pinnx.errors import InputError
from pinnx.expr import Points
from pinnx.run.directory import RunDirectory
from pinnx.run.files import make_folder
from pinnx.run.point_files import open_points
from pinnx.run.running import function_of
from pinnx.solvers.solution import Solution
from pinnx.views.fields import CHUNK_ELEMENTS
from pinnx.views.fields import evaluate as evaluate_at


def evaluate(directory: Path | str, points_file: Path | str, output: Path | str | None = None) -> Path:
    """Evaluate the solution of a run at points, with the reference and the error where one is known.

    Args:
        directory: of the run.
        points_file: CSV with or without names of columns, NPY, HDF5 or VTU; one row per point.
        output: a file of the same kind; by default `evaluations/<name of the points file>` in the run directory.

    Returns:
        The file that was written: the points, and the columns u, u_exact and u_error (for an unknown u).

    Raises:
        InputError: something is wrong with the run directory or with a file.
    """
    run, points_file = RunDirectory(directory), Path(points_file)
    case = run.read_case()
    solution, _ = function_of(run, case)
    source = open_points(points_file, solution.problem.domain.coordinates.labels())
    target = run.path / "evaluations" / points_file.name if output is None else Path(output)
    if target.suffix.lower() != points_file.suffix.lower():
        raise InputError(f"expected a name that ends in {points_file.suffix}, as that of the points file", file=target)
    if target.is_dir():
        raise InputError("is a folder; expected the name of a file", file=target)
    points = source.read()
    values = values_at(solution, points)
    make_folder(target.parent)
    source.write(target, points, values)
    return target


def values_at(solution: Solution, points: np.ndarray) -> dict[str, np.ndarray]:
    """The columns u, u_exact and u_error at points (n, D), for each unknown u."""
    coordinates = solution.problem.domain.coordinates
    size = max(1, CHUNK_ELEMENTS // coordinates.total)
    parts = [
        evaluate_at(solution, Points(torch.from_numpy(points[start : start + size]), coordinates))
        for start in range(0, len(points), size)
    ]
    values = np.concatenate([part[0] for part in parts])
    exact = np.concatenate([part[1] for part in parts if part[1] is not None]) if solution.problem.exacts else None
    columns = {}
    for index, name in enumerate(solution.problem.equation.unknowns):
        columns[name] = values[:, index]
        if exact is not None:
            columns[f"{name}_exact"] = exact[:, index]
            columns[f"{name}_error"] = values[:, index] - exact[:, index]
    return columns
