"""Soft gating: each point is served by the few experts that score highest there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.expr import Known, Points
from pinnx.options import at_least, check_limits, option, positive
from pinnx.solvers.experts.couplings.gates import Gates, smooth_step
from pinnx.solvers.experts.partition import Partition

#: Parts into which the range of the threshold is cut, twice; Newton steps that then make it and its derivatives exact.
_PARTS, _NEWTON_STEPS = 64, 4


@final
@dataclass(frozen=True)
class Gated(Gates):
    """Soft top-k gating: a softmax of each block's score times a smooth mask of the k best; solved jointly.

    The score z falls with half the squared distance from the block's center, in units of its half widths. The mask
    m_e = S((z_e - θ) / softness + ½), with a smooth step S, has a threshold θ for which all masks sum to k: k experts
    are active where the order is clear. Near a tie more of them share a place: a hard choice of the k best would jump
    at points where more blocks meet.
    """

    kind: ClassVar[str] = "gated"
    top_k: int = option(2, "experts that are active at a point, where their order is clear", at_least(1))
    temperature: float = option(1.0, "of the softmax: larger values blend further", positive)
    softness: float = option(1.0, "difference of scores over which an expert fades out", positive)

    def __post_init__(self) -> None:
        check_limits(self)

    def members(self, partition: Partition, points: Points) -> Tensor:
        weights = self._gates(partition, points.tensor.double())
        found = torch.where(weights > 0, torch.arange(len(partition), device=weights.device), -1)
        found = found.sort(dim=1, descending=True).values
        return found[:, : int((found >= 0).sum(1).max())]

    def gate(self, partition: Partition, expert: int) -> Known:
        return Known(f"g{expert + 1}", lambda points: self._gates(partition, points.tensor)[:, expert])

    def _gates(self, partition: Partition, columns: Tensor) -> Tensor:
        """All gates, (n, E)."""
        scores = self._scores(partition, columns)
        weights = torch.softmax(scores / self.temperature, dim=1) * self._masks(scores)
        return weights / weights.sum(1, keepdim=True)

    def _masks(self, scores: Tensor) -> Tensor:
        """Values in [0, 1] that sum to k."""
        if self.top_k >= scores.shape[1]:
            return torch.ones_like(scores)

        def masks(threshold: Tensor) -> Tensor:
            return smooth_step((scores - threshold) / self.softness + 0.5)

        low = (scores.amin(1, keepdim=True) - self.softness).detach()
        width = (scores.amax(1, keepdim=True) + self.softness).detach() - low
        parts = torch.arange(_PARTS, dtype=scores.dtype, device=scores.device) / _PARTS
        for _ in range(2):  # the sum of the masks falls with the threshold: the last place where it is too large
            places = low + width * parts
            counts = smooth_step((scores.detach()[:, None] - places[..., None]) / self.softness + 0.5).sum(-1)
            last = (counts > self.top_k).sum(1, keepdim=True).clamp_min(1) - 1
            low, width = places.gather(1, last), width / _PARTS
        threshold = low + width / 2
        for _ in range(
            _NEWTON_STEPS
        ):  # each squares the error, and doubles the order of the derivatives that are right
            s = ((scores - threshold) / self.softness + 0.5).clamp(0.0, 1.0)
            slope = (140 * (s * (1 - s)) ** 3).sum(1, keepdim=True) / self.softness
            flat = slope < 1e-9  # all masks are 0 or 1: the threshold does not matter
            excess = masks(threshold).sum(1, keepdim=True) - self.top_k
            threshold = threshold + torch.where(flat, torch.zeros_like(slope), excess / torch.where(flat, 1.0, slope))
        return masks(threshold)

    def _scores(self, partition: Partition, columns: Tensor) -> Tensor:
        total = torch.zeros_like(columns[:, :1])
        for axis, edges in enumerate(partition.edges):
            places = torch.tensor([partition.position(e)[axis] for e in range(len(partition))], device=columns.device)
            low, high = columns.new_tensor(edges[:-1])[places], columns.new_tensor(edges[1:])[places]
            away = columns[:, axis : axis + 1] - (low + high) / 2
            if partition.periodic[axis]:
                length = edges[-1] - edges[0]
                away = length / torch.pi * torch.sin(torch.pi * away / length)  # smooth, and the same at both ends
            total = total - 0.5 * (2 * away / (high - low)).square()
        return total
