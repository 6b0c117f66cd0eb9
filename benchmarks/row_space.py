"""Smoothing in the first layer's row space beside smoothing in all coordinates, and what torch.compile adds.

MLP 3 × 128, tanh, float32, Glorot weights, points of the unit ball. *Noise*: the standard deviation of one estimate of
the Laplacian with K = 1024 samples, 8 points, beside that of published smoothing. *Cost*: CPU time and memory of one
estimate with its gradient, 16 points; *first product*: of Wx, W Wᵀ and their gradients alone, which is all that grows
with the dimension in the row space. *Compiled*: a whole training step of Allen–Cahn by smoothing, with the network
through torch.compile and without, in turns in one run. Run as `python benchmarks/row_space.py`; results go to
`benchmarks/results/row_space.json` and into the tables of `docs/choose-an-estimator.md`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from origin import origin

from pinnx.equations import AllenCahn
from pinnx.expr import Coordinates, Points, Unknown, atoms, laplacian
from pinnx.networks import Mlp
from pinnx.networks.base import Network
from pinnx.solvers.derivatives import Smoothing
from pinnx.solvers.derivatives.row_space import row_space_factor
from pinnx.solvers.live_memory import peak_bytes
from pinnx.solvers.pinn import Pinn

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "row_space.json"
PAGE = ROOT / "docs" / "choose-an-estimator.md"
SAMPLES, WIDTH, SIGMA, SEED, CPU = 1024, 128, 1e-2, 3_901_457, torch.device("cpu")
ESTIMATORS = {
    "Stein, all coordinates (published)": Smoothing(
        samples=SAMPLES, sigma=SIGMA, weights="stein", space="full", baseline="center"
    ),
    "Stein, row space": Smoothing(samples=SAMPLES, sigma=SIGMA, weights="stein", baseline="center"),
    "Stein, row space, leave-one-out": Smoothing(samples=SAMPLES, sigma=SIGMA, weights="stein"),
    "differences, random signs": Smoothing(samples=SAMPLES, sigma=SIGMA, law="rademacher"),
}
(ATOM,) = atoms(laplacian(Unknown("u")))


def setting(d: int, points: int, dtype: torch.dtype) -> tuple[Network, Points, torch.Generator]:
    """A network of the published size and points of the ball."""
    generator = torch.Generator().manual_seed(SEED)
    network = Mlp(width=WIDTH, depth=3).build(d, 1, generator=generator, dtype=dtype)
    directions = torch.nn.functional.normalize(torch.randn(points, d, generator=generator, dtype=dtype), dim=1)
    radii = torch.rand(points, 1, generator=generator, dtype=dtype)
    return network, Points(directions * radii, Coordinates.of(x=d)), generator


def noise(d: int, estimator: Smoothing, draws: int) -> float:
    """Standard deviation of one estimate, root mean square over 8 points."""
    network, points, generator = setting(d, 8, torch.float64 if d <= 1000 else torch.float32)
    with torch.no_grad():
        estimates = [estimator.draw(network, points, [ATOM], generator, [SAMPLES])[ATOM].double() for _ in range(draws)]
    return float(torch.cat(estimates).var(0).mean().sqrt())


def cost(d: int, estimator: Smoothing | None, repetitions: int) -> tuple[float, float]:
    """Milliseconds of CPU time and megabytes of one estimate with its gradient; of the first product for None."""
    network, points, generator = setting(d, 16, torch.float32)
    affine = network.first_affine()
    assert affine is not None

    def work() -> None:
        if estimator is None:
            parts = torch.nn.functional.linear(points.tensor, *affine), row_space_factor(affine[0])
            total = torch.stack([part.square().sum() for part in parts]).sum()
        else:
            total = estimator.draw(network, points, [ATOM], generator, [SAMPLES])[ATOM].square().sum()
        torch.autograd.grad(total, list(network.parameters()), allow_unused=True)

    return 1e3 * statistics.median(_times(work, repetitions)), peak_bytes(work, CPU) / 1e6


def _times(work: Callable[[], object], repetitions: int) -> list[float]:
    times = []
    for _ in range(repetitions + 1):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return times[1:]


def compiled(d: int, steps: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of CPU time per training step with and without torch.compile, in turns; and the time to compile."""
    trainings, first = {}, {}
    for name in ("plain", "compiled"):
        solver = Pinn(steps=10**6, points=100, derivatives=Smoothing(samples=32), compile=name == "compiled")
        problem = AllenCahn(d, frequency=0.5).problem()
        trainings[name] = solver.start(problem, Mlp(width=WIDTH, depth=3), seed=SEED, device=CPU)
        start = time.perf_counter()
        for _ in range(3):
            trainings[name].step()
        first[name] = time.perf_counter() - start
    times: dict[str, list[float]] = {"plain": [], "compiled": []}
    for _ in range(rounds):
        for name, training in trainings.items():
            times[name].append(1e3 * sum(_times(training.step, steps)) / steps)
    ratios = [one / other for one, other in zip(times["plain"], times["compiled"], strict=True)]
    medians = {f"{name}_ms": round(statistics.median(values), 2) for name, values in times.items()}
    spread = {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
    return {"dimension": d, **medians, **spread, "seconds_to_compile": round(first["compiled"] - first["plain"], 1)}


def main() -> None:
    """Measure, write the JSON file, put the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--draws", type=int, default=60, help="estimates per figure")
    parser.add_argument("--rounds", type=int, default=5, help="turns of the comparison with torch.compile")
    parser.add_argument("--page-only", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if arguments.page_only:
        write_page(json.loads(RESULT.read_text()))
        return
    torch.set_num_threads(1)
    rows = [
        {
            "dimension": d,
            "noise": {name: noise(d, each, arguments.draws) for name, each in ESTIMATORS.items()},
            "cost": {name: cost(d, each, 5) for name, each in ESTIMATORS.items()},
            "first_product": cost(d, None, 5),
        }
        for d in arguments.dimensions
    ]
    result = {
        **origin(),
        "rows": rows,
        "compiled": [compiled(d, 10, arguments.rounds) for d in (10, 100, 1000)],
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    write_page(result)


def write_page(result: dict[str, Any]) -> None:
    """Put the tables into the page."""
    page = PAGE.read_text()
    for name, text in (("row-space", table(result["rows"])), ("compiled", compiled_table(result["compiled"]))):
        begin, end = (f"<!-- {name}: {word} -->" for word in ("begin", "end"))
        start, stop = page.index(begin) + len(begin), page.index(end)
        page = f"{page[:start]}\n\n{text}\n\n{page[stop:]}"
    PAGE.write_text(page)


def table(rows: list[dict[str, Any]]) -> str:
    """Noise relative to that of published smoothing, time and memory: one row per estimator."""
    lines = ["| smoothing, K = 1024 | " + " | ".join(f"d = {row['dimension']:,}" for row in rows) + " |"]
    lines[0] = lines[0].replace(",0", " 0")
    lines.append("| --- |" + " ---: |" * len(rows))
    for name in ESTIMATORS:
        cells = []
        for row in rows:
            published = next(iter(row["noise"].values()))
            (milliseconds, megabytes), lower = row["cost"][name], published / row["noise"][name]
            cells.append(f"noise ÷ {lower:.1f} · {milliseconds:.0f} ms · {megabytes:.0f} MB")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    products = (f"{row['first_product'][0]:.0f} ms · {row['first_product'][1]:.0f} MB" for row in rows)
    lines.append("| first product alone | " + " | ".join(products) + " |")
    return "\n".join(lines)


def compiled_table(rows: list[dict[str, Any]]) -> str:
    """One row per dimension."""
    lines = ["| d | plain | compiled | times faster (lowest–highest of the turns) | to compile |", "| ---: " * 5 + "|"]
    lines += [
        f"| {row['dimension']} | {row['plain_ms']:.0f} ms | {row['compiled_ms']:.0f} ms "
        f"| {row['ratio']:.2f} ({row['lowest']:.2f}–{row['highest']:.2f}) "
        f"| {f'{seconds:.0f} s' if (seconds := row['seconds_to_compile']) >= 1 else 'kernels of the row above'} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
