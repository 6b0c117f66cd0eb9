"""Random directions v with E v vᵀ = I, whose means over a group of samples estimate traces: E vᵀ H v = trace H.

*Orthogonal* directions have the length √r, and those of one group are orthogonal to each other as far as they can be.
Each alone has the law of every other, so that means are unbiased; but r of them sum to the identity, Σ v vᵀ = r I, so
that a group of r gives a trace without any noise. Where r is a power of two they are the rows of a Hadamard matrix in
random order, with random signs of its columns; a mean of k of them has the variance

    2 (r − k) / ((r − 1) k) · ‖offdiag H‖²,

(r − k)/(r − 1) times that of independent signs. Else they are uniform on the sphere, and the variance is

    2 (r − k) / ((r − 1)(r + 2) k) · (r ‖H‖² − (trace H)²).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal

import torch
from scipy.linalg import hadamard
from torch import Tensor

from pinnx.expr import Atom, Points, SecondOrder
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
    block = _signs if rank & (rank - 1) == 0 else _on_the_sphere
    drawn = {
        size: iter(block(blocks.count(size), size, points, rank, generator, like)) for size in dict.fromkeys(blocks)
    }
    return torch.cat([next(drawn[size]) for size in blocks])


def described(law: Law, space: str, network: Network) -> str:
    """The directions in words, with the rank of the first layer where they live in its row space."""
    affine = network.first_affine()
    reduced = space == "rows" and affine is not None and affine[0].shape[1] > affine[0].shape[0]
    where = f"the first layer's row space of {len(affine[0])} dimensions" if reduced and affine else "all dimensions"
    which = {"orthogonal": "orthogonal", "rademacher": "random sign", "gaussian": "normal"}[law]
    return f"{which} directions in {where}"


def complete_set(law: str, space: str, network: Network, points: Points, atom: Atom) -> int | None:
    """Number of directions at right angles that give a second-order operator without noise; None for other laws."""
    affine = network.first_affine()
    if law != "orthogonal" or affine is None or not isinstance(atom, SecondOrder):
        return None
    size = max(1, points.coordinates.size(atom.group))
    return min(size, len(affine[0])) if space == "rows" else size


def good_group(law: Law, samples: int, network: Network) -> int:
    """Samples per group of a U-statistic of least variance.

    Single ones if independent: there are more pairs of them. Of orthogonal ones as many as there are, as soon as they
    are about half of the rank: the variance that they save, (1 − k/r)², then outweighs the pairs.
    """
    affine = network.first_affine()
    few = affine is None or 2 * samples < min(affine[0].shape)
    return 1 if law != "orthogonal" or few else samples


def _signs(
    count: int, size: int, points: int, rank: int, generator: torch.Generator, like: Tensor
) -> tuple[Tensor, ...]:
    """As many blocks (size, points, r) of rows of a Hadamard matrix."""
    lottery = torch.rand((count, points, rank), generator=generator, dtype=like.dtype, device=like.device)
    flips = torch.rand((count, points, 1, rank), generator=generator, dtype=like.dtype, device=like.device)
    rows = _hadamard(rank, like.dtype, like.device)[lottery.argsort(-1)[..., :size]]
    return torch.where(flips < 0.5, -rows, rows).transpose(1, 2).unbind(0)


@cache
def _hadamard(rank: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.as_tensor(hadamard(rank), dtype=dtype, device=device)


def _on_the_sphere(
    count: int, size: int, points: int, rank: int, generator: torch.Generator, like: Tensor
) -> tuple[Tensor, ...]:
    """As many blocks (size, points, r) of an orthonormal basis, times √r."""
    normal = torch.randn((count, points, rank, size), generator=generator, dtype=like.dtype, device=like.device)
    basis, upper = torch.linalg.qr(normal)
    # the factor is uniform on the orthogonal group only with the signs that make the diagonal of R positive
    basis = basis * upper.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]
    return (math.sqrt(rank) * basis).permute(0, 3, 1, 2).unbind(0)
