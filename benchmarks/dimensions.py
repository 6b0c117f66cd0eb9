"""Smoothing from 100 to 100 000 dimensions: steps per second, memory and error of a training of Allen–Cahn.

The solution keeps its variation (`frequency`), MLP 3 × 128, float32, 100 points, 16 pairs along orthogonal directions
in the first layer's row space, SOAP, the same number of steps in every dimension; each dimension in a process of its
own, whose largest resident size is the memory. Run as `python benchmarks/dimensions.py`; results go to
`benchmarks/results/dimensions.json` and into the table of `docs/choose-an-estimator.md`. With `--device cuda` it also
takes a million dimensions, counts the memory that PyTorch allocates and only prints, beside the published speed of STDE
on an A100 (arXiv 2412.00088, Allen–Cahn, 16 coordinates a step).
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
#: Iterations per second of STDE on an A100, by dimension.
PUBLISHED = {100: 1834, 1000: 1559, 10_000: 588, 100_000: 283, 1_000_000: 21}


def main() -> None:
    """Measure, write the JSON file, put the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", type=int, nargs="+", help="default: 100 to 100 000, on a GPU to a million")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--one", type=int, help="measure one dimension here and print it as JSON")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.steps, arguments.device)))
        return
    rows, on_cpu = [], arguments.device == "cpu"
    for d in arguments.dimensions or list(PUBLISHED)[: 4 if on_cpu else 5]:
        command = [sys.executable, __file__, "--one", str(d), "--steps", str(arguments.steps)]
        command += ["--device", arguments.device]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        beside = "" if on_cpu else f"STDE on an A100: {PUBLISHED.get(d, '–')} steps per second"
        print(rows[-1], beside, flush=True)
    if on_cpu:
        result = {**origin(), "steps": arguments.steps, "rows": rows}
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
        page = PAGE.read_text()
        start, stop = page.index(BEGIN) + len(BEGIN), page.index(END)
        PAGE.write_text(f"{page[:start]}\n\n{table(rows)}\n\n{page[stop:]}")


def measure(d: int, steps: int, device: str = "cpu") -> dict[str, Any]:
    """One training. Time is that of the processor, or of the wall where a GPU works."""
    import torch

    from pinnx.equations import AllenCahn
    from pinnx.networks import Mlp
    from pinnx.solvers.derivatives import Smoothing
    from pinnx.solvers.pinn import Pinn
    from pinnx.solvers.training import Soap

    torch.set_num_threads(1)
    before, on_cpu = _peak(), device == "cpu"
    problem = AllenCahn(d, frequency=FREQUENCY).problem()
    solver = Pinn(steps=steps, points=POINTS, derivatives=Smoothing(samples=SAMPLES), optimizer=Soap())
    # the network reads √d·ω·x, as the solution does
    network = Mlp(width=128, depth=3, input_scale=FREQUENCY * d**0.5)
    training = solver.start(problem, network, seed=SEED, device=torch.device(device))

    def now() -> float:
        if on_cpu:
            return time.process_time()
        torch.cuda.synchronize(device)
        return time.perf_counter()

    def peak() -> float:
        return _peak() if on_cpu else torch.cuda.max_memory_allocated(device) / 1e9

    start = now()
    for _ in range(steps):
        training.step()
    seconds = now() - start
    trained = peak()
    errors, trivial = training.evaluate(), training.baselines()
    assert errors is not None
    return {
        "dimension": d,
        "device": device,
        "steps_per_second": round(steps / seconds, 2),
        "gigabytes": round(trained, 2),
        "gigabytes_at_start": round(before, 2),
        "gigabytes_with_errors": round(peak(), 2),
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
