"""Sparse QR of a Jacobian in blocks: one expert after the other leaves the rows that hold its coefficients.

The rows that touch an expert are gathered and triangularized; the first N rows of the triangle give the expert's
coefficients in terms of its neighbors', the others go on as rows of the neighbors. This is the multifrontal method
(J. W. H. Liu, SIAM Review 34 (1992), 82-109), with experts in the place of single columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import torch
from torch import Tensor

from pinnx.solvers.experts.structure import Structure
from pinnx.solvers.experts.tables import Piece

#: Coefficients of all experts up to which R and the Hessian are kept in one piece.
ASSEMBLED = 512
#: Inverse iterations of the estimate of the smallest singular value.
_INVERSE_ITERATIONS = 4


class Factor(ABC):
    """R of a Jacobian J = QR whose columns were scaled to length 1, with damping rows below."""

    @abstractmethod
    def step(self) -> Tensor:
        """The least-squares solution of J δ = -r, (B, E, N), in scaled coefficients."""

    @abstractmethod
    def solve(self, right: Tensor) -> Tensor:
        """The solution of RᵀR x = right, (B, E, N)."""


@final
@dataclass(frozen=True)
class Separate(Factor):
    """Experts that share no row.

    Attributes:
        triangle: (B, E, N, N).
        right: Qᵀr, (B, E, N).
    """

    triangle: Tensor
    right: Tensor

    def step(self) -> Tensor:
        return -_back(self.triangle, self.right)

    def solve(self, right: Tensor) -> Tensor:
        return _back(self.triangle, _forward(self.triangle, right))


@final
@dataclass(frozen=True)
class Pivot:
    """One expert's rows of R: diagonal block (B, N, N), those of its later neighbors (B, N, k N), Qᵀr (B, N)."""

    expert: int
    neighbors: tuple[int, ...]
    diagonal: Tensor
    beside: Tensor
    right: Tensor


@final
@dataclass(frozen=True)
class Joint(Factor):
    """Experts that share rows, in the order in which they were eliminated."""

    pivots: tuple[Pivot, ...]

    def step(self) -> Tensor:
        return -self._backward([pivot.right for pivot in self.pivots])

    def solve(self, right: Tensor) -> Tensor:
        left = list(right.unbind(1))
        halves: list[Tensor] = []
        for pivot in self.pivots:
            half = _forward(pivot.diagonal, left[pivot.expert])
            halves.append(half)
            if pivot.neighbors:
                moved = (half[:, None, :] @ pivot.beside)[:, 0]
                for neighbor, part in zip(pivot.neighbors, moved.chunk(len(pivot.neighbors), -1), strict=True):
                    left[neighbor] = left[neighbor] - part
        return self._backward(halves)

    def _backward(self, right: list[Tensor]) -> Tensor:
        found: dict[int, Tensor] = {}
        for pivot, value in zip(reversed(self.pivots), reversed(right), strict=True):
            if pivot.neighbors:
                later = torch.cat([found[neighbor] for neighbor in pivot.neighbors], dim=-1)
                value = value - (pivot.beside @ later[..., None])[..., 0]
            found[pivot.expert] = _back(pivot.diagonal, value)
        return torch.stack([found[expert] for expert in range(len(found))], dim=1)


@final
@dataclass(frozen=True)
class Assembled(Factor):
    """R of a few experts that share rows, as one triangle: many small solves would cost more than its zeros.

    Attributes:
        triangle: (B, E N, E N), experts in the order of their elimination.
        right: Qᵀr, (B, E N).
        order: the experts as they were eliminated, (E,).
    """

    triangle: Tensor
    right: Tensor
    order: Tensor

    @classmethod
    def of(cls, pivots: Sequence[Pivot]) -> Assembled:
        """One triangle from the pivots of a `Joint`."""
        batch, n = pivots[0].right.shape
        place = {pivot.expert: slice(i * n, (i + 1) * n) for i, pivot in enumerate(pivots)}
        triangle = pivots[0].right.new_zeros(batch, len(pivots) * n, len(pivots) * n)
        for pivot in pivots:
            rows = place[pivot.expert]
            triangle[:, rows, rows] = pivot.diagonal
            for neighbor, block in zip(pivot.neighbors, pivot.beside.split(n, -1), strict=False):  # the last has none
                triangle[:, rows, place[neighbor]] = block
        order = torch.tensor([pivot.expert for pivot in pivots], device=triangle.device)
        return cls(triangle, torch.cat([pivot.right for pivot in pivots], -1), order)

    def step(self) -> Tensor:
        return -self._by_expert(_back(self.triangle, self.right))

    def solve(self, right: Tensor) -> Tensor:
        return self._by_expert(_back(self.triangle, _forward(self.triangle, right[:, self.order].flatten(1))))

    def _by_expert(self, values: Tensor) -> Tensor:
        return values.unflatten(1, (len(self.order), -1))[:, self.order.argsort()]


def eliminate(pieces: Sequence[Piece], scale: Tensor, damping: Tensor) -> Factor:
    """Triangularize.

    Args:
        pieces: all rows.
        scale: length of each column, (B, E, N), not zero.
        damping: squared length of the damping row of each scaled coefficient, (B, E), greater than zero.
    """
    batch, count, n = scale.shape
    eye = torch.eye(n, n + 1, dtype=scale.dtype, device=scale.device)
    below = damping.sqrt()[..., None, None] * eye
    scaled = [Piece(piece.experts, _scaled(piece, scale)) for piece in pieces]
    if all(piece.experts.shape[1] == 1 for piece in scaled):
        return _separately(scaled, below)
    return _jointly(scaled, below)


def smallest_singular(factor: Factor, structure: Structure, like: Tensor) -> Tensor:
    """By inverse iteration, per component: an estimate from above that is seldom more than twice too large."""
    generator = torch.Generator().manual_seed(716_093)
    vector = torch.randn(like.shape[1:], generator=generator, dtype=torch.float64).to(like).expand_as(like)

    def norm(values: Tensor) -> Tensor:
        return structure.per_part(values.square().sum(-1)).sqrt()

    inverse = norm(vector)
    for _ in range(_INVERSE_ITERATIONS):
        vector = vector / norm(vector)[:, structure.component, None]
        vector = factor.solve(vector)
        inverse = norm(vector)
    return inverse.rsqrt()


def _scaled(piece: Piece, scale: Tensor) -> Tensor:
    columns = scale[:, piece.experts].flatten(-2)
    ones = torch.ones_like(columns[..., :1])
    return piece.rows / torch.cat([columns, ones], dim=-1)[:, :, None, :]


def _separately(pieces: Sequence[Piece], below: Tensor) -> Factor:
    batch, count, n, width = below.shape
    stacks: list[Tensor] = [below]
    for piece in pieces:
        owners = piece.experts[:, 0].tolist()
        if owners == list(range(count)):
            stacks.append(piece.rows)
            continue
        for groups in _rounds(owners):
            fresh = piece.rows.new_zeros(batch, count, piece.rows.shape[2], width)
            fresh[:, [owners[group] for group in groups]] = piece.rows[:, groups]
            stacks.append(fresh)
    triangle = torch.linalg.qr(torch.cat(stacks, dim=2), mode="r").R
    return Separate(triangle[..., :n, :n], triangle[..., :n, n])


def _rounds(owners: Sequence[int]) -> list[list[int]]:
    """The places of a sequence, such that no round holds an owner twice."""
    rounds: list[list[int]] = []
    seen: dict[int, int] = {}
    for place, owner in enumerate(owners):
        number = seen.get(owner, 0)
        seen[owner] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(place)
    return rounds


@final
@dataclass(frozen=True)
class _Front:
    """Rows of a sorted set of experts: (B, k, m N + 1)."""

    experts: tuple[int, ...]
    rows: Tensor


def _jointly(pieces: Sequence[Piece], below: Tensor) -> Factor:
    batch, count, n, _ = below.shape
    fronts = [
        _Front(tuple(group), piece.rows[:, place])
        for piece in pieces
        for place, group in enumerate(piece.experts.tolist())
    ]
    pivots: list[Pivot] = []
    for expert in _order(tuple(front.experts for front in fronts), count):
        touching = [front for front in fronts if expert in front.experts]
        fronts = [front for front in fronts if expert not in front.experts]
        union = {other for front in touching for other in front.experts} - {expert}
        members = (expert, *sorted(union))
        triangle = torch.linalg.qr(_gathered(touching, members, below[:, expert]), mode="r").R
        top = triangle[:, :n]
        pivots.append(Pivot(expert, members[1:], top[..., :n], top[..., n:-1], top[..., -1]))
        if union and triangle.shape[1] > n:
            fronts.append(_Front(members[1:], triangle[:, n:, n:]))
    # in one piece only what hangs together: what is not finite must not reach other experts as 0 times NaN
    joined = sum(not pivot.neighbors for pivot in pivots) == 1
    return Assembled.of(pivots) if joined and count * n <= ASSEMBLED else Joint(tuple(pivots))


def _gathered(fronts: Sequence[_Front], members: tuple[int, ...], below: Tensor) -> Tensor:
    """The rows of some fronts under each other, with columns for all members; the damping rows of the first on top."""
    batch, n, width = below.shape
    n = width - 1
    stacks = [torch.cat([below[..., :n], below.new_zeros(batch, n, (len(members) - 1) * n + 1)], dim=-1)]
    for front in fronts:
        if front.experts == members:
            stacks.append(front.rows)
            continue
        rows = below.new_zeros(batch, front.rows.shape[1], len(members) * n + 1)
        for place, expert in enumerate(front.experts):
            start = members.index(expert) * n
            rows[..., start : start + n] = front.rows[..., place * n : (place + 1) * n]
        rows[..., -1] = front.rows[..., -1]
        stacks.append(rows)
    return torch.cat(stacks, dim=1)


@lru_cache(maxsize=64)
def _order(sets: tuple[tuple[int, ...], ...], count: int) -> tuple[int, ...]:
    """The experts in order of elimination: always the one with the fewest neighbors left (minimum degree)."""
    neighbors: list[set[int]] = [set() for _ in range(count)]
    for group in sets:
        for expert in group:
            neighbors[expert] |= set(group)
    for expert in range(count):
        neighbors[expert].discard(expert)
    left, result = set(range(count)), list[int]()
    while left:
        expert = min(left, key=lambda each: (len(neighbors[each]), each))
        result.append(expert)
        left.discard(expert)
        for other in neighbors[expert]:
            neighbors[other] = (neighbors[other] | neighbors[expert]) - {other, expert}
    return tuple(result)


def _back(triangle: Tensor, right: Tensor) -> Tensor:
    return torch.linalg.solve_triangular(triangle, right[..., None], upper=True)[..., 0]


def _forward(triangle: Tensor, right: Tensor) -> Tensor:
    return torch.linalg.solve_triangular(triangle.mT, right[..., None], upper=False)[..., 0]
