"""Noise that the points of a batch share, beside noise of its own for each point: of the loss's gradient, and its cost.

Allen–Cahn, MLP 3 × 128, float32, 100 points, 16 samples, the corrected loss at the start of a training: the standard
deviation of its gradient over draws of the noise alone, relative to the gradient, and the processor time and memory of
the loss with its gradient, in turns. Run as `python benchmarks/sharing.py`; results go to
`benchmarks/results/sharing.json` and into the table of `docs/choose-an-estimator.md`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any, Literal

import torch
from origin import origin
from torch import Tensor

from pinnx.equations import AllenCahn
from pinnx.networks import Mlp
from pinnx.solvers.derivatives import Hutchinson, SampledEstimator, Smoothing
from pinnx.solvers.live_memory import peak_bytes
from pinnx.solvers.loss import loss_for
from pinnx.solvers.solution import build_network
from pinnx.solvers.system import ResidualSystem

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "sharing.json"
PAGE = ROOT / "docs" / "choose-an-estimator.md"
BEGIN, END = "<!-- sharing: begin -->", "<!-- sharing: end -->"
SAMPLES, POINTS, SEED, CPU = 16, 100, 6_120_883, torch.device("cpu")
NOISES: tuple[Literal["shared", "per-point"], ...] = ("shared", "per-point")
KINDS = {"smoothing": Smoothing, "hutchinson": Hutchinson}


class Setting:
    """One estimator on one problem.

    Args:
        d: dimension.
        estimator: of the derivatives.
    """

    def __init__(self, d: int, estimator: SampledEstimator):
        problem = AllenCahn(d, frequency=0.5).problem()
        network = build_network(problem, Mlp(width=128, depth=3), seed=SEED, dtype=torch.float32, device=CPU)
        self.loss = loss_for(ResidualSystem(problem, network, estimator), 1000)
        self.batch = [problem.domain.sample(POINTS, torch.Generator().manual_seed(SEED), dtype=torch.float32)]
        self.parameters, self.generator = list(network.parameters()), torch.Generator().manual_seed(SEED)

    def gradient(self) -> Tensor:
        """Of one estimate of the loss."""
        (term,) = self.loss.terms(self.batch, self.generator).values()
        return torch.cat([part.ravel() for part in torch.autograd.grad(term, self.parameters)])


def measure(d: int, kind: str, draws: int) -> dict[str, dict[str, float]]:
    """Noise, time and memory with either kind of noise."""
    settings = {noise: Setting(d, KINDS[kind](samples=SAMPLES, correction="unbiased", noise=noise)) for noise in NOISES}
    drawn: dict[str, list[Tensor]] = {noise: [] for noise in NOISES}
    seconds: dict[str, list[float]] = {noise: [] for noise in NOISES}
    for _ in range(draws):
        for noise, setting in settings.items():
            start = time.process_time()
            drawn[noise].append(setting.gradient())
            seconds[noise].append(time.process_time() - start)
    rows = {}
    for noise, setting in settings.items():
        gradients = torch.stack(drawn[noise])
        rows[noise] = {
            "relative_std": float(gradients.var(0).sum().sqrt() / gradients.mean(0).norm()),
            "milliseconds": 1e3 * statistics.median(seconds[noise]),
            "megabytes": peak_bytes(setting.gradient, CPU) / 1e6,
        }
    return rows


def table(result: dict[str, Any]) -> str:
    """The Markdown table, one row per dimension."""
    lines = [
        "| d | estimator | noise ÷ | time, shared | time, per point | memory, shared | memory, per point |",
        "| ---: | --- |" + " ---: |" * 5,
    ]
    for d, kinds in result["rows"].items():
        for kind, row in kinds.items():
            shared, own = (row[noise] for noise in NOISES)
            times = (f"{each['milliseconds']:.0f} ms" for each in (shared, own))
            memory = (f"{each['megabytes']:.0f} MB" for each in (shared, own))
            lower = shared["relative_std"] / own["relative_std"]
            lines.append(f"| {int(d):,} | {kind} | {lower:.1f} | {' | '.join((*times, *memory))} |".replace(",", " "))
    return "\n".join(lines)


def main() -> None:
    """Measure, write the JSON file, put the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[20, 100, 1000, 10_000])
    parser.add_argument("--draws", type=int, default=30, help="gradients per figure")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = {str(d): {kind: measure(d, kind, arguments.draws) for kind in KINDS} for d in arguments.dimensions}
    result = {**origin(), "rows": rows}
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    page = PAGE.read_text()
    start, stop = page.index(BEGIN) + len(BEGIN), page.index(END)
    PAGE.write_text(f"{page[:start]}\n\n{table(result)}\n\n{page[stop:]}")
    print(table(result))


if __name__ == "__main__":
    main()
