"""What is wrong with independent blocks: the heat equation in a fixed basis, in one piece and in four.

    python benchmarks/experts_heat.py              # a minute; writes results/experts_heat.json, the page and its figure
    python benchmarks/experts_heat.py --page-only  # the page and the figure from the last measurement

∂_t u = ν ∂_xx u on the unit interval until time 1, with ν = 0.01, u = 0 at both ends, and u(x, 0) a box, a hat, or a
sum of sines; products of Chebyshev polynomials of the whole domain as basis functions. All blocks use the same basis,
64 × 64 points in all, and 64 points on each side of the space-time domain that has data. Singular values below 1e-10
count as none: with columns of length 1, smaller ones let rounding in. The error is that of the values at the points,
relative, against the Fourier series.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
JSON = HERE / "results" / "experts_heat.json"
PAGE = ROOT / "docs" / "hard-constraints.md"
FIGURE = ROOT / "docs" / "images" / "experts_heat.png"
BEGIN, END = "<!-- experts heat: begin -->", "<!-- experts heat: end -->"
DEGREES = ((6, 4), (8, 6), (10, 8), (12, 8), (14, 10), (16, 10))
NU, SIDE, MODES, SEED, RANK = 0.01, 64, 400, 5_517, 1e-10
CUTS = {"2 × 2 in space and time": (2, 2), "4 in space": (4, 1)}
COUPLINGS = ("independent", "interface", "windows")
INITIAL = {"box": "1 for 1/4 < x < 3/5, else 0", "hat": "from 0 to 1 at x = 0.37 to 0", "sines": "12 random sines"}


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--page-only", action="store_true", help="write page and figure from the last measurement")
    asked = parser.parse_args()
    if not asked.page_only:
        import torch

        torch.set_num_threads(1)
        rows = [row for initial in INITIAL for degrees in DEGREES for row in study(initial, degrees)]
        result = {"date": date.today().isoformat(), "torch": torch.__version__, "rows": rows}
        JSON.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    result = json.loads(JSON.read_text(encoding="utf-8"))
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{render(result)}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    draw(result)
    print(render(result))
    return 0


def study(initial: str, degrees: tuple[int, int]) -> list[dict[str, Any]]:
    """The errors of one basis: the global solve, and each coupling on each partition."""
    from pinnx.registry import resolve
    from pinnx.solvers.experts import Mixture, Partition

    problem = Heat(initial)
    whole = Partition.uniform((0, 0), (1, 1), 1)
    plans = [("one constraint", "none", Mixture(whole, resolve("couplings", "independent")()))]
    for cut, blocks in CUTS.items():
        partition = Partition.uniform((0, 0), (1, 1), blocks)
        plans += [(kind, cut, Mixture(partition, resolve("couplings", kind)())) for kind in COUPLINGS]
    rows = []
    for method, cut, mixture in plans:
        error, solved = problem.error(mixture, degrees)
        rows.append(
            {
                "initial": initial,
                "coefficients": degrees[0] * degrees[1],
                "method": method,
                "cut": cut,
                "error": error,
                "status": str(solved.statuses[0].ending),
                "smallest_singular": float(solved.smallest_singular[0]),
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


@dataclass
class Heat:
    """The problem with one of the initial values."""

    initial: str

    def error(self, mixture: Any, degrees: tuple[int, int]) -> tuple[float, Any]:
        """The relative error of a mixture in a basis, and how its solve ended."""
        import torch

        from pinnx.expr import Coordinates, Known, Points, Unknown, Value, atoms, dt, laplacian, value
        from pinnx.solvers.experts import LeastSquaresOptions, Rows

        u, coordinates = Unknown(), Coordinates.of(x=1, t=0)
        along = (torch.arange(SIDE, dtype=torch.float64) + 0.5) / SIDE
        grid = Points(torch.cartesian_prod(along, along), coordinates)
        start = Points(torch.stack([along, 0 * along], 1), coordinates)
        sides = [torch.stack([torch.full_like(along, end), along], 1) for end in (0.0, 1.0)]
        ends = Points(torch.cat(sides), coordinates)
        exact, residual = Known("u*", self.exact), dt(u) - NU * laplacian(u)
        rows = []
        for expr, points, role in (
            (residual, grid, "equation"),
            (value(u) - value(exact), start, "condition"),
            (value(u), ends, "condition"),
        ):
            wanted = mixture.requests([*atoms(expr), Value(u)], points)
            rows.append(Rows(expr, points, chebyshev_forms(points, wanted, degrees), role=role))  # type: ignore[arg-type]
        solved = mixture.solve(rows, LeastSquaresOptions(rank_tolerance=RANK))
        found, truth = mixture.atoms(rows[0], solved.omega, [Value(u)])[Value(u)][0], self.exact(grid)
        return float((found - truth).norm() / truth.norm()), solved

    def exact(self, points: Any) -> Any:
        """The solution: a sine series whose terms die off."""
        import torch

        k = torch.arange(1, MODES + 1, dtype=torch.float64)
        if self.initial == "box":
            sizes = 2 * ((0.25 * math.pi * k).cos() - (0.6 * math.pi * k).cos()) / (math.pi * k)
        elif self.initial == "hat":
            sizes = 2 * (0.37 * math.pi * k).sin() / ((math.pi * k) ** 2 * 0.37 * 0.63)
        else:
            k = k[:12]
            sizes = torch.randn(12, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64) / k.sqrt()
        waves = torch.sin(math.pi * k * points.x)
        return waves * torch.exp(-NU * (math.pi * k) ** 2 * points.t[:, None]) @ sizes


def chebyshev_forms(points: Any, wanted: Any, degrees: tuple[int, int]) -> dict[Any, Any]:
    """The forms of the products T_i(2x - 1) T_j(2t - 1), (1, n, N), or (1, n, 1, N) for the gradient."""
    from pinnx.expr import Gradient, Partial, SecondOrder

    in_space, in_time = _chebyshev(points.x[:, 0], degrees[0]), _chebyshev(points.t, degrees[1])
    forms = {}
    for atom in wanted:
        orders = {"x": 0, "t": 0}
        for name, _ in atom.columns if isinstance(atom, Partial) else ():
            orders[name] += 1
        orders["x"] += 2 if isinstance(atom, SecondOrder) else 1 if isinstance(atom, Gradient) else 0
        form = (in_space[orders["x"]][:, :, None] * in_time[orders["t"]][:, None, :]).flatten(1)[None]
        forms[atom] = form[:, :, None] if atom.rank else form
    return forms


def _chebyshev(z: Any, count: int) -> list[Any]:
    """Chebyshev polynomials on [0, 1], and their first two derivatives, (n, count) each."""
    import torch

    y = 2 * z - 1
    values, slopes, curves = [torch.ones_like(y), y], [0 * y, torch.ones_like(y)], [0 * y, 0 * y]
    for _ in range(2, count):
        curves.append(4 * slopes[-1] + 2 * y * curves[-1] - curves[-2])
        slopes.append(2 * values[-1] + 2 * y * slopes[-1] - slopes[-2])
        values.append(2 * y * values[-1] - values[-2])
    return [2**order * torch.stack(each[:count], 1) for order, each in enumerate((values, slopes, curves))]


def render(result: dict[str, Any]) -> str:
    """The tables, as Markdown: rows are methods, columns numbers of basis functions."""
    blocks = []
    for initial, words in INITIAL.items():
        mine = [row for row in result["rows"] if row["initial"] == initial]
        counts = sorted({row["coefficients"] for row in mine})
        head = f"| u(x, 0): {initial} ({words}) | " + " | ".join(f"N = {count}" for count in counts) + " |"
        lines = [head, "| --- |" + " ---: |" * len(counts)]
        for method, cut in dict.fromkeys((row["method"], row["cut"]) for row in mine):
            cells = [
                f"{row['error']:.2g}{'' if row['status'] == 'converged' else '†'}"
                for count in counts
                for row in mine
                if (row["method"], row["cut"], row["coefficients"]) == (method, cut, count)
            ]
            lines.append(f"| {method}{'' if cut == 'none' else f', {cut}'} | " + " | ".join(cells) + " |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def draw(result: dict[str, Any]) -> None:
    """Errors over the number of basis functions, one panel per initial value."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    colors: dict[str, str] = {
        "one constraint": "black",
        "independent": "tab:red",
        "interface": "tab:blue",
        "windows": "tab:green",
    }
    figure, panels = plt.subplots(1, len(INITIAL), figsize=(10, 3.9), sharey=True, layout="constrained")
    for panel, initial in zip(panels, INITIAL, strict=True):
        mine = [row for row in result["rows"] if row["initial"] == initial]
        for method, cut in dict.fromkeys((row["method"], row["cut"]) for row in mine):
            points = [row for row in mine if (row["method"], row["cut"]) == (method, cut)]
            curve = [row["coefficients"] for row in points], [row["error"] for row in points]
            label = method if cut == "none" else f"{method}, {cut}"
            dashes = "--" if cut == "4 in space" else "-"
            panel.semilogy(*curve, dashes, color=colors[method], marker=".", label=label)
        panel.set(title=initial, xlabel="basis functions N")
    panels[0].set_ylabel("relative error")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(FIGURE, dpi=130)


if __name__ == "__main__":
    sys.exit(main())
