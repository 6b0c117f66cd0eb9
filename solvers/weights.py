"""Weights of single points: they travel with the points, so that a share or a part of a batch keeps its own."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pinnx.expr import Points

#: Name of the weights (n,) among a batch's further tensors; no name of a coordinate.
WEIGHT = "weight of the squared residual"


def weights_of(points: Points) -> Tensor | None:
    """The weights (n,) of points, or None where all are one."""
    return points.extra.get(WEIGHT)


def with_weights(points: Points, weights: Tensor | None) -> Points:
    """The points, their weights multiplied by others (n,); the points themselves for None."""
    if weights is None:
        return points
    old = weights_of(points)
    return replace(points, extra={**points.extra, WEIGHT: weights if old is None else old * weights})


def weighted_mean(squares: Tensor, points: Points) -> Tensor:
    """The mean of w r² over the points, and over all leading axes of `squares` (…, n)."""
    weights = weights_of(points)
    return squares.mean() if weights is None else (weights * squares).mean()


def root_weights(points: Points, factor: float, count: int) -> Tensor:
    """√(factor · w / count), (n,) or (): residuals times this have the weighted mean square as their squared norm."""
    weights = weights_of(points)
    if weights is None:
        return torch.tensor((factor / count) ** 0.5, dtype=points.tensor.dtype, device=points.tensor.device)
    return (weights * (factor / count)).sqrt()
