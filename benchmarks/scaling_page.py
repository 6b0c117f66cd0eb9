"""The page docs/scaling.md, made from the measurements of scaling.py and from nothing else."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

Measurement = dict[str, Any]

#: What the plan assumes of a large machine, beyond what is measured: NCCL over a fast network.
LATENCY, BANDWIDTH = 5e-6, 20e9
GPUS = 1000
#: A process that works all the time and has a core for less than this shares it with others.
SHARED = 0.95


def render(result: dict[str, Any]) -> str:
    """The page as Markdown."""
    return "\n\n".join([*_setting(result), *_scaling(result), *_plan(result)]) + "\n"


def cost(result: dict[str, Any]) -> tuple[float, float]:
    """Seconds of processor time a step that do not depend on the points, and seconds a point, on one process.

    From the steps with the fewest and the most points: processor time hardly depends on who shares the machine.
    """
    return _line(result, "busy", min)


def _line(result: dict[str, Any], figure: str, choose: Callable[[list[float]], float]) -> tuple[float, float]:
    """Constant and slope over the points of a figure of one process, through the fewest and the most points."""
    points = sorted({each["points"] for each in _of(result, 1)})
    few, many = (choose([each[figure] for each in _of(result, 1, count)]) for count in (points[0], points[-1]))
    slope = (many - few) / (points[-1] - points[0])
    return few - slope * points[0], slope


def _of(result: dict[str, Any], processes: int, points: int | None = None) -> list[Measurement]:
    found = (each for each in result["measurements"] if each["processes"] == processes)
    return [each for each in found if points is None or each["points"] == points]


def _ratio(result: dict[str, Any], over: tuple[int, int], under: tuple[int, int]) -> str:
    """The ratio of two median steps, taken within each round: its median and its range."""
    pairs = zip(_of(result, *over), _of(result, *under), strict=True)
    ratios = [left["median"] / right["median"] for left, right in pairs]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f})"


def _setting(result: dict[str, Any]) -> list[str]:
    least = min(each["granted"] for each in _of(result, 1))
    return [
        "# Scaling",
        "<!-- Written by benchmarks/scaling.py from benchmarks/results/scaling.json: do not edit. -->",
        f"One step of the Allen–Cahn equation in {result['dimension']} dimensions with exact derivatives, float32, "
        f"Adam, a perceptron of {result['depth']} layers of {result['width']}; processes of one thread that exchange "
        "gradients by gloo.",
        f"Measured on {result['date']} at commit {result['commit']} ({result['machine']}) with PyTorch "
        f"{result['torch']}. In the steps on one process it had a core for {int(100 * least)} % of the time or more"
        + (
            ": other programs shared the cores, so that the times, above all those of two processes, are worse than "
            "those of an idle machine."
            if least < SHARED
            else ", so that no other program took it away."
        ),
    ]


def _scaling(result: dict[str, Any]) -> list[str]:
    points = sorted({each["points"] for each in _of(result, 1)})
    most, middle = points[-1], points[-2]
    rows = ["| processes | points a step | ms a step | waiting and exchange | memory of a process |"]
    rows += ["| ---: | ---: | ---: | ---: | ---: |"]
    for processes, count in [*((1, each) for each in points), (2, most), (2, middle)]:
        runs = _of(result, processes, count)
        median = 1e3 * statistics.median(each["median"] for each in runs)
        waiting = 100 * statistics.median(each["waiting"] for each in runs)
        memory = max(each["memory"] for each in runs)
        shown = "–" if processes == 1 else f"{waiting:.0f} %"
        rows.append(f"| {processes} | {count} | {median:.1f} | {shown} | {memory:.0f} MiB |")
    exchange = statistics.median(each["exchange"] for each in _of(result, 2))
    parameters = _of(result, 1)[0]["parameters"]
    step = statistics.median(each["median"] for each in _of(result, 2, most))
    return [
        "## On two processes",
        "\n".join(rows),
        f"**Strong scaling**, {most} points on one and on two processes: a step is "
        f"{_ratio(result, (1, most), (2, most))} times as fast on two. **Weak scaling**, {middle // 2} points for each "
        f"process: a step on two takes {_ratio(result, (2, middle), (1, middle // 2))} times as long as on one. Ratios "
        "are taken within each round; in parentheses, their range over the rounds.",
        f"The sum of the {parameters} gradients alone, when no process waits for another, takes "
        f"{1e3 * exchange:.2f} ms: {100 * exchange / step:.1f} % of a step. The rest of the waiting is for the "
        "slower process. Every process holds the network, the optimizer and its share of the points; what memory "
        "grows with the points is divided, the rest is not.",
    ]


def _plan(result: dict[str, Any]) -> list[str]:
    fixed, each = cost(result)
    parameters = _of(result, 1)[0]["parameters"]
    steps = (GPUS - 1).bit_length()
    exchange = 2 * steps * LATENCY + 2 * 4 * parameters / BANDWIDTH
    base, room = _line(result, "memory", max)
    rows = [
        "| points a step | a GPU's share | memory of a process | step on one | step on 1000 | speed-up | efficiency |"
    ]
    rows += ["| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for points in (1000, 10_000, 100_000, 1_000_000, 10_000_000):
        one, many = fixed + each * points, fixed + each * points / GPUS + exchange
        speed = one / many
        share = points / GPUS
        rows.append(
            f"| {points:,} | {share:g} | {(base + room * share) / 1024:.2g} GiB | {one:.3g} s | {1e3 * many:.3g} ms | "
            f"{speed:.0f} | {100 * speed / GPUS:.0f} % |"
        )
    half = (fixed + exchange) * GPUS / each
    return [
        f"## A run on {GPUS} GPUs, on paper",
        f"From the processor time of steps on one process: a step costs {1e3 * fixed:.2g} ms that do not depend on the "
        "points (the walk through the network's operations, and the optimizer, which every process repeats) and "
        f"{1e3 * each:.2g} ms a "
        f"point. A sum over {GPUS} GPUs is taken to cost {1e6 * exchange:.0f} µs: {2 * steps} hops of "
        f"{1e6 * LATENCY:.0f} µs and twice the {4 * parameters / 1e6:.2f} MB of gradients at "
        f"{BANDWIDTH / 1e9:.0f} GB/s (assumed, not measured). If a GPU had the speed of one core here:",
        "\n".join(rows),
        f"**What limits it**: the fixed part and the sum. They take half of each step at {half:,.0f} points. No GPU "
        "was measured here. If one is a hundred times faster a point than a core, and no faster in the fixed part, "
        "read the table with a hundred times the points. So data-parallel training pays for steps of very many points; "
        "with the few hundred points of the published cases a thousand GPUs are better used as a thousand members of a "
        "sweep (`pinnx sweep`), which need no exchange at all.",
        "Next come the evaluations on the test points, which rank 0 does alone while the others wait. One evaluation "
        "of as many points as a step has, every `solver.evaluate_every` = 500 steps, costs at most as much as one step "
        f"on one GPU, and that is {GPUS} / 500 = {GPUS // 500} times the computing of 500 steps on {GPUS}: measure the "
        "error rarely there. Then the start: every process imports PyTorch from the shared file system, which a "
        "container on each node avoids. Memory limits the share, not the number of GPUs: a process takes "
        f"{base:.0f} MiB here, most of them PyTorch's own, and {room:.2f} MiB for each point of the share.",
    ]
