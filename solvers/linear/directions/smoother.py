"""The learned smoother: a Chebyshev polynomial of a diagonally scaled matrix, symmetric positive definite always."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pinnx.solvers.linear.directions.bands import Bands, negated, overlap, shifted
from pinnx.solvers.linear.directions.perceptron import CellPerceptron


class Smoother(nn.Module):
    """S = q(DA) D with D a learned diagonal and 1 - λ q(λ) the Chebyshev polynomial of a learned interval.

    D is the inverse diagonal of A times a learned factor between 1/2 and 2 per cell, scaled such that the largest
    absolute row sum of DA, and with it the largest eigenvalue, is at most 2. The interval ends at 2 or beyond; hence
    |1 - λ q(λ)| < 1 on the whole spectrum, whatever the weights: the V-cycle is positive definite by construction.

    Args:
        degree: of the polynomial 1 - λ q(λ).
        hidden: neurons per cell.
        generator: draws the weights.
    """

    def __init__(self, degree: int, hidden: int, generator: torch.Generator):
        super().__init__()
        self.degree = degree
        self.perceptron = CellPerceptron(3, hidden, 1, generator)
        self.low = nn.Parameter(torch.tensor(math.log(0.25 / 0.75)))
        self.high = nn.Parameter(torch.tensor(-4.0))

    def scaling(self, matrix: Bands) -> Tensor:
        """D, (systems, *grid)."""
        total, largest, squares = (torch.zeros_like(matrix.diagonal) for _ in range(3))
        for offset, weight in matrix.upper.items():
            size = weight.abs()
            largest = torch.maximum(torch.maximum(largest, size), shifted(size, negated(offset)))
            total.add_(size)
            squares.addcmul_(size, size)
            for sums, values in ((total, size), (squares, size * size)):
                here, seen = overlap(sums, values, negated(offset))
                here.add_(seen)
        inverse = 1 / matrix.diagonal
        spread = (squares + 1e-20).sqrt() * inverse
        factor = self.perceptron(_factor, total * inverse, largest * inverse, spread)
        bound = (factor * (1 + total * inverse)).flatten(1).amax(1).reshape(-1, *(1,) * len(matrix.grid))
        return factor * inverse * (2 / bound).clamp_max(1.0)

    def coefficients(self) -> Tensor:
        """Those of q, constant first, (degree,)."""
        high = 2 * (1 + self.high.exp())
        low = high * self.low.sigmoid()
        angles = torch.arange(self.degree, dtype=high.dtype, device=high.device).add(0.5).mul(math.pi / self.degree)
        roots = (high + low) / 2 + (high - low) / 2 * angles.cos()
        polynomial = torch.ones(1, dtype=high.dtype, device=high.device)  # of 1 - λ q(λ), constant first
        for root in roots:
            zero = torch.zeros_like(polynomial[:1])
            polynomial = torch.cat([polynomial, zero]) - torch.cat([zero, polynomial]) / root
        return -polynomial[1:]


def _factor(outputs: tuple[Tensor, ...], features: tuple[Tensor, ...]) -> Tensor:
    return outputs[0].tanh().exp2()
