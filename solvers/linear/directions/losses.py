"""What a direction is trained to make small."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pinnx.solvers.linear.directions.bands import Bands

Loss = Callable[[Bands, Tensor, Tensor | None, Tensor], Tensor]


def residual_loss(bands: Bands, residuals: Tensor, errors: Tensor | None, directions: Tensor) -> Tensor:
    """Mean of ‖b - αAf‖² / ‖b‖² with the exact line search α = f·b / f·Af (Kaneda et al., ICML 2023, equation 7).

    Args:
        bands: A.
        residuals: b (k, n).
        errors: not used.
        directions: f (k, n).

    Returns:
        A scalar, 1 for useless directions and 0 for perfect ones; it may exceed 1, since the line search makes the
        energy small and not the residual.
    """
    products = bands.apply(directions)
    step = _dot(directions, residuals) / _dot(directions, products).clamp_min(_TINY)
    left = residuals - step.unsqueeze(1) * products
    return (_dot(left, left) / _dot(residuals, residuals).clamp_min(_TINY)).mean()


def energy_loss(bands: Bands, residuals: Tensor, errors: Tensor | None, directions: Tensor) -> Tensor:
    """Mean of ‖e - αf‖²_A / ‖e‖²_A = 1 - (f·b)² / (f·Af · e·b), the energy that an exact line search leaves.

    The figure that the theory of flexible conjugate gradients speaks of (Notay, SIAM J. Sci. Comput. 22(4), 2000,
    theorem 2.2): it lies in [0, 1] for every direction with f·Af > 0.

    Args:
        bands: A, symmetric and positive definite.
        residuals: b (k, n).
        errors: e (k, n) with A e = b.
        directions: f (k, n).

    Raises:
        ValueError: errors are not given.
    """
    if errors is None:
        raise ValueError("the energy loss needs samples with errors")
    energy = _dot(directions, bands.apply(directions)) * _dot(errors, residuals)
    return (1 - _dot(directions, residuals) ** 2 / energy.clamp_min(_TINY)).mean()


LOSSES: dict[str, Loss] = {"residual": residual_loss, "energy": energy_loss}

_TINY = 1e-30


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1)


@torch.no_grad()
def advance(
    bands: Bands, residuals: Tensor, errors: Tensor | None, directions: Tensor, before: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor | None, tuple[Tensor, Tensor]]:
    """One step of flexible conjugate directions with memory 1, so that training sees residuals met in the iteration.

    Args:
        bands: A.
        residuals: b (k, n).
        errors: e (k, n), or None.
        directions: f (k, n).
        before: the conjugate direction of the step before and its product with A.

    Returns:
        Residuals and errors after the step, of residual norm one, and what to pass as `before` next time. A column
        whose direction is no descent direction stays where it is.
    """
    direction = directions
    if before is not None:
        old, old_product = before
        direction = (
            direction - (_dot(direction, old_product) / _dot(old, old_product).clamp_min(_TINY)).unsqueeze(1) * old
        )
    product = bands.apply(direction)
    energy = _dot(direction, product)
    step = torch.where(energy > 0, _dot(direction, residuals) / energy.clamp_min(_TINY), 0.0).unsqueeze(1)
    residuals = residuals - step * product
    scale = torch.linalg.vector_norm(residuals, dim=1, keepdim=True).clamp_min(_TINY)
    return residuals / scale, None if errors is None else (errors - step * direction) / scale, (direction, product)
