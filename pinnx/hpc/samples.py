"""Samples of a stochastic estimator split over processes, where there are too few points to split those.

Every process draws its share of the samples of each step. One sum makes the estimates of all out of the shares', and
every process computes the same loss of them; its gradient runs through its own samples only, and the gradients' sum is
that of the loss. Estimates keep their mean; what samples of one group know of one another (orthogonal directions, a
baseline of the others) they know within their share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from pinnx.expr import Atom, Points
from pinnx.hpc.meeting import Meeting
from pinnx.networks.base import Network

Draw = Callable[[Network, Points, Sequence[Atom], torch.Generator, Sequence[int]], dict[Atom, Tensor]]


@final
class SharedDraw:
    """Draws a share of the samples and gives the estimates of all; see `SampledEstimator.draw`.

    Args:
        draw: of the estimator.
        meeting: of this process with the others.
    """

    def __init__(self, draw: Draw, meeting: Meeting):
        self.draw, self.meeting = draw, meeting

    def __call__(
        self,
        network: Network,
        points: Points,
        atoms: Sequence[Atom],
        generator: torch.Generator,
        sizes: Sequence[int],
        *,
        joint: bool = False,
    ) -> dict[Atom, Tensor]:
        assert not joint, "one set of samples cannot be shared"
        cut, own = shares(sizes, self.meeting, self.meeting.ranks.rank)
        drawn = self.draw(network, points, atoms, generator, own)
        addends = {atom: self._addend(values, cut, own, sizes) for atom, values in drawn.items()}
        flat = torch.cat([each.detach().reshape(-1) for each in addends.values()])
        sums = self.meeting.sum(torch.cat([flat, flat.new_zeros(1)]))[:-1].split([v.numel() for v in addends.values()])
        # the value of the sum, the gradient of this process's addend
        return {
            atom: addend + (total.view_as(addend) - addend.detach())
            for (atom, addend), total in zip(addends.items(), sums, strict=True)
        }

    def _addend(self, values: Tensor, cut: slice, own: Sequence[int], sizes: Sequence[int]) -> Tensor:
        """This process's share (a, n, …) of the estimates (g, n, …), or of (1, n, …) where nothing is random."""
        shape = [1] * (values.ndim - 1)
        if len(values) == 1 and len(sizes) > 1:
            return values / self.meeting.ranks.count
        whole = sizes[cut]
        weights = values.new_tensor([a / b for a, b in zip(own, whole, strict=True)]).view(-1, *shape)
        if len(whole) == len(sizes):
            return values * weights
        before, after = cut.start, len(sizes) - cut.stop
        pads = [values.new_zeros(count, *values.shape[1:]) for count in (before, after)]
        return torch.cat([pads[0], values * weights, pads[1]])


def shares(sizes: Sequence[int], meeting: Meeting, rank: int) -> tuple[slice, list[int]]:
    """Which groups of samples a process draws from, and how many of each: whole groups where there are enough."""
    if len(sizes) >= 2 * meeting.ranks.count:  # from two on, an estimate per group is told from one without randomness
        cut = meeting.share(len(sizes), rank)
        return cut, list(sizes[cut])
    cuts = [meeting.share(size, rank) for size in sizes]
    return slice(0, len(sizes)), [cut.stop - cut.start for cut in cuts]


def smallest_share(sizes: Sequence[int], meeting: Meeting) -> int:
    """The fewest samples that a process draws for one estimate."""
    return min(min(shares(sizes, meeting, rank)[1]) for rank in range(meeting.ranks.count))
