"""What a direction is trained on: operators, residuals, and the errors that belong to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from pinnx.solvers.linear.directions.bands import Bands
from pinnx.solvers.linear.stencil import GridOperator


@dataclass(frozen=True)
class Sample:
    """One batch.

    Attributes:
        operator: one system, or one per residual.
        bands: the same in float32, for products that are differentiated.
        residuals: b (k, n) in float32.
        errors: e (k, n) with A e = b, or None where they are not known.
    """

    operator: GridOperator
    bands: Bands
    residuals: Tensor
    errors: Tensor | None


class Samples(ABC):
    """A source of batches, being drawn from."""

    @abstractmethod
    def draw(self, generator: torch.Generator) -> Sample:
        """The next batch; the same generator state and position in the source give the same one."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What changes from draw to draw, besides the generator: tensors and plain values."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state."""


class SampleSource(ABC):
    """The options of a source of training data. Leaves are frozen dataclasses.

    Attributes:
        kind: its name in a case file.
    """

    kind: ClassVar[str]

    @abstractmethod
    def start(self, *, seed: int, folder: Path, batch: int) -> Samples:
        """The source, ready to be drawn from.

        Args:
            seed: of what is drawn once for all batches.
            folder: where data too large for memory are kept, and looked for.
            batch: residuals per draw.
        """
