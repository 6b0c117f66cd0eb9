"""How a run shows its progress: a bar on a terminal, plain lines elsewhere, nothing if asked."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import final

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from pinnx.run.result import ERROR_NAMES, ErrorTable, Result

#: What the trivial answers are called where people read them.
BASELINE_LABELS = {
    "zero": "network f = 0",
    "constant": "best constant f",
    "affine": "best affine f",
    "offset": "network f = 0",
    "persistence": "initial value persists",
    "mean": "mean of solved instances",
    "linear": "affine in the parameters",
    "interpolation": "between two solved instances",
}
ERROR_LABELS = {"relative_l2": "relative L2", "relative_l1": "relative L1", "max_error": "largest error"}


class Progress(ABC):
    """Shows how a training goes."""

    @abstractmethod
    def start(self, step: int, total: int) -> None:
        """The training begins, or goes on, after `step` of `total` steps."""

    @abstractmethod
    def update(self, step: int, row: Mapping[str, float]) -> None:
        """A step is done; `row` holds its metrics."""

    @abstractmethod
    def say(self, sentence: str) -> None:
        """Show a sentence."""

    @abstractmethod
    def stop(self) -> None:
        """The training has ended, one way or another."""

    @abstractmethod
    def finish(self, result: Result) -> None:
        """Show the result."""


@final
class Silent(Progress):
    """Shows nothing."""

    def start(self, step: int, total: int) -> None:
        pass

    def update(self, step: int, row: Mapping[str, float]) -> None:
        pass

    def say(self, sentence: str) -> None:
        pass

    def stop(self) -> None:
        pass

    def finish(self, result: Result) -> None:
        pass


@final
class Plain(Progress):
    """Prints a line at each tenth of the run and every few seconds, ever more seldom in a long run."""

    def __init__(self, console: Console, interval: float = 5.0):
        self.console, self.interval = console, interval
        self.total = self.first = self._shown = 0
        self._error: float | None = None
        self._started = self._last = time.monotonic()

    def start(self, step: int, total: int) -> None:
        self.first = self._shown = step
        self.total = total
        self._started = self._last = time.monotonic()

    def update(self, step: int, row: Mapping[str, float]) -> None:
        self._error = row.get("relative_l2", self._error)
        now = time.monotonic()
        elapsed = now - self._started
        tenth = 10 * step // self.total > 10 * self._shown // self.total
        if not (step == self.total or tenth or now - self._last >= max(self.interval, elapsed / 20)):
            return
        self._shown, self._last = step, now
        speed = (step - self.first) / elapsed if elapsed > 0 else float("nan")
        width = len(str(self.total))
        parts = [f"step {step:{width}}/{self.total}", f"loss {row.get('loss', float('nan')):.3e}"]
        if self._error is not None:
            parts.append(f"error {self._error:.3e}")
        parts.append(f"{rate(speed)} steps/s")
        parts.append(f"{duration((self.total - step) / speed)} left" if step < self.total else duration(elapsed))
        _print(self.console, "  ".join(parts))

    def say(self, sentence: str) -> None:
        _print(self.console, sentence)

    def stop(self) -> None:
        pass

    def finish(self, result: Result) -> None:
        show_result(self.console, result)


@final
class Terminal(Progress):
    """A bar with the loss, the error, the speed and the time left."""

    def __init__(self, console: Console):
        self.console = console
        self._bar = Bar(
            BarColumn(bar_width=max(6, min(40, console.width - _STATE_WIDTH))),
            _State(),
            console=console,
            refresh_per_second=5,
        )
        self._task = self._bar.add_task("", total=None, visible=False)
        self._error: float | None = None
        self._started, self._first, self._total = time.monotonic(), 0, 0

    def start(self, step: int, total: int) -> None:
        self._started, self._first, self._total = time.monotonic(), step, total
        self._bar.update(self._task, total=total, completed=step, visible=True, state={})
        self._bar.start()

    def update(self, step: int, row: Mapping[str, float]) -> None:
        self._error = row.get("relative_l2", self._error)
        elapsed = time.monotonic() - self._started
        speed = (step - self._first) / elapsed if elapsed > 0 else 0.0
        state = {"loss": row.get("loss"), "error": self._error, "speed": speed, "left": self._total - step}
        self._bar.update(self._task, completed=step, state=state)

    def say(self, sentence: str) -> None:
        _print(self.console, sentence)

    def stop(self) -> None:
        self._bar.stop()

    def finish(self, result: Result) -> None:
        show_result(self.console, result)


def progress_for(console: Console | None = None, *, quiet: bool = False) -> Progress:
    """The progress that suits where the output goes."""
    if quiet:
        return Silent()
    console = console or Console(highlight=False)
    return Terminal(console) if console.is_terminal else Plain(console)


def show_result(console: Console, result: Result) -> None:
    """Print the table of errors beside those of the trivial answers."""
    if result.errors is None:
        _print(console, "no reference solution is known for this problem: no error can be told")
        return
    console.print(result_table(result))


def result_table(result: Result) -> Table:
    """The errors of the solution and of the trivial answers."""
    table = Table(title_justify="left")
    table.add_column("error of")
    for name in ERROR_NAMES:
        table.add_column(ERROR_LABELS[name], justify="right")
    _add_row(table, "solution", result.errors, style="bold")
    for name in result.baseline_names:
        _add_row(table, BASELINE_LABELS.get(name, name), result.baselines.get(name))
    return table


def best_baseline(baselines: Mapping[str, ErrorTable | None], name: str = "relative_l2") -> float | None:
    """The smallest error among the trivial answers that were measured."""
    return min((errors[name] for errors in baselines.values() if errors and errors.get(name) is not None), default=None)


def duration(seconds: float) -> str:
    """A time for people: 0.4 s, 12 s, 3 min 05 s, 2 h 07 min."""
    if not seconds < float("inf"):
        return "?"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def rate(value: float) -> str:
    """A number of steps per second with three digits."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:#.3g}"


def error_text(value: float | None) -> str:
    """An error with three digits, or a dash where there is none."""
    return "–" if value is None else f"{value:.2e}"


def with_error(value: float | None, error: float | None) -> str | None:
    """A number and its standard error, if that is worth mentioning."""
    if value is None:
        return None
    return f"{value:.2e}" + (f" ± {error:.0e}" if error is not None and error > 0.05 * abs(value) else "")


#: Characters that the numbers beside the bar take up.
_STATE_WIDTH = 72


class _State(ProgressColumn):
    """Loss, error, speed and time left, in fixed widths so that nothing jumps."""

    def render(self, task: Task) -> Text:
        state = task.fields.get("state") or {}
        text = Text(no_wrap=True)
        text.append(f"{int(task.completed)}/{int(task.total or 0)}")
        if state.get("loss") is not None:
            text.append("  loss ", style="dim").append(f"{state['loss']:.2e}", style="cyan")
        if state.get("error") is not None:
            text.append("  error ", style="dim").append(f"{state['error']:.2e}", style="green")
        if speed := state.get("speed"):
            text.append(f"  {rate(speed)}/s", style="dim")
            text.append(f"  {duration(state['left'] / speed)} left" if state["left"] else "", style="dim")
        return text


def _add_row(table: Table, label: str, errors: ErrorTable | None, style: str = "") -> None:
    table.add_row(label, *(error_text(errors.get(name) if errors else None) for name in ERROR_NAMES), style=style)


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=not console.is_terminal)
