"""The published training data: random combinations of the Ritz vectors of one matrix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from pinnx.options import at_least, between, check_limits, option
from pinnx.solvers.linear.directions.bands import from_operator
from pinnx.solvers.linear.directions.lanczos import random_combinations, write_ritz_file
from pinnx.solvers.linear.directions.problems import box
from pinnx.solvers.linear.directions.samples import Sample, Samples, SampleSource
from pinnx.solvers.linear.stencil import GridOperator


@final
@dataclass(frozen=True)
class RitzSamples(SampleSource):
    """Residuals of one box without obstacles (Kaneda et al., ICML 2023, section 5).

    b = Σ c_j q_j with Ritz vectors q_j and c_j ~ N(0, 1), the lowest part of them larger by `emphasis`, ‖b‖ = 1. The
    errors that belong to them, A e = b, are those of the Ritz values.
    """

    kind: ClassVar[str] = "ritz"

    grid: tuple[int, ...] = option((64, 64), "cells per axis of the box")
    vectors: int = option(800, "Ritz vectors; the paper takes 10 000 in 3-d, 800 suffice in 2-d", at_least(2))
    emphasized: float = option(
        0.55, "fraction of the Ritz vectors, lowest first, that is emphasized", between(0.0, 1.0)
    )
    emphasis: float = option(9.0, "factor of the emphasized coefficients", at_least(1.0))
    pool: int = option(1000, "residuals that are drawn in one pass over the Ritz vectors", at_least(1))

    def __post_init__(self) -> None:
        check_limits(self)

    def start(self, *, seed: int, folder: Path, batch: int) -> _Drawing:
        return _Drawing(self, seed, folder, batch, box(self.grid), "box")


@final
@dataclass(frozen=True, eq=False)
class OperatorRitzSamples(SampleSource):
    """Residuals of a given operator, drawn like those of `RitzSamples`.

    Args:
        options: how they are drawn.
        operator: of one system.
        name: tells its data from those of others in one folder.
    """

    kind: ClassVar[str] = "operator-ritz"

    options: RitzSamples
    operator: GridOperator
    name: str

    def __repr__(self) -> str:
        return f"{self.options!r} of {self.name}"

    def start(self, *, seed: int, folder: Path, batch: int) -> _Drawing:
        return _Drawing(self.options, seed, folder, batch, self.operator, self.name)


class _Drawing(Samples):
    """Residuals are combined `pool` at a time, since each pass reads the whole file."""

    def __init__(self, options: RitzSamples, seed: int, folder: Path, batch: int, operator: GridOperator, name: str):
        self.options, self.batch, self.operator = options, batch, operator
        self.bands = from_operator(self.operator, torch.float32)
        grid = "x".join(map(str, options.grid))
        self.path = folder / f"ritz_{name}_{grid}_{options.vectors}_{seed}.h5"
        write_ritz_file(self.operator, self.path, vectors=options.vectors, seed=seed)
        self.pool, self.position = torch.empty(0, self.operator.shape[0]), 0
        self.pool_state: Tensor | None = None

    def draw(self, generator: torch.Generator) -> Sample:
        if self.position + self.batch > len(self.pool):
            self._fill(generator)
        residuals = self.pool[self.position : self.position + self.batch]
        self.position += self.batch
        return Sample(self.operator, self.bands, residuals, None)

    def _fill(self, generator: torch.Generator) -> None:
        self.pool_state, self.position = generator.get_state(), 0
        rows = max(self.options.pool, self.batch)

        def coefficients(values: Tensor) -> Tensor:
            drawn = torch.randn(rows, len(values), generator=generator)
            drawn[:, : round(self.options.emphasized * len(values))] *= self.options.emphasis
            return drawn

        pool = random_combinations(self.path, coefficients)
        self.pool = pool / torch.linalg.vector_norm(pool, dim=1, keepdim=True)

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position, "pool_state": self.pool_state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["pool_state"] is None:
            self.pool, self.pool_state = self.pool[:0], None
        else:
            generator = torch.Generator()
            generator.set_state(state["pool_state"])
            self._fill(generator)
        self.position = state["position"]
