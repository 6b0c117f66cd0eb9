"""How noisy each estimator's Laplacian is, and what it costs: the figures behind `docs/choose-an-estimator.md`.

One network (MLP 3 × 128, tanh, float64, Glorot weights), 100 points, K = 64 samples: the standard deviation of one
estimate of the Laplacian, averaged over the points, relative to the size of the Laplacian itself, and the time of one
estimate with its gradient. Run as `python benchmarks/estimators.py`; results go to `benchmarks/results/estimators.json`
and into the table of the page.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from origin import origin

from pinnx.expr import Coordinates, Points, Unknown, laplacian
from pinnx.networks import Mlp
from pinnx.solvers.derivatives import Hutchinson, SampledEstimator, Sdgd, Smoothing, Taylor

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "estimators.json"
PAGE = ROOT / "docs" / "choose-an-estimator.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
SAMPLES, POINTS, SIGMA, SEED = 64, 100, 1e-2, 4_410_937


def estimators(d: int) -> dict[str, SampledEstimator]:
    """What is compared, by its name in the table."""
    stein = {"samples": SAMPLES, "sigma": SIGMA, "weights": "stein"}
    return {
        "smoothing, Stein, all d dimensions (published)": Smoothing(**stein, space="full", baseline="center"),
        "smoothing, Stein, row space": Smoothing(**stein, baseline="center"),
        "smoothing, Stein, row space, leave-one-out": Smoothing(**stein),
        "smoothing, differences along random signs": Smoothing(samples=SAMPLES, sigma=SIGMA, law="rademacher"),
        "smoothing, differences along orthogonal directions (default)": Smoothing(samples=SAMPLES, sigma=SIGMA),
        "Hutchinson, signs, all d dimensions (published)": Hutchinson(samples=SAMPLES, law="rademacher", space="full"),
        "Hutchinson, signs, row space": Hutchinson(samples=SAMPLES, law="rademacher"),
        "Hutchinson, orthogonal, row space (default)": Hutchinson(samples=SAMPLES),
        "SDGD": Sdgd(samples=min(SAMPLES, max(1, d // 2))),
    }


def measure(d: int, draws: int) -> dict[str, dict[str, float]]:
    """Noise and time of every estimator in d dimensions."""
    generator = torch.Generator().manual_seed(SEED)
    network = Mlp(width=128, depth=3).build(d, 1, generator=generator, dtype=torch.float64)
    points = Points(torch.randn(POINTS, d, generator=generator, dtype=torch.float64), Coordinates.of(x=d))
    atom = laplacian(Unknown())
    truth = Taylor().estimate(network, points, [atom], generator)[atom].detach()  # type: ignore[list-item,index]
    rows: dict[str, dict[str, float]] = {}
    for name, estimator in estimators(d).items():
        values, seconds = [], []
        for _ in range(draws):
            start = time.perf_counter()
            estimate = estimator.estimate(network, points, [atom], generator)[atom]  # type: ignore[list-item,index]
            estimate.sum().backward()
            seconds.append(time.perf_counter() - start)
            values.append(estimate.detach())
        noise = torch.stack(values).std(0).mean() / truth.abs().mean()
        rows[name] = {
            "samples": estimator.samples,
            "relative_std": float(noise),
            "milliseconds": 1e3 * sorted(seconds)[len(seconds) // 2],
        }
    return rows


def table(result: dict) -> str:
    """The Markdown table, one row per estimator."""
    dimensions = list(result["rows"])
    lines = ["| estimator | " + " | ".join(f"d = {int(d):,}".replace(",", " ") for d in dimensions) + " |"]
    lines.append("| --- |" + " ---: |" * len(dimensions))
    for name in result["rows"][dimensions[0]]:
        cells = (result["rows"][d][name] for d in dimensions)
        lines.append(
            f"| {name} | " + " | ".join(f"{c['relative_std']:.1e} · {c['milliseconds']:.0f} ms" for c in cells) + " |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, write the JSON file, put the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--draws", type=int, default=40, help="estimates per figure")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        **origin(),
        "rows": {str(d): measure(d, arguments.draws) for d in arguments.dimensions},
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    page = PAGE.read_text()
    start, stop = page.index(BEGIN) + len(BEGIN), page.index(END)
    PAGE.write_text(f"{page[:start]}\n\n{table(result)}\n\n{page[stop:]}")
    print(table(result))


if __name__ == "__main__":
    main()
