"""One of several processes that train cases together; rank 0 prints how far each is from the same on one process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pinnx.case import Case, parse_case
from pinnx.hpc.parallel import Leader, RankSplit, follow, joined
from pinnx.hpc.ranks import current_ranks
from pinnx.run import Manner

torch.set_num_threads(1)

CASE = """
seed = 52_361
device = "cpu"
[equation]
name = "{equation}"
dimension = 4
[network]
kind = "mlp"
width = 16
depth = 2
[solver]
kind = "pinn"
steps = {steps}
points = 37
condition_points = 13
precision = "float64"
evaluate_every = 1000
{solver}
"""

SMOOTHING = '[solver.derivatives]\nkind = "smoothing"\nsamples = 8\nsigma = 0.05\n'
SCENARIOS: dict[str, tuple[str, str, int]] = {
    "adam": ("allen-cahn", "", 60),
    "adam, soft conditions": ("poisson", "", 60),
    "clipped": ("allen-cahn", "clip_gradient = 0.5", 30),
    "sobol points": ("allen-cahn", 'sampling = "sobol"', 30),
    "lbfgs": ("allen-cahn", '[solver.optimizer]\nkind = "lbfgs"\niterations = 5', 4),
    "ssbroyden": ("allen-cahn", '[solver.optimizer]\nkind = "ssbroyden"', 10),
    "rad": ("allen-cahn", 'resample_every = 6\n[solver.resampling]\nkind = "rad"\npool = 4', 30),
    "importance, weights": (
        "poisson",
        '[solver.resampling]\nkind = "importance"\n[[solver.weighting]]\nkind = "gradient-norm"\nevery = 7',
        30,
    ),
    "smoothing, differences": ("allen-cahn", SMOOTHING + 'correction = "unbiased-loss"', 40),
    "smoothing, stein": ("allen-cahn", SMOOTHING + 'weights = "stein"\ncorrection = "biased"', 40),
    "smoothing, hybrid": ("allen-cahn", SMOOTHING + "switch_at = 15", 40),
    "hutchinson": ("allen-cahn", '[solver.derivatives]\nkind = "hutchinson"\nsamples = 4\ncorrection = "biased"', 40),
    "sdgd": ("allen-cahn", '[solver.derivatives]\nkind = "sdgd"\nsamples = 2\ncorrection = "biased"', 40),
}


def case_of(name: str) -> Case:
    """The case of a scenario."""
    equation, solver, steps = SCENARIOS[name]
    return parse_case(CASE.format(equation=equation, solver=solver, steps=steps))


def start(case: Case) -> Any:
    """Its training at step 0."""
    return case.solver.start(case.equation.problem(), case.network, seed=case.seed, device=torch.device("cpu"))


def trained(training: Any) -> tuple[list[float], Tensor]:
    """The losses of all steps, and the parameters after them."""
    losses = [training.step()["loss"] for _ in range(training.total_steps)]
    inner = getattr(training, "inner", training)
    return losses, torch.cat([parameter.detach().reshape(-1) for parameter in inner.trainable])


def together(name: str, ranks: Any) -> dict[str, float] | None:
    """Train on all processes, and on rank 0 once more alone."""
    case, split = case_of(name), RankSplit(ranks)
    if not ranks.leads:
        follow(case, split, Manner())
        return None
    leader = Leader(start(case), split)
    losses, parameters = trained(leader)
    alone_training = start(case)
    alone, expected = trained(alone_training)
    differences = [abs(a - b) / max(abs(b), 1e-300) for a, b in zip(losses, alone, strict=True)]
    return {
        "loss": max(differences),
        "parameters": float((parameters - expected).abs().max() / expected.abs().max()),
        "evaluations": leader.network_evaluations - alone_training.network_evaluations,
        "moved": float(abs(alone[-1] - alone[0]) / alone[0]),
    }


def planted(mistake: str, ranks: Any) -> dict[str, float] | None:
    """The same with a mistake in the split."""
    saved = RankSplit.weighted, RankSplit.noise
    if mistake == "means of means":
        RankSplit.weighted = lambda self, terms, batch: {k: v / ranks.count for k, v in terms.items()}  # type: ignore
    elif mistake == "noise of its own":
        own = torch.Generator().manual_seed(1000 + ranks.rank)
        RankSplit.noise = lambda self, generator: own  # type: ignore[method-assign]
    try:
        return together("smoothing, differences" if mistake == "noise of its own" else "adam", ranks)
    finally:
        RankSplit.weighted, RankSplit.noise = saved  # type: ignore[method-assign]


def alike(ranks: Any) -> bool:
    """Whether all processes end with the same parameters, bit for bit."""
    # fewer steps than there are between two alignments, which would hide a difference
    case, split = case_of("clipped"), RankSplit(ranks)
    training = start(case)
    if ranks.leads:
        trained(Leader(training, split))
    else:
        split.adopt(training)
        split.begin(training)
        trained(training)
    heard: list[Any] = [None] * ranks.count
    dist.all_gather_object(heard, [parameter.tolist() for parameter in training.trainable])
    return all(each == heard[0] for each in heard)


def main() -> None:
    """Go through all scenarios."""
    ranks = current_ranks()
    assert ranks is not None
    results: dict[str, Any] = {}
    with joined(ranks):
        run: dict[str, Callable[[], Any]] = {name: lambda name=name: together(name, ranks) for name in SCENARIOS}
        run |= {each: lambda each=each: planted(each, ranks) for each in ("means of means", "noise of its own")}
        run["alike"] = lambda: alike(ranks)
        for name, scenario in run.items():
            results[name] = scenario()
    if ranks.leads:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
