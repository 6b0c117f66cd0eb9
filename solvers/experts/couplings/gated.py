"""Soft gating: each point is served by the few experts that score highest there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.expr import Known, Points
from pinnx.options import at_least, check_limits, option, positive
from pinnx.solvers.experts.couplings.gates import Gates
from pinnx.solvers.experts.partition import Partition


@final
@dataclass(frozen=True)
class Gated(Gates):
    """Soft top-k gating: a softmax of each block's score, of which the k largest are kept; solved jointly.

    The score falls with the squared distance from the block's center, in units of its half widths. With the softmax p
    in decreasing order, an expert's gate is (p_e - p_{k+1})³ where positive, over the sum of all: at most k are active
    at a point, and the gates remain twice continuously differentiable where the order changes.
    """

    kind: ClassVar[str] = "gated"
    top_k: int = option(2, "most experts that are active at a point", at_least(1))
    temperature: float = option(1.0, "of the softmax: larger values blend further", positive)

    def __post_init__(self) -> None:
        check_limits(self)

    def members(self, partition: Partition, points: Points) -> Tensor:
        weights = self._weights(partition, points.tensor.double())
        count = min(self.top_k, len(partition))
        best = weights.topk(count, dim=1)
        return torch.where(best.values > 0, best.indices, -1).sort(dim=1, descending=True).values

    def gate(self, partition: Partition, expert: int) -> Known:
        return Known(f"g{expert + 1}", lambda points: self._weights(partition, points.tensor)[:, expert])

    def _weights(self, partition: Partition, columns: Tensor) -> Tensor:
        """All gates, (n, E)."""
        distance: Tensor | None = None
        for axis, edges in enumerate(partition.edges):
            places = torch.tensor([partition.position(e)[axis] for e in range(len(partition))], device=columns.device)
            low, high = columns.new_tensor(edges[:-1])[places], columns.new_tensor(edges[1:])[places]
            away = columns[:, axis : axis + 1] - (low + high) / 2
            if partition.periodic[axis]:
                length = edges[-1] - edges[0]
                away = length / torch.pi * torch.sin(torch.pi * away / length)  # smooth, and the same at both ends
            square = (2 * away / (high - low)).square()
            distance = square if distance is None else distance + square
        assert distance is not None
        p = torch.softmax(-0.5 * distance / self.temperature, dim=1)
        if self.top_k < len(partition):
            p = (p - p.topk(self.top_k + 1, dim=1).values[:, -1:]).clamp_min(0)
        cubed = (p / p.amax(1, keepdim=True)) ** 3
        return cubed / cubed.sum(1, keepdim=True)
