"""Figures, pages, tables: what people look at. (Whether they are beautiful, no test can say: look at them.)"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from pinnx.errors import InputError
from pinnx.run import Result, compare, report
from pinnx.run.plots import residual_figure, save, training_figure
from pinnx.run.progress import Plain, Terminal, duration, progress_for, rate, show_result
from pinnx.run.solution_file import read_solution
from pinnx.run.typesetting import formula_html, formula_svg
from pinnx.status import Outcome, Status
from pinnx.views.fields import Field, field_of
from pinnx.views.figures import solution_figure, style, symbol

ERRORS = {"relative_l2": 1.25e-3, "relative_l1": 2e-3, "max_error": 0.5}
BASELINES = {"zero": {**ERRORS, "relative_l2": 1.0}, "constant": {**ERRORS, "relative_l2": 0.5}, "affine": None}
RESULT = Result(Status(Outcome.DONE, "done"), ERRORS, BASELINES)


def test_page_carries_everything_in_itself(finished: Path) -> None:
    text = (finished / "report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", text)
    assert "url(" not in text
    assert "@import" not in text
    assert "<script" not in text
    assert text.count("data:image/png;base64,") == 3
    assert "Fading &lt;i&gt;&amp;amp; all&lt;/i&gt;" in text  # a title is text, whatever it holds
    for word in ("best affine f", "explode = false", "relative <i>L</i>", "peak memory", "data:image/svg+xml", "torch"):
        assert word in text

    class Balanced(HTMLParser):
        open: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in {"meta", "img"}:
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    parser = Balanced()
    parser.feed(text)
    assert parser.open == []


def test_report_of_a_killed_run(run_copy: Path) -> None:
    for name in ("result.json", "solution.h5", "report.html"):
        (run_copy / name).unlink()
    text = report(run_copy).read_text()
    assert "the run goes on, or was killed" in text
    assert read_solution(run_copy / "solution.h5")[2] == 60


def test_report_before_the_first_checkpoint(run_copy: Path) -> None:
    for file in (run_copy / "checkpoints").iterdir():
        file.unlink()
    for name in ("result.json", "solution.h5", "metrics.h5", "environment.json", "problem.json"):
        (run_copy / name).unlink()
    assert "unfinished" in report(run_copy).read_text()


def test_report_of_a_damaged_solution_makes_it_again(run_copy: Path) -> None:
    (run_copy / "solution.h5").write_bytes(b"rubbish")
    report(run_copy)
    assert read_solution(run_copy / "solution.h5")[2] == 60


@pytest.mark.parametrize("name", ["result.json", "problem.json", "environment.json", "metrics.h5", "diagnostics.json"])
def test_report_names_a_damaged_file(run_copy: Path, name: str) -> None:
    (run_copy / name).write_bytes(b"rubbish")
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        report(run_copy)


def metrics(loss: np.ndarray) -> dict[str, np.ndarray]:
    steps = np.arange(1.0, len(loss) + 1)
    error = np.where(steps % 10 == 0, 1 / steps, np.nan)
    return {"step": steps, "loss": loss, "loss/a": loss / 2, "loss/b": loss / 2, "relative_l2": error, "seconds": steps}


@pytest.mark.parametrize(("lowest", "scale"), [(0.5, "log"), (-0.5, "symlog"), (0.0, "symlog")])
def test_scale_of_the_loss_fits_its_sign(lowest: float, scale: str) -> None:
    figure = training_figure(metrics(np.linspace(3.0, lowest, 300)), BASELINES)
    assert figure.axes[0].get_yscale() == scale
    assert figure.axes[2].get_yscale() == "log"
    assert [axes.get_xlabel() for axes in figure.axes[2:]] == ["step", "training time (min)"]


def switching(unbiased: np.ndarray, lowest: float = -0.5) -> Figure:
    table = metrics(np.linspace(3.0, lowest, len(unbiased)))
    return training_figure({**table, "unbiased": unbiased}, BASELINES)


@pytest.mark.parametrize("step", [2, 60, 290])
def test_the_step_at_which_the_bias_goes_is_marked(step: int) -> None:
    unbiased = (np.arange(1.0, 301.0) >= step).astype(float)
    figure = switching(unbiased)
    for axes, position in zip(figure.axes[:2], (step, step / 60), strict=True):  # steps, minutes
        (label,) = axes.texts
        assert label.get_text() == f"unbiased\nfrom step {step}"
        assert [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1] == [position]
        box = label.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
        assert axes.get_window_extent().contains(*box.min) or step == 2
        assert axes.get_window_extent().contains(*box.max)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_loss_that_does_not_switch_has_no_mark(value: float) -> None:
    assert not switching(np.full(300, value)).axes[0].texts


def test_the_page_tells_of_the_derivatives(finished: Path, run_copy: Path) -> None:
    text = (finished / "report.html").read_text()
    assert "<h2>Derivatives</h2>" in text
    assert "taylor (exact)" in text
    diagnostics = json.loads((run_copy / "diagnostics.json").read_text())
    (figures,) = diagnostics["estimators"]
    figures |= {"stochastic": True, "samples": 7, "variance": 0.125, "bias": 0.25, "bias_error": 0.1, "name": "a < b"}
    (run_copy / "diagnostics.json").write_text(json.dumps(diagnostics))
    text = report(run_copy).read_text()
    for word in ("a &lt; b", "1.25e-01", "2.50e-01 ± 1e-01", f"{diagnostics['mean_square']:.2e}"):
        assert word in text
    (run_copy / "diagnostics.json").unlink()
    assert "<h2>Derivatives</h2>" not in report(run_copy).read_text()


def test_loss_without_errors_has_one_row() -> None:
    table = {name: column for name, column in metrics(np.ones(5)).items() if not name.startswith("rel")}
    assert len(training_figure(table, {}).axes) == 2


def field(axes: dict[str, int], unknowns: tuple[str, ...] = ("u",), exact: bool = True) -> Field:
    lines = {name: np.linspace(0.0, 1.0, count) for name, count in axes.items()}
    grid = np.add.outer(*lines.values()) if len(lines) == 2 else np.sin(next(iter(lines.values())))
    values = {name: grid * (index + 1) for index, name in enumerate(unknowns)}
    return Field(
        lines, "x3 … x7 = 0, t = 0.5", values, {name: value + 0.1 for name, value in values.items()} if exact else {}
    )


def labels(figure: Figure) -> set[str]:
    return {text for axes in figure.axes for text in (axes.get_xlabel(), axes.get_ylabel())}


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (field({"x1": 9, "x2": 7}), {"$x_{1}$", "$x_{2}$"}),
        (field({"x1": 9, "t": 7}, ("u", "v")), {"$t$", "$x$"}),
        (field({"x1": 9, "x2": 7}, exact=False), {"$x_{1}$", "$x_{2}$"}),
        (field({"x1": 9}, ("u", "v_2")), {"$x$", "$u$", "$v_{2}$", "error"}),
        (field({"t": 9}, exact=False), {"$t$", "$u$"}),
    ],
)
def test_solutions_are_drawn_with_labels(shown: Field, expected: set[str], tmp_path: Path) -> None:
    with style():
        figure = solution_figure(shown)
        assert expected <= labels(figure)
        png = save(figure, tmp_path, "solution")
    assert png.startswith(b"\x89PNG")
    assert (tmp_path / "solution.pdf").read_bytes().startswith(b"%PDF")


def test_solution_and_reference_share_their_colors() -> None:
    first, second, _ = (axes.images[0] for axes in solution_figure(field({"x1": 9, "x2": 7})).axes if axes.images)
    assert first.get_clim() == second.get_clim() == pytest.approx((0.0, 2.1))


def test_what_is_drawn_lies_where_it_is(finished: Path) -> None:
    shown, _, _ = read_solution(finished / "solution.h5")
    assert shown.shape == (201, 201)
    assert list(shown.axes) == ["x1", "x2"]
    assert shown.fixed == "t = 0.5"
    x, y = np.meshgrid(*shown.axes.values(), indexing="ij")
    np.testing.assert_allclose(shown.exact["u"], np.exp(-0.375) * (x + y), rtol=1e-14)


def test_systems_of_residuals_have_a_panel_each() -> None:
    figure = residual_figure(np.random.default_rng(83).standard_normal((500, 2)))
    assert [axes.get_xlabel() for axes in figure.axes] == ["residual 1", "residual 2"]
    assert len(residual_figure(np.zeros(30)).axes) == 1


@pytest.mark.parametrize("label", ["x12", "t", "u", "velocity", "v_3", "a_b"])
def test_symbols_can_be_set(label: str) -> None:
    assert formula_svg(symbol(label).strip("$"))


@pytest.mark.parametrize(
    "latex",
    [
        r"\Delta u + u - u^{3} - \left(\Delta u^{\ast} + u^{\ast}\right)",
        r"\partial_{x_{1} x_{1}} u - 0.0031831 \, \partial_{t} u",
        r"\mathbf{1} \cdot \nabla u + \left|\nabla u\right|^{2}",
        r"\mathrm{tr}\left(A \, \nabla^2 u\right) + \mathbf{\mu} \cdot \nabla u",
    ],
)
def test_formulas_are_set(latex: str) -> None:
    svg = formula_svg(latex)
    assert svg is not None
    ET.fromstring(svg)
    assert 'alt="a &lt; b"' in formula_html(latex, "a < b")


def test_a_formula_that_cannot_be_set_is_shown_as_text() -> None:
    assert formula_html(r"\begin{cases} a \end{cases}", "a < b") == "<code>a &lt; b</code>"


def console(terminal: bool, width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None, legacy_windows=False)


def text_of(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_plain_lines_come_at_each_tenth() -> None:
    where = console(terminal=False)
    progress = Plain(where, interval=1e9)
    progress.start(0, 1000)
    for step in range(1, 1001):
        progress.update(step, {"loss": 1 / step, **({"relative_l2": 0.125} if step == 500 else {})})
    lines = text_of(where).splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("step  100/1000  loss 1.000e-02  ")
    assert "error 1.250e-01" in lines[-1]
    assert "error" not in lines[3]


def test_plain_lines_come_as_time_goes_by() -> None:
    where = console(terminal=False)
    progress = Plain(where, interval=0.0)
    progress.start(40, 1_000_000)
    progress.update(41, {"loss": -1.0})
    assert "loss -1.000e+00" in text_of(where)


def test_the_bar_fits_a_narrow_terminal() -> None:
    where = console(terminal=True, width=80)
    progress = Terminal(where)
    progress.start(0, 10_000)
    progress.update(9_999, {"loss": 1.25e-4, "relative_l2": 6.75e-2})
    progress.stop()
    assert re.search(r"9999/10000  loss 1.25e-04  error 6.75e-02  .*/s  .* left", text_of(where))


def test_nothing_is_shown_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    progress = progress_for(quiet=True)
    progress.start(0, 3)
    progress.update(1, {"loss": 1.0})
    progress.say("a sentence")
    progress.stop()
    progress.finish(RESULT)
    assert capsys.readouterr() == ("", "")


def test_errors_are_shown_beside_trivial_answers() -> None:
    where = console(terminal=False)
    show_result(where, RESULT)
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:5]]
        for line in text_of(where).splitlines()
        if len(cells := re.split("[│┃]", line)) > 4
    }
    assert rows["solution"] == ["1.25e-03", "2.00e-03", "5.00e-01"]
    assert rows["network f = 0"][0] == "1.00e+00"
    assert rows["best affine f"] == ["–", "–", "–"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185.0, "3 min 05 s"),
        (7620.0, "2 h 07 min"),
        (float("nan"), "?"),
        (float("inf"), "?"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_rates() -> None:
    assert [rate(value) for value in (1234.5, 99.96, 12.34, 0.01234)] == ["1234", "100", "12.3", "0.0123"]


def test_compare_sorts_and_tells_what_differs(finished: Path, run_copy: Path) -> None:
    case = run_copy / "case.toml"
    case.write_text(case.read_text().replace("width = 8", "width = 12").replace("seed = 90263", "seed = 5"))
    Result(Status(Outcome.STOPPED, "x"), {**ERRORS, "relative_l2": 1e-9}, BASELINES, steps=3, total_steps=9).write(
        run_copy / "result.json"
    )
    lines = compare([finished, run_copy]).splitlines()
    assert lines[0].split()[:7] == ["run", "title", "equation", "d", "error", "baseline", "steps"]
    assert lines[0].split()[-2:] == ["seed", "network.width"]
    assert str(run_copy) in lines[2]  # the more accurate one
    assert "1.00e-09" in lines[2]
    assert "5.00e-01" in lines[2]
    assert lines[2].split()[-3:] == ["stopped", "5", "12"]
    assert lines[3].split()[-3:] == ["done", "90263", "8"]
    assert "Fading" in lines[3]


def test_compare_takes_unfinished_runs(run_copy: Path) -> None:
    (run_copy / "result.json").unlink()
    line = compare([run_copy]).splitlines()[2]
    assert "unfinished" in line
    for name in ("metrics.h5", "problem.json", "environment.json"):
        (run_copy / name).unlink()
    assert "unfinished" in compare([run_copy]).splitlines()[2]


def test_compare_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run directory"):
        compare([tmp_path])
    with pytest.raises(InputError, match="no such run directory"):
        compare([tmp_path / "none"])
    with pytest.raises(InputError, match="expected one run directory or more"):
        compare([])
    (tmp_path / "case.toml").write_text("= 3")
    with pytest.raises(InputError, match=r"case\.toml: not TOML"):
        compare([tmp_path])


def test_compare_needs_no_torch(finished: Path) -> None:
    code = f"import sys; from pinnx.run import compare; compare([{str(finished)!r}]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_fields_cover_line_plane_and_box(finished: Path) -> None:
    from pinnx.run import load_solution

    solution = load_solution(finished)
    assert field_of(solution).shape == (201, 201)
    assert field_of(solution, dimensions=3).shape == (49, 49, 49)
    assert field_of(solution, dimensions=3).fixed == ""
