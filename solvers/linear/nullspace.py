"""Null spaces that are known in advance: parts of a grid that nothing holds, as in a pure Neumann problem."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pinnx.solvers.linear.stencil import GridOperator


def grid_null_labels(operator: GridOperator) -> Tensor | None:
    """The parts of each system's cells that no wall and no reaction holds: see `LinearOperator.null_labels`."""
    import numpy as np
    from scipy.sparse.csgraph import connected_components

    anchored = operator.anchored().flatten(1).cpu() != 0
    mask = operator.mask.flatten(1).cpu()
    labels = torch.zeros(operator.systems, operator.shape[0], dtype=torch.int64)
    for system in range(operator.systems):
        if bool(anchored[system].any()) and bool(mask[system].all()) and operator.uniform:
            continue
        _, parts = connected_components(operator.to_scipy(system), directed=False)
        held = np.zeros(parts.max() + 1, dtype=bool)
        held[parts[(anchored[system] | ~mask[system]).numpy()]] = True
        names = np.where(held, 0, np.cumsum(~held))
        labels[system] = torch.from_numpy(names[parts])
    return labels.to(operator.device) if bool((labels > 0).any()) else None


def project(x: Tensor, labels: Tensor | None) -> Tensor:
    """Remove the component in the null space: each labeled part of each column gets the mean 0.

    Args:
        x: (k, n).
        labels: (1 or k, n), as given by `LinearOperator.null_labels`; None changes nothing.
    """
    if labels is None:
        return x
    labels = labels.expand(x.shape[0], -1)
    count = int(labels.max()) + 1
    sums = x.new_zeros(x.shape[0], count).scatter_add_(1, labels, x)
    sizes = x.new_zeros(x.shape[0], count).scatter_add_(1, labels, torch.ones_like(x))
    means = sums / sizes.clamp_min(1.0)
    means[:, 0] = 0.0
    return x - means.gather(1, labels)
