"""One of several processes that train cases together; rank 0 prints how far each is from the same on one process."""

from __future__ import annotations

import json
import math
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pinnx.case import Case, parse_case
from pinnx.family import Instances
from pinnx.hpc.gram import SplitJacobian
from pinnx.hpc.parallel import Leader, follow, joined
from pinnx.hpc.rank_split import RankSplit
from pinnx.hpc.ranks import current_ranks
from pinnx.run import Manner
from pinnx.solvers.constrained.family_training import FamilyTraining
from pinnx.solvers.natural import LeastSquares
from pinnx.solvers.split import Split
from tests.hpc.rank_cases import CASE, CONSTRAINED, FEW, MISTAKES, PRODUCTS, SAMPLES, SCENARIOS, SMOOTHING

torch.set_num_threads(1)


def case_of(name: str) -> Case:
    """The case of a scenario."""
    if name in CONSTRAINED:
        return parse_case(CONSTRAINED[name][0])
    equation, solver, steps = SCENARIOS[name]
    stated = "" if "stage" in solver else f"steps = {steps}"  # stages state their own
    text = CASE.format(equation=equation, solver=solver, steps=stated)
    if FEW in name:
        text = text.replace("width = 16", "width = 4").replace("points = 37", "points = 97")
    return parse_case(text)


def start(case: Case) -> Any:
    """Its training at step 0."""
    return case.start(torch.device("cpu"))


@contextmanager
def spoiled(name: str) -> Iterator[None]:
    """Some instances of each step have no solution, where the scenario says so."""
    _, bad, _ = CONSTRAINED[name]
    draw = FamilyTraining._drawn

    def drawn(self: FamilyTraining, generator: torch.Generator) -> Instances:
        instances = draw(self, generator)
        instances.inputs["g"][bad] = math.nan
        return instances

    FamilyTraining._drawn = drawn  # type: ignore[method-assign]
    try:
        yield
    finally:
        FamilyTraining._drawn = draw  # type: ignore[method-assign]


def trained(training: Any) -> tuple[list[float], Tensor]:
    """The losses of all steps, and the parameters after them."""
    losses = [training.step()["loss"] for _ in range(training.total_steps)]
    return losses, flat(getattr(training, "inner", training))


def flat(training: Any) -> Tensor:
    """All parameters."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in training.trainable])


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


def constrained(name: str, ranks: Any) -> dict[str, float] | None:
    """The same with hard constraints."""
    with spoiled(name):
        return together(name, ranks)


def planted(mistake: str, ranks: Any) -> dict[str, float] | None:
    """The same with a mistake in the split."""
    saved = RankSplit.rows, RankSplit.weighted, RankSplit.noise, SplitJacobian.adjoint, SplitJacobian.normal
    names = {
        "noise of its own": "smoothing, differences",
        "a direction of its own": "spring",
        "normal equations of its own": f"engd, {FEW}",
        "shares that overlap": "instances, soft",
    }
    if mistake == "means of means":
        RankSplit.weighted = lambda self, terms, batch: {k: v / ranks.count for k, v in terms.items()}  # type: ignore
    elif mistake == "a direction of its own":
        SplitJacobian.adjoint = lambda self, rows: ranks.count * self.share.adjoint(rows[self.exchange.own])  # type: ignore
    elif mistake == "shares that overlap":
        RankSplit.rows = lambda self, count: slice(0, count)  # type: ignore[method-assign]
    elif mistake == "normal equations of its own":
        SplitJacobian.normal = lambda self: ranks.count * self.share.normal()  # type: ignore[method-assign]
    elif mistake == "noise of its own":
        own = torch.Generator().manual_seed(1000 + ranks.rank)
        RankSplit.noise = lambda self, generator: own  # type: ignore[method-assign]
    try:
        return together(names.get(mistake, "adam"), ranks)
    finally:
        RankSplit.rows, RankSplit.weighted, RankSplit.noise, *rest = saved  # type: ignore[method-assign]
        SplitJacobian.adjoint, SplitJacobian.normal = rest  # type: ignore[method-assign]


def samples(name: str, ranks: Any) -> dict[str, float] | None:
    """Train on one point with the samples split over the processes, and on rank 0 with the same samples alone."""
    options, count = SAMPLES[name], ranks.count
    text = CASE.format(equation="allen-cahn", solver=SMOOTHING.replace("= 8", "= 13") + options, steps="steps = 30")
    case, split = parse_case(text.replace("points = 37", "points = 1")), RankSplit(ranks)
    if not ranks.leads:
        follow(case, split, Manner())
        return None
    losses, parameters = trained(Leader(start(case), split))
    alone = start(case)

    def reference(network: Any, points: Any, atoms: Any, generator: torch.Generator, sizes: list[int]) -> Any:
        """The estimates from the samples of both, by plain sums that autograd sees as a whole."""
        whole: dict[Any, Any] = {}
        for rank in range(count):
            own = torch.Generator().manual_seed(alone.seed_of_step + rank)
            cuts = [slice(size * rank // count, size * (rank + 1) // count) for size in sizes]
            if len(sizes) >= 2 * count:
                cut = slice(len(sizes) * rank // count, len(sizes) * (rank + 1) // count)
                drawn = estimator.draw(network, points, atoms, own, sizes[cut])
                for atom, values in drawn.items():
                    exact = len(values) == 1
                    whole.setdefault(atom, []).append(values if not exact or rank == 0 else values[:0])
                continue
            drawn = estimator.draw(network, points, atoms, own, [cut.stop - cut.start for cut in cuts])
            for atom, values in drawn.items():
                parts = [(c.stop - c.start) / size for c, size in zip(cuts, sizes, strict=True)]
                weight = values.new_tensor(parts if len(values) == len(sizes) else [1 / count])
                whole[atom] = whole.get(atom, 0.0) + values * weight.view(-1, *[1] * (values.ndim - 1))
        return {atom: torch.cat(v) if isinstance(v, list) else v for atom, v in whole.items()}

    estimator = alone.system.estimator
    for squared in alone.loss.drawing:
        squared.draw, squared.joint = reference, False
    alone.split = SameSeeds(alone)
    expected_losses, expected = trained(alone)
    differences = [abs(a - b) / max(abs(b), 1e-300) for a, b in zip(losses, expected_losses, strict=True)]
    return {
        "loss": max(differences),
        "parameters": float((parameters - expected).abs().max() / expected.abs().max()),
        "moved": float((expected - flat(start(case))).abs().max()),
    }


class SameSeeds(Split):
    """One process, with the seeds of the samples that several would draw."""

    def __init__(self, training: Any):
        self.training = training

    def noise(self, generator: torch.Generator) -> torch.Generator:
        self.training.seed_of_step = int(torch.randint(2**62, (), generator=generator))
        return generator

    def rows(self, count: int) -> slice:
        return slice(0, count)

    def share(self, batch: Any) -> Any:
        return batch

    def weighted(self, terms: Any, batch: Any) -> Any:
        return terms

    def total(self, terms: Any, parameters: Any) -> Any:
        return terms

    def linear(self, share: Any, batch: Any) -> Any:
        return share


def products(equation: str, derivatives: str, width: int, ranks: Any) -> dict[str, float]:
    """How far K = J Jᵀ, Jᵀ J, J, J p, Jᵀ v and the residuals of two shares are from those of the whole."""
    text = CASE.format(equation=equation, solver=f'[solver.derivatives]\nkind = "{derivatives}"', steps="steps = 1")
    training = start(
        parse_case(text.replace("width = 16", f"width = {width}").replace("dimension = 4", "dimension = 40"))
    )
    split, draw = RankSplit(ranks), torch.Generator().manual_seed(77_003)
    split.adopt(training).split = split
    split.meeting.announces = True
    split.begin(training)
    batch = training.batches.plain(training.leg, draw)
    squares = LeastSquares(training.system, training.trainable, training.loss.names)
    whole, counts = squares.linearize(batch, draw), [len(points) for points in batch]
    shared = split.linear(squares.linearize(split.share(batch), draw, counts), batch)
    # rows of the shares lie one after the other, those of the whole by group
    starts, order = [sum(counts[index] for index in whole.groups[:group]) for group in range(len(whole.groups))], []
    for rank in range(ranks.count):
        for first, index in zip(starts, whole.groups, strict=True):
            cut = split.meeting.share(counts[index], rank)
            order += range(first + cut.start, first + cut.stop)
    direction = torch.randn(training.parameters, generator=draw, dtype=torch.float64)
    rows = torch.randn(len(order), generator=draw, dtype=torch.float64)
    pairs = {
        "gram": (shared.jacobian.gram(), whole.jacobian.gram()[order][:, order]),
        "normal": (shared.jacobian.normal(), whole.jacobian.normal()),
        "rows": (shared.jacobian.rows(), whole.jacobian.rows()[order]),
        "apply": (shared.jacobian.apply(direction), whole.jacobian.apply(direction)[order]),
        "adjoint": (shared.jacobian.adjoint(rows[order]), whole.jacobian.adjoint(rows)),
        "residuals": (shared.residuals, whole.residuals[order]),
    }
    return {name: float((a - b).abs().max() / b.abs().max()) for name, (a, b) in pairs.items()}


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
        run |= {name: lambda name=name: constrained(name, ranks) for name in CONSTRAINED}
        run |= {f"samples {each}": lambda each=each: samples(each, ranks) for each in SAMPLES}
        run |= {each: lambda each=each: planted(each, ranks) for each in MISTAKES}
        run |= {" ".join(map(str, each)): lambda each=each: products(*each, ranks) for each in PRODUCTS}
        run["alike"] = lambda: alike(ranks)
        for name, scenario in run.items():
            try:
                results[name] = scenario()
            except Exception:
                # the other process waits in an exchange that this one has left without a word
                traceback.print_exc()
                os._exit(1)
    if ranks.leads:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
