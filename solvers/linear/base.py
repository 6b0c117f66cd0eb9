"""What a linear operator is, and what a search direction is: the two contracts that the Krylov loop composes.

Vectors are tensors (k, n): k right-hand sides, n unknowns. The k columns may share one operator (`systems` = 1) or each
have their own (`systems` = k), as when a batch of grids with different obstacles is solved at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from pinnx.errors import InputError, ShapeError

PreparedDirection = Callable[[Tensor], Tensor]
"""Maps residuals (k, n) to directions (k, n). Where the operator holds several systems it may have a method
`select(index) -> PreparedDirection` for a part of them; without it all columns are evaluated and the rest dropped."""


class LinearOperator(ABC):
    """A square linear map, known by what it does to vectors.

    Attributes:
        shape: (n, n).
        dtype: of the coefficients; vectors are of the same.
        device: of the coefficients.
        symmetric: whether it equals its transpose; declared, see `spot_check`.
        positive_definite: whether x·Ax > 0 for all x ≠ 0; declared, see `spot_check`.
        systems: 1, or the number of different systems in the batch.
        verified: the tag `symmetric` holds by construction; `solve` spot-checks the others.
    """

    shape: tuple[int, int]
    dtype: torch.dtype
    device: torch.device
    symmetric: bool
    positive_definite: bool
    systems: int = 1
    verified: bool = False

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """A x for each column: (k, n) -> (k, n); k is free where `systems` is 1, else it equals `systems`."""

    @abstractmethod
    def diagonal(self) -> Tensor:
        """The diagonal, (systems, n)."""

    @abstractmethod
    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self:
        """The same operator in another dtype or on another device."""

    def residual(self, b: Tensor, x: Tensor) -> Tensor:
        """The residual b - A x, (k, n)."""
        return b - self.apply(x)

    def select(self, index: Tensor) -> LinearOperator:
        """The systems of some columns: itself where there is only one system."""
        if self.systems == 1:
            return self
        raise NotImplementedError(f"{type(self).__name__} holds several systems but cannot select some of them")

    def null_labels(self) -> Tensor | None:
        """The null space where it is known to be spanned by indicator functions, as for a pure Neumann problem.

        Returns:
            Integers (systems, n), equal on each part of the unknowns whose indicator is a null vector and 0 on all
            others; None where there is no such part or it is not known.
        """
        return None

    def check_vector(self, x: Tensor, name: str = "x") -> Tensor:
        """The vector as (k, n), from (n,) or (k, n).

        Raises:
            ShapeError: its shape does not fit.
        """
        columns = x[None] if x.ndim == 1 else x
        if columns.ndim != 2 or columns.shape[1] != self.shape[0] or self.systems not in (1, columns.shape[0]):
            count = "k" if self.systems == 1 else str(self.systems)
            raise ShapeError(f"{name} must have shape ({count}, {self.shape[0]}), got {tuple(x.shape)}")
        return columns


class Direction(ABC):
    """A way to turn residuals into search directions: a preconditioner with its options, or a trained network.

    The Krylov loop is sound for any direction; what is known of it decides how much the loop must guard against it.

    Attributes:
        symmetric: the map is symmetric and positive definite.
        linear: the map is linear (up to rounding).
    """

    @property
    @abstractmethod
    def symmetric(self) -> bool:
        """Whether the map from residuals to directions is symmetric and positive definite."""

    @property
    @abstractmethod
    def linear(self) -> bool:
        """Whether the map from residuals to directions is linear."""

    @abstractmethod
    def prepare(self, operator: LinearOperator) -> PreparedDirection:
        """Set up for one operator; the time it takes is reported apart.

        Raises:
            UnsupportedError: the direction cannot serve this operator; the message says why.
        """


def spot_check(
    operator: LinearOperator,
    generator: torch.Generator,
    *,
    probes: int = 4,
    tolerance: float = 0.0,
    tags: tuple[str, ...] = ("symmetric", "positive_definite"),
) -> None:
    """Compare an operator's tags with what it does to random vectors.

    u·Av - v·Au vanishes for every symmetric A, and x·Ax is positive for every positive definite one; a failure proves
    the tag wrong, success only makes it likely: a single negative eigenvalue among many may go unseen.

    Args:
        operator: the operator.
        generator: draws the vectors.
        probes: number of random vectors.
        tolerance: relative rounding error that counts as none; 0 stands for 1000 times that of the dtype.
        tags: which to check.

    Raises:
        InputError: a tag is wrong; the message names it.
    """
    tolerance = tolerance or 1e3 * torch.finfo(operator.dtype).eps
    n, systems = operator.shape[0], operator.systems
    vectors = torch.randn(probes, systems, n, generator=generator, dtype=torch.float64, device=generator.device)
    u = vectors.to(dtype=operator.dtype, device=operator.device)
    images = torch.stack([operator.apply(probe) for probe in u])
    products = torch.einsum("psn,qsn->spq", u, images)
    scale = torch.einsum("psn,qsn->spq", u.abs(), images.abs())
    asymmetry = ((products - products.mT).abs() / scale).max()
    if "symmetric" in tags and operator.symmetric and not bool(asymmetry <= tolerance):
        raise InputError(
            f"{type(operator).__name__} is tagged symmetric=True, but u·Av and v·Au differ by {float(asymmetry):.1e} "
            "of their size for random u and v: set symmetric=False, or correct the operator"
        )
    energy = products.diagonal(dim1=1, dim2=2) / scale.diagonal(dim1=1, dim2=2)
    if "positive_definite" in tags and operator.positive_definite and not bool((energy > -tolerance).all()):
        raise InputError(
            f"{type(operator).__name__} is tagged positive_definite=True, but x·Ax is negative for a random x: set "
            "positive_definite=False, or change the sign of the operator"
        )


def as_columns(value: Any, operator: LinearOperator, name: str) -> Tensor:
    """A right-hand side or start as (k, n) in the operator's dtype and on its device.

    Raises:
        ShapeError: the shape does not fit.
        InputError: it is no array of numbers.
    """
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} must be a tensor or an array of numbers, got {type(value).__name__}") from error
    if tensor.is_complex():
        raise InputError(f"{name} must be real, got {tensor.dtype}")
    return operator.check_vector(tensor.to(dtype=operator.dtype, device=operator.device), name)
