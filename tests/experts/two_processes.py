"""One of several processes that solve mixtures together; rank 0 prints how far each is from the same on one process."""

from __future__ import annotations

import json
import sys

import torch
import torch.distributed as dist

from pinnx.solvers.experts import (
    Coupling,
    Gated,
    Independent,
    Interface,
    LeastSquaresOptions,
    Mixture,
    Partition,
    Processes,
    Windows,
)
from pinnx.testing import CouplingConformance
from pinnx.testing.couplings import Waves

torch.set_num_threads(1)


class Problems(CouplingConformance):
    def couplings(self) -> list[Coupling]:
        return [Independent(), Interface(), Windows(), Gated()]


def differences(coupling: Coupling, blocks: int, equation: str) -> dict[str, float]:
    """Relative differences of coefficients and gradients between the processes together and this one alone."""
    problems = Problems()
    cut = Partition.uniform((0.0, 0.0), (1.0, 1.0), blocks)
    results = []
    for sharing in (Processes(), None):
        waves = Waves(problems.instances, problems.coefficients, problems.seed)
        k = waves.k.clone().requires_grad_()
        _, rows, _ = problems._problem(coupling, equation, k=k)
        mixture = Mixture(cut, coupling, sharing)
        solved = mixture.solve(rows, LeastSquaresOptions(ridge=1e-6))
        assert bool(solved.ok.all()), solved.statuses
        if sharing is None:
            solved.omega.square().sum().backward()
        else:  # each process has half of the loss, and a share of the gradient
            own = solved.omega[:, :, sharing.rank :: sharing.count]
            own.square().sum().backward()
        assert k.grad is not None
        if sharing is not None:
            dist.all_reduce(k.grad)
        results.append((solved.omega.detach(), k.grad))
    return {
        name: float((together - alone).norm() / alone.norm())
        for name, together, alone in zip(("omega", "gradient"), *results, strict=True)
    }


def main() -> None:
    """Solve everything; rank 0 prints."""
    store, rank, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
    found = {
        f"{coupling.kind}, {blocks} × {blocks} blocks, {equation}": differences(coupling, blocks, equation)
        for coupling in Problems().couplings()
        for blocks, equation in ((2, "burgers"), (1, "heat"))
    }
    if rank == 0:
        print(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
