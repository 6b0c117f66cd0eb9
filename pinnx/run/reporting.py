"""The report of a run: figures, and one page that carries everything in itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pinnx.errors import InputError
from pinnx.run.checkpoints import Checkpoints
from pinnx.run.directory import RunDirectory
from pinnx.run.files import read_json, write_bytes, write_text
from pinnx.run.metrics import STEP, read_metrics
from pinnx.run.page import page
from pinnx.run.plots import residual_figure, save, training_figure
from pinnx.run.solution_file import read_collocation, read_solution, write_solution
from pinnx.solvers.constrained.family_solution import FamilySolution
from pinnx.solvers.solution import Answer, Solution
from pinnx.views.fields import field_of, residual_sample
from pinnx.views.figures import solution_figure, style
from pinnx.views.linear_figures import CAPTIONS as LINEAR_CAPTIONS
from pinnx.views.linear_figures import linear_figures
from pinnx.views.operator_figures import CAPTIONS as OPERATOR_CAPTIONS
from pinnx.views.operator_figures import operator_figures
from pinnx.views.operators import read_view
from pinnx.views.points import collocation_figure, collocation_of

#: Figures by name, with what the page says below them.
CAPTIONS = {
    "training": "Loss and error against steps and against the time spent in them. A thick line is a running median.",
    "solution": "Solution, reference where one is known, and their difference.",
    "residual": "Residual of the equation at points drawn from the domain's own law.",
    "points": "Collocation points of the last step, in their first two coordinates.",
    **LINEAR_CAPTIONS,
    **OPERATOR_CAPTIONS,
}


def report(directory: Path | str) -> Path:
    """Make the figures and the page of a run, also of one that goes on or was killed.

    Returns:
        The page, `report.html` in the run directory.

    Raises:
        InputError: this is no run directory, or a file in it is damaged.
    """
    run = RunDirectory(directory)
    run.require_run()
    newest = Checkpoints(run.checkpoints).newest_step
    if newest is not None and not _is_current(run, newest):
        from pinnx.run.running import solution_of  # it imports this module

        _write_solution(run, *solution_of(run, run.read_case()))
    return _write_page(run)


def write_figures_and_report(run: RunDirectory, solution: Answer, step: int) -> None:
    """Write `solution.h5`, if the solution is a function, or `instances.h5`, the figures and `report.html`."""
    _write_solution(run, solution, step)
    _write_page(run)


def _write_solution(run: RunDirectory, solution: Answer, step: int) -> None:
    if isinstance(solution, Solution):
        labels = solution.problem.domain.coordinates.labels()[:2]
        write_solution(
            run.solution, field_of(solution), residual_sample(solution), step, collocation_of(solution), labels
        )
    elif isinstance(solution, FamilySolution) and solution.examine is not None:
        write_bytes(run.instances, solution.examine().to_bytes(step))


def _is_current(run: RunDirectory, step: int) -> bool:
    """Whether `solution.h5` or `instances.h5` is that of the newest checkpoint."""
    if run.comparison.is_file():
        return True
    try:
        if run.instances.is_file():
            return read_view(run.instances)[1] == step
        return run.solution.is_file() and read_solution(run.solution)[2] == step
    except InputError:
        return False  # it is made again


def _write_page(run: RunDirectory) -> Path:
    images = draw(run)
    write_text(run.report, page(run, images, CAPTIONS))
    return run.report


def draw(run: RunDirectory) -> dict[str, bytes]:
    """Draw the figures that the files of a run allow for; returns the PNG images by name."""
    images = {}
    result = run.read_result()
    with style():
        if run.comparison.is_file():
            for name, figure in linear_figures(read_json(run.comparison)).items():
                images[name] = save(figure, run.plots, name)
        metrics = read_metrics(run.metrics) if run.metrics.is_file() else {STEP: np.empty(0)}
        if len(metrics[STEP]) > int(run.comparison.is_file()):  # a solve that trains nothing is one step
            images["training"] = save(
                training_figure(metrics, result.baselines if result else {}), run.plots, "training"
            )
        if run.instances.is_file():
            for name, figure in operator_figures(read_view(run.instances)[0]).items():
                images[name] = save(figure, run.plots, name)
        if run.solution.is_file():
            field, residuals, _ = read_solution(run.solution)
            images["solution"] = save(solution_figure(field), run.plots, "solution")
            if np.isfinite(residuals).any():
                images["residual"] = save(residual_figure(residuals), run.plots, "residual")
            if (chosen := read_collocation(run.solution)) is not None:
                points, weights, labels = chosen
                images["points"] = save(collocation_figure(points, weights, field.axes, labels), run.plots, "points")
    return images
