"""Smoothing from 100 to 100 000 dimensions: steps per second, memory and error of a training of Allen–Cahn.

The solution keeps its variation (`frequency`), MLP 3 × 128, float32, 100 points, 16 pairs along orthogonal directions
in the first layer's row space, SOAP, the same number of steps in every dimension; each dimension in a process of its
own, whose largest resident size is the memory. Run as `python benchmarks/dimensions.py`; results go to
`benchmarks/results/dimensions.json` and into the table of `docs/choose-an-estimator.md`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from origin import origin

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "dimensions.json"
PAGE = ROOT / "docs" / "choose-an-estimator.md"
BEGIN, END = "<!-- dimensions: begin -->", "<!-- dimensions: end -->"
SEED, SAMPLES, POINTS, FREQUENCY = 7_218_809, 16, 100, 0.5


def main() -> None:
    """Measure, write the JSON file, put the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--one", type=int, help="measure one dimension here and print it as JSON")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.steps)))
        return
    rows = []
    for d in arguments.dimensions:
        command = [sys.executable, __file__, "--one", str(d), "--steps", str(arguments.steps)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(rows[-1], flush=True)
    result = {**origin(), "steps": arguments.steps, "rows": rows}
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    page = PAGE.read_text()
    start, stop = page.index(BEGIN) + len(BEGIN), page.index(END)
    PAGE.write_text(f"{page[:start]}\n\n{table(rows)}\n\n{page[stop:]}")


def measure(d: int, steps: int) -> dict[str, Any]:
    """One training."""
    import torch

    from pinnx.equations import AllenCahn
    from pinnx.networks import Mlp
    from pinnx.solvers.derivatives import Smoothing
    from pinnx.solvers.pinn import Pinn
    from pinnx.solvers.training import Soap

    torch.set_num_threads(1)
    before = _peak()
    problem = AllenCahn(d, frequency=FREQUENCY).problem()
    solver = Pinn(steps=steps, points=POINTS, derivatives=Smoothing(samples=SAMPLES), optimizer=Soap())
    # the network reads √d·ω·x, as the solution does
    network = Mlp(width=128, depth=3, input_scale=FREQUENCY * d**0.5)
    training = solver.start(problem, network, seed=SEED, device=torch.device("cpu"))
    start = time.process_time()
    for _ in range(steps):
        training.step()
    seconds = time.process_time() - start
    trained = _peak()
    errors, trivial = training.evaluate(), training.baselines()
    assert errors is not None
    return {
        "dimension": d,
        "steps_per_second": round(steps / seconds, 2),
        "gigabytes": round(trained, 2),
        "gigabytes_at_start": round(before, 2),
        "gigabytes_with_errors": round(_peak(), 2),
        "relative_l2": errors.relative_l2,
        "baselines": {key: value.relative_l2 if value else None for key, value in trivial.items()},
    }


def _peak() -> float:
    """Largest resident size of this process so far, in gigabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def table(rows: list[dict[str, Any]]) -> str:
    """The Markdown table, one row per dimension."""
    lines = ["| d | steps per second | memory | relative L2 | constant | affine |", "| ---: " * 6 + "|"]
    for row in rows:
        constant, affine = (row["baselines"][key] for key in ("constant", "affine"))
        shown = f"{affine:.1e}" if affine is not None else "–"
        lines.append(
            f"| {row['dimension']:,} | {row['steps_per_second']:.1f} | {row['gigabytes_with_errors']:.1f} GB "
            f"| {row['relative_l2']:.1e} | {constant:.1e} | {shown} |".replace(",", " ")
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
