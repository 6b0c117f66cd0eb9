"""What one training step with an exact Laplacian costs, beside DeepXDE and PINA, measured in the same run.

    python benchmarks/step_cost.py            # about twenty minutes; writes results/step_cost.json, docs/benchmarks.md
    python benchmarks/step_cost.py --quick    # a minute, writes nothing

Each package runs in processes of its own, in an environment of its own with the same PyTorch; repetitions are
interleaved, so that a slow minute of the machine hits all of them. See `peers/task.py` for what a step is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import step_cost_page
from environments import REQUIREMENTS, CannotInstallError, prepare

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
JSON = HERE / "results" / "step_cost.json"
PAGE = ROOT / "docs" / "benchmarks.md"

COMPARED = (10, 100, 1000)
"""Dimensions that every package takes."""
ALONE = (10_000, 100_000)
"""Dimensions that pinnx takes alone: the others would need hours a step, or more memory than there is."""

Measurement = dict[str, Any]


def main() -> int:
    """Measure, write, print."""
    asked = _arguments()
    if asked.page_only:
        PAGE.write_text(step_cost_page.render(json.loads(JSON.read_text(encoding="utf-8"))), encoding="utf-8")
        return 0
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if load is not None and load > 0.5:
        print(f"The machine is not idle (load {load:.1f}): the figures will scatter.", file=sys.stderr)
    pythons, missing = _pythons(asked.packages, asked.environments)
    measurements = list(_measure(pythons, asked))
    result = {
        "task": step_cost_page.task_facts(),
        "machine": _machine(asked.threads, load),
        "date": date.today().isoformat(),
        "commit": _commit(),
        "rounds": asked.rounds,
        "missing": missing,
        "measurements": measurements,
    }
    page = step_cost_page.render(result)
    print(page)
    if not asked.quick:
        JSON.parent.mkdir(exist_ok=True)
        JSON.write_text(_json(result), encoding="utf-8")
        PAGE.write_text(page, encoding="utf-8")
        print(f"Written: {JSON.relative_to(ROOT)}, {PAGE.relative_to(ROOT)}", file=sys.stderr)
    return 0 if any(m["package"] == "pinnx" for m in measurements) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round, few dimensions, nothing written")
    parser.add_argument("--rounds", type=int, help="repetitions of the whole comparison (default 5)")
    parser.add_argument("--seconds", type=float, help="how long a process takes steps (default 5; at least two steps)")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--packages", nargs="+", choices=["pinnx", *REQUIREMENTS], default=["pinnx", *REQUIREMENTS])
    parser.add_argument("--dimensions", type=int, nargs="+", help=f"default {[*COMPARED, *ALONE]}")
    parser.add_argument("--environments", type=Path, default=HERE / ".environments", help="where they are made")
    parser.add_argument("--page-only", action="store_true", help="write the page again from the JSON file")
    asked = parser.parse_args()
    asked.rounds = asked.rounds or (1 if asked.quick else 5)
    asked.seconds = asked.seconds or (0.5 if asked.quick else 5.0)
    asked.dimensions = asked.dimensions or ([10, 100] if asked.quick else [*COMPARED, *ALONE])
    return asked


def _pythons(packages: list[str], folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """The Python of each package, and why some packages have none."""
    pythons, missing = {}, {}
    for name in packages:
        if name == "pinnx":
            pythons[name] = Path(sys.executable)
            continue
        try:
            pythons[name] = prepare(name, folder)
        except CannotInstallError as error:
            missing[name] = str(error)
            print(f"Going on without {REQUIREMENTS[name]}, which cannot be installed: {error}", file=sys.stderr)
    return pythons, missing


def _measure(pythons: dict[str, Path], asked: argparse.Namespace) -> Iterator[Measurement]:
    """One measurement for each round, dimension and package, in another order in each round."""
    names = list(pythons)
    for number in range(asked.rounds):
        for dimension in asked.dimensions:
            for shift in range(len(names)):
                name = names[(number + shift) % len(names)]
                if name != "pinnx" and dimension > max(COMPARED):
                    continue
                measurement = _worker(name, pythons[name], dimension, asked)
                yield {"round": number, **measurement, "package": name}


def _worker(name: str, python: Path, dimension: int, asked: argparse.Namespace) -> Measurement:
    """Run one worker and read its answer."""
    command = [python, HERE / "peers" / f"{name}_step.py", "--dimension", dimension]
    command += ["--seconds", asked.seconds, "--threads", asked.threads]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(asked.threads))
    environment = {**os.environ, **threads, "PYTHONWARNINGS": "ignore"}
    if name == "pinnx":  # also where it is not installed
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    else:
        environment.pop("PYTHONPATH", None)
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment)
    if result.returncode:
        raise SystemExit(f"{name} failed in dimension {dimension}:\n{result.stderr}")
    measurement: Measurement = json.loads(result.stdout.splitlines()[-1])
    milliseconds = 1000 * step_cost_page.median(measurement["seconds"])
    print(
        f"d = {dimension:>6}  {name:8} {milliseconds:10.1f} ms  ({len(measurement['seconds'])} steps)", file=sys.stderr
    )
    return measurement


def _json(result: dict[str, Any]) -> str:
    """The result, one measurement a line."""
    lines = ",\n".join(f"  {json.dumps(measurement)}" for measurement in result["measurements"])
    head = json.dumps({**result, "measurements": []}, indent=1)
    return head.replace('"measurements": []', f'"measurements": [\n{lines}\n ]') + "\n"


def _machine(threads: int, load: float | None) -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load_at_start": load,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    """The commit measured, with a plus sign if there are changes on top of it."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        status = ["git", "status", "--porcelain", "--untracked-files=no", "--", "pinnx", "solvers", "benchmarks/peers"]
        changes = subprocess.run(status, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")


if __name__ == "__main__":
    sys.exit(main())
