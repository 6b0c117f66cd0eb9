"""Training data of the learned V-cycle: many random systems, with errors of every wavelength."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from pinnx.options import between, check_limits, option
from pinnx.solvers.linear.directions.bands import from_operator
from pinnx.solvers.linear.directions.problems import RandomSystems, box
from pinnx.solvers.linear.directions.samples import Sample, Samples, SampleSource
from pinnx.solvers.linear.stencil import GridOperator


@final
@dataclass(frozen=True)
class RandomSamples(SampleSource):
    """Each batch holds new systems, or the box without obstacles, and errors drawn on all scales."""

    kind: ClassVar[str] = "random-systems"

    systems: RandomSystems = option(RandomSystems, "the distribution of systems")
    boxes: float = option(0.2, "fraction of batches on the box without obstacles", between(0.0, 1.0))

    def __post_init__(self) -> None:
        check_limits(self)

    def start(self, *, seed: int, folder: Path, batch: int) -> _Drawing:
        return _Drawing(self, batch)


class _Drawing(Samples):
    def __init__(self, options: RandomSamples, batch: int):
        self.options, self.batch = options, batch

    def draw(self, generator: torch.Generator) -> Sample:
        if float(torch.rand((), generator=generator)) < self.options.boxes:
            operator = box(self.options.systems.grid)
        else:
            operator = self.options.systems.draw(self.batch, generator)
        return sample(operator, scale_errors(operator, self.batch, generator))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        del state


def sample(operator: GridOperator, errors: Tensor) -> Sample:
    """Errors (k, n) in float64 and the residuals that belong to them, ‖b‖ = 1, in float32."""
    residuals = operator.apply(errors.to(operator.dtype))
    norms = torch.linalg.vector_norm(residuals, dim=1, keepdim=True)
    return Sample(
        operator, from_operator(operator, torch.float32), (residuals / norms).float(), (errors / norms).float()
    )


def scale_errors(operator: GridOperator, count: int, generator: torch.Generator) -> Tensor:
    """Errors (count, n) in float64: a sum of white noise on ever coarser grids, zero in obstacles."""
    total = torch.zeros(count, *operator.grid, dtype=operator.dtype)
    for level in range(int(math.log2(max(operator.grid)))):
        noise = torch.randn(
            count, *(-(-n // 2**level) for n in operator.grid), generator=generator, dtype=operator.dtype
        )
        for axis, n in enumerate(operator.grid, start=1):
            noise = noise.repeat_interleave(2**level, dim=axis).narrow(axis, 0, n)
        weight = torch.rand(count, *(1,) * len(operator.grid), generator=generator, dtype=operator.dtype)
        total += 2.0**level * weight * noise
    return (total * operator.mask).reshape(count, -1)
