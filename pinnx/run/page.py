"""The HTML page of a run: one file, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import html
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from pinnx.run.comparison_table import comparison_remarks, comparison_tables
from pinnx.run.directory import RunDirectory
from pinnx.run.files import read_json
from pinnx.run.progress import BASELINE_LABELS, duration, error_text, rate, with_error
from pinnx.run.result import ERROR_NAMES, Result
from pinnx.run.typesetting import formula_html
from pinnx.views.operators import read_view

_COLUMNS = {
    "relative_l2": "relative <i>L</i><sup>2</sup>",
    "relative_l1": "relative <i>L</i><sup>1</sup>",
    "max_error": "maximum",
}
_SHOWN_FORMULAS = 6


def page(run: RunDirectory, images: Mapping[str, bytes], captions: Mapping[str, str]) -> str:
    """The page.

    Args:
        run: whose files are read.
        images: PNG images by name.
        captions: what is said below each.
    """
    case = run.case.read_text(encoding="utf-8")
    title = _title(case, run)
    result = run.read_result()
    parts = [
        f"<header><h1>{_escape(title)}</h1>{_status(result)}</header>",
        *_section("Equation", _equation(run)),
        *_section("Results", _results(result)),
        *_section("Comparison", _comparison(run)),
        *_section("Instances", _instances(run)),
        *(_figure(name, image, captions.get(name, "")) for name, image in images.items()),
        *_section("Derivatives", _derivatives(run)),
        *_section("Cost", _costs(result)),
        *_section("Notes", _notes(result)),
        *_section("Case", [f"<pre>{_escape(case)}</pre>"]),
        *_section("Environment", _environment(run)),
    ]
    style = (files("pinnx.run") / "page.css").read_text(encoding="utf-8")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{_escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>\n{style}</style>\n</head>\n'
        "<body>\n<main>\n" + "\n".join(parts) + "\n</main>\n</body>\n</html>\n"
    )


def _title(case: str, run: RunDirectory) -> str:
    try:
        return str(tomllib.loads(case).get("title") or run.path.resolve().name)
    except tomllib.TOMLDecodeError:
        return run.path.resolve().name


def _section(heading: str, content: Iterator[str] | list[str]) -> Iterator[str]:
    lines = list(content)
    if lines:
        yield f"<section>\n<h2>{heading}</h2>\n" + "\n".join(lines) + "\n</section>"


def _status(result: Result | None) -> str:
    if result is None:
        return '<p class="status stopped"><b>unfinished</b> the run goes on, or was killed</p>'
    outcome = result.status.outcome.value
    return f'<p class="status {outcome}"><b>{outcome}</b> {_escape(result.status.message)}</p>'


def _equation(run: RunDirectory) -> Iterator[str]:
    if not run.problem.is_file():
        return
    problem = read_json(run.problem)
    for each in problem["residuals"][:_SHOWN_FORMULAS]:
        yield f'<p class="equation">{formula_html(each["latex"] + " = 0", each["text"] + " = 0")}</p>'
    if problem["conditions"]:
        yield "<p>Conditions:</p>"
    for each in problem["conditions"][:_SHOWN_FORMULAS]:
        formula = formula_html(each["latex"] + " = 0", each["text"] + " = 0")
        yield f'<p class="equation"><span>{_escape(each["name"])}</span> {formula}</p>'
    sizes = dict(problem["coordinates"])
    space = ", ".join(
        f"<i>{_escape(name)}</i> ∈ ℝ" + (f"<sup>{size}</sup>" if size > 1 else "") for name, size in sizes.items()
    )
    unknowns = ", ".join(map(_escape, problem["unknowns"]))
    yield f"<p>{_escape(problem['equation'])}, unknown <i>{unknowns}</i>{space and f', {space}'}</p>"
    if problem["references"]:
        items = "".join(f"<li>{_escape(reference)}</li>" for reference in problem["references"])
        yield f"<ul class='references'>{items}</ul>"


def _results(result: Result | None) -> Iterator[str]:
    if result is None:
        return
    if result.errors is None and result.directory is not None and RunDirectory(result.directory).comparison.is_file():
        return
    if result.errors is None:
        yield "<p>No reference solution is known for this problem: no error can be told.</p>"
        return
    yield "<table class='results'><thead><tr><th>Error of</th>"
    yield "".join(f"<th>{_COLUMNS[name]}</th>" for name in ERROR_NAMES) + "</tr></thead><tbody>"
    yield _row("solution", result.errors, "solution")
    for name in result.baseline_names:
        yield _row(BASELINE_LABELS.get(name, name), result.baselines.get(name) or {})
    yield "</tbody></table>"
    if "offset" in result.baselines:
        yield (
            "<p class='remark'>Errors on held-out instances: means of the relative ones, and the largest of all. The "
            "other answers need no method of solution: a result is worth something only beside them.</p>"
        )
        return
    yield (
        "<p class='remark'>Errors on the fixed test points. The trivial answers put zero, the best constant or the "
        "best affine function in the place of the network <i>f</i>: a result is worth something only beside them.</p>"
    )


def _row(label: str, errors: Mapping[str, float], kind: str = "") -> str:
    cells = "".join(f"<td>{error_text(errors.get(name))}</td>" for name in ERROR_NAMES)
    return f'<tr class="{kind}"><th>{_escape(label)}</th>{cells}</tr>'


def _instances(run: RunDirectory) -> Iterator[str]:
    """How the solves of held-out instances ended, where not all of them converged alike."""
    if not run.instances.is_file():
        return
    view, _ = read_view(run.instances)
    counted = Counter(view.messages)
    if counted:
        items = "".join(f"<li>{count} of {len(view.messages)}: {_escape(each)}</li>" for each, count in counted.items())
        yield f"<ul>{items}</ul>"


def _figure(name: str, image: bytes, caption: str) -> str:
    data = base64.b64encode(image).decode()
    source = f"data:image/png;base64,{data}"
    width = int.from_bytes(image[16:20], "big") // 2  # as the header of a PNG has it; drawn for dense screens
    picture = f'<img alt="{_escape(name)}" width="{width}" src="{source}">'
    return f"<figure>{picture}<figcaption>{_escape(caption)}</figcaption></figure>"


def _comparison(run: RunDirectory) -> Iterator[str]:
    """Methods beside each other on linear systems."""
    if not run.comparison.is_file():
        return
    content = read_json(run.comparison)
    for each in comparison_tables(content):
        head = "".join(f"<th>{_escape(cell)}</th>" for cell in each.columns)
        yield f"<h3>{_escape(each.title)}</h3><table class='results'><thead><tr>{head}</tr></thead><tbody>"
        for kind, cells in each.rows:
            values = "".join(f"<td>{_escape(cell)}</td>" for cell in cells[1:])
            yield f"<tr class='{kind}'><th>{_escape(cells[0])}</th>{values}</tr>"
        yield "</tbody></table>"
    yield "".join(f"<p class='remark'>{_escape(remark)}</p>" for remark in comparison_remarks(content))


def _derivatives(run: RunDirectory) -> Iterator[str]:
    """How noisy and expensive the estimator of derivatives is at the solution."""
    if not run.diagnostics.is_file():
        return
    diagnostics = read_json(run.diagnostics)
    for each in diagnostics["estimators"]:
        seconds, memory = each["seconds_per_step"], each["peak_memory_bytes"]
        noise = {
            "variance of the residual": each["variance"],
            "bias of its square": with_error(each["bias"], each["bias_error"]),
            "mean square of the exact residual": diagnostics["mean_square"],
        }
        yield _pairs(
            {
                "estimator": each["name"],
                "samples": each["samples"],
                **({key: _scientific(value) for key, value in noise.items()} if each["stochastic"] else {}),
                "network evaluations per point and step": each["evaluations"],
                "memory of a step": None if memory is None else f"{memory / 2**20:,.1f} MiB",
                "time of a step": None if seconds is None else f"{1e3 * seconds:.3g} ms",
            }
        )
    yield "<ul>" + "".join(f"<li>{_escape(note)}</li>" for note in diagnostics["notes"]) + "</ul>"


def _scientific(value: Any) -> Any:
    return f"{value:.2e}" if isinstance(value, float) else value


def _costs(result: Result | None) -> Iterator[str]:
    if result is None:
        return
    speed, memory = result.steps_per_second, result.peak_memory_bytes
    yield _pairs(
        {
            "steps": f"{result.steps:,} of {result.total_steps:,}",
            "time in steps": duration(result.seconds),
            "time altogether": duration(result.wall_seconds),
            "steps per second": None if speed is None else rate(speed),
            "network evaluations": f"{result.network_evaluations:,}",
            "parameters": f"{result.parameters:,}",
            "peak memory": None if memory is None else f"{memory / 2**20:,.0f} MiB",
            "device": result.device,
            "seed": result.seed,
        }
    )


def _notes(result: Result | None) -> Iterator[str]:
    if result is not None and result.notes:
        yield "<ul>" + "".join(f"<li>{_escape(note)}</li>" for note in result.notes) + "</ul>"


def _environment(run: RunDirectory) -> Iterator[str]:
    if not run.environment.is_file():
        return
    sessions = read_json(run.environment).get("sessions", [])
    for index, session in enumerate(sessions):
        if len(sessions) > 1:
            yield f"<h3>Session {index + 1}, from step {_escape(session.get('from_step', '?'))}</h3>"
        flat = {key: _flat(value) for key, value in session.items() if value not in (None, {}, "")}
        yield _pairs({key.replace("_", " "): value for key, value in flat.items() if key != "from_step"})


def _flat(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, Mapping) else str(value)


def _pairs(table: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{_escape(key)}</th><td>{_escape(value)}</td></tr>"
        for key, value in table.items()
        if value is not None
    )
    return f"<table class='pairs'>{rows}</table>"


def _escape(text: Any) -> str:
    return html.escape(str(text), quote=True)
