"""Random directions v with E v vᵀ = I, whose means over a group of samples estimate traces: E vᵀ H v = trace H.

*Orthogonal* directions are uniform on the sphere of radius √r, and those of one group are orthogonal to each other as
far as they can be. Each alone has the law of every other, so that means are unbiased; but r of them sum to the
identity, Σ v vᵀ = r I, so that a group of r gives a trace without any noise, and one of k < r has the variance

    2 (r − k) / ((r − 1)(r + 2) k) · (r ‖H‖² − (trace H)²),

about 1 − k/r times that of independent ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from pinnx.networks.base import Network

Law = Literal["orthogonal", "rademacher", "gaussian"]


def random_directions(
    law: Law, sizes: Sequence[int], points: int, rank: int, generator: torch.Generator, like: Tensor
) -> Tensor:
    """Directions of several independent groups.

    Args:
        law: of one direction, and of those of a group together.
        sizes: number of directions of each group.
        points: 1 for directions that all points share, else one set per point.
        rank: r, number of coordinates.
        generator: draws them.
        like: gives dtype and device.

    Returns:
        (K, points, r), K the sum of the sizes, without gradient.
    """
    shape = (sum(sizes), points, rank)
    if law == "gaussian":
        return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)
    if law == "rademacher":
        signs = torch.empty(shape, dtype=like.dtype, device=like.device)
        return signs.bernoulli_(0.5, generator=generator).mul_(2).sub_(1)
    blocks = [min(rank, size - start) for size in sizes for start in range(0, size, rank)]
    drawn = {
        size: iter(_orthogonal(blocks.count(size), size, points, rank, generator, like))
        for size in dict.fromkeys(blocks)
    }
    return torch.cat([next(drawn[size]) for size in blocks])


def good_group(law: Law, samples: int, network: Network) -> int:
    """Samples per group of a U-statistic of least variance.

    Single ones if independent: there are more pairs of them. Of orthogonal ones as many as there are, as soon as they
    are about half of the rank: the variance that they save, (1 − k/r)², then outweighs the pairs.
    """
    affine = network.first_affine()
    few = affine is None or 2 * samples < min(affine[0].shape)
    return 1 if law != "orthogonal" or few else samples


def _orthogonal(
    count: int, size: int, points: int, rank: int, generator: torch.Generator, like: Tensor
) -> Sequence[Tensor]:
    """As many blocks (size, points, r) of orthogonal directions."""
    normal = torch.randn((count, points, rank, size), generator=generator, dtype=like.dtype, device=like.device)
    if size == 1:
        basis = normal / torch.linalg.vector_norm(normal, dim=-2, keepdim=True)
    else:
        basis, upper = torch.linalg.qr(normal)
        # the factor is uniform on the orthogonal group only with the signs that make the diagonal of R positive
        basis = basis * upper.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]
    return (math.sqrt(rank) * basis).permute(0, 3, 1, 2).unbind(0)
