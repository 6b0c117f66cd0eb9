r"""The biharmonic operator Δ²: exactly, by a jet of its own, and from random directions.

*Exact.* With z_i, z_ij the derivatives of a layer z, g = |∇z|² and c_i = Σ_j z_ij z_j, an elementwise φ gives

    ∂_iΔφ(z) = φ′ ∂_iΔz + φ″ (z_i Δz + 2c_i) + φ‴ g z_i,
    Δ²φ(z) = φ′ Δ²z + φ″ (4 ∇z·∇Δz + (Δz)² + 2 Σ z_ij²) + φ‴ (2g Δz + 4 c·∇z) + φ⁗ g²,

so that d(d+1)/2 + 2d + 1 tensors are carried, and no fourth derivative but the sum; polarization would need d²
directions of three tensors each. In the first layer's row space d becomes at most its width.

*Random.* E D⁴f[v, v, v, v] = 3 Δ²f for normal v (E v_i v_j v_k v_l = δ_ij δ_kl + δ_ik δ_jl + δ_il δ_jk). Random signs
do not serve: they give 3 Δ²f − 2 Σ ∂_i⁴f, since ε_i⁴ = 1. Source: Hu et al., arXiv 2312.14499 (HTE).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from pinnx.solvers.derivatives.high_order import HigherJet, PolynomialJet, along
from pinnx.solvers.derivatives.jets import joined


@final
class BiharmonicJet(HigherJet):
    """A layer with what its biharmonic needs.

    Args:
        value: (n, h).
        first: ∂_i, (r, n, h); axes of size 1 where they do not vary, here and below.
        pairs: ∂_i∂_j for i <= j, (r(r+1)/2, n, h), in the order of torch.triu_indices.
        third: ∂_iΔ, (r, n, h).
        fourth: Δ², (n, h).
    """

    order = 4

    def __init__(self, value: Tensor, first: Tensor, pairs: Tensor, third: Tensor, fourth: Tensor):
        self.value, self.first, self.pairs, self.third, self.fourth = value, first, pairs, third, fourth
        self.left, self.right = torch.triu_indices(len(first), len(first), device=value.device)
        self.diagonal = self.left == self.right

    @classmethod
    def start(cls, hidden: Tensor, directions: Tensor) -> BiharmonicJet:
        """The jet behind the first affine layer, with derivatives along directions (r, h) of the hidden layer."""
        r, h = directions.shape
        zeros = [hidden.new_zeros(*shape, 1, h) for shape in ((r * (r + 1) // 2,), (r,), ())]
        return cls(hidden, directions[:, None], *zeros)

    @property
    def laplacian(self) -> Tensor:
        """Δ, (n, h)."""
        return self.pairs[self.diagonal].sum(0)

    def map(self, linear: Callable[[Tensor], Tensor]) -> BiharmonicJet:
        parts = (self.value, self.first, self.pairs, self.third, self.fourth)
        return BiharmonicJet(*(linear(part) for part in parts))

    def shift(self, constant: Any) -> BiharmonicJet:
        return BiharmonicJet(self.value + constant, self.first, self.pairs, self.third, self.fourth)

    def plus(self, other: Any) -> BiharmonicJet:
        return BiharmonicJet(
            self.value + other.value,
            self.first + other.first,
            self.pairs + other.pairs,
            self.third + other.third,
            self.fourth + other.fourth,
        )

    def times(self, other: Any) -> BiharmonicJet:
        a, b = self, other
        i, j = self.left, self.right
        mixed = a.first[i] * b.first[j] + a.first[j] * b.first[i]
        third = a.third * b.value + b.third * a.value + a.first * b.laplacian + b.first * a.laplacian
        flows = (a.first * b.third + b.first * a.third).sum(0)
        fourth = a.fourth * b.value + b.fourth * a.value
        return BiharmonicJet(
            a.value * b.value,
            a.first * b.value + b.first * a.value,
            a.pairs * b.value + b.pairs * a.value + mixed,
            third + 2 * (a.contract(b.first) + b.contract(a.first)),
            fourth + 4 * flows + 2 * a.laplacian * b.laplacian + 4 * self._whole(a.pairs * b.pairs),
        )

    def join(self, others: Sequence[Any]) -> BiharmonicJet:
        jets = [self, *others]
        parts = [(jet.value, jet.first, jet.pairs, jet.third, jet.fourth) for jet in jets]
        return BiharmonicJet(*(joined(each) for each in zip(*parts, strict=True)))

    def compose(self, derivatives: Sequence[Tensor]) -> BiharmonicJet:
        value, slope, second, third, fourth = derivatives
        laplacian, square = self.laplacian, self.first.square().sum(0)
        flow = self.contract(self.first)
        twice = 4 * (self.first * self.third).sum(0) + laplacian.square() + 2 * self._whole(self.pairs.square())
        thrice = 2 * square * laplacian + 4 * (flow * self.first).sum(0)
        return BiharmonicJet(
            value,
            slope * self.first,
            slope * self.pairs + second * (self.first[self.left] * self.first[self.right]),
            slope * self.third + second * (self.first * laplacian + 2 * flow) + third * square * self.first,
            slope * self.fourth + second * twice + third * thrice + fourth * square.square(),
        )

    def contract(self, vector: Tensor) -> Tensor:
        """Σ_j ∂_i∂_j v_j, (r, n, h)."""
        upper = self.pairs * vector[self.right]
        lower = (self.pairs * vector[self.left])[~self.diagonal]
        result = upper.new_zeros(len(self.first), *upper.shape[1:])
        return result.index_add(0, self.left, upper).index_add(0, self.right[~self.diagonal], lower)

    def _whole(self, pairs: Tensor) -> Tensor:
        """The sum over all i and j of what is symmetric in them."""
        return 2 * pairs.sum(0) - pairs[self.diagonal].sum(0)


def sampled_biharmonic(jet: PolynomialJet, output: int, sizes: Sequence[int]) -> Tensor:
    """One estimate of Δ² per group of samples, (g, n).

    Unbiased if the directions of the jet are v = S q with q ~ N(0, I): E D⁴f[v, v, v, v] = 3 Δ²f.

    Args:
        jet: the network's output as a `directional_jet` of order 4, whose directions are normal.
        output: which of the network's outputs.
        sizes: number of directions of each group.
    """
    thirds = jet.derivative(along(4))[..., output] / 3
    return torch.stack([part.mean(0) for part in thirds.split(list(sizes))])


def sampled_refusal(kind: str, law: str | None) -> str | None:
    """Why an estimator that draws directions cannot deliver Δ², as a clause after "because"; None if it can.

    Args:
        kind: of the estimator.
        law: of the entries of its directions, or None where it draws coordinates.
    """
    if law == "gaussian":
        return None
    if law is None:
        return (
            f"{kind} draws single coordinates, and the biharmonic has a term for every pair of them; use exact "
            'derivatives, or hutchinson with law = "gaussian"'
        )
    return (
        f"the fourth moments of {law} directions do not give the biharmonic: it needs normal ones, "
        'derivatives.law = "gaussian"'
    )
