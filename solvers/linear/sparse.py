"""Sparse matrices, and operators given by a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from pinnx.errors import InputError, ShapeError, UnsupportedError
from pinnx.solvers.linear.base import LinearOperator

#: Asymmetry of a stored matrix that counts as rounding, relative to its largest entry.
_ROUNDING = 1e-12


@final
class SparseOperator(LinearOperator):
    """A square sparse matrix; whether it is symmetric is computed, not declared.

    Args:
        matrix: any scipy sparse matrix or array, real.
        positive_definite: whether it is; None for: yes if its diagonal is positive and its null space is not known to
            be nontrivial (see `null_labels`). A wrong yes is found while solving.
        dtype: of the operator.
        device: of the operator.

    Raises:
        InputError: the matrix is not square, not real, or not finite.
    """

    verified = True

    def __init__(
        self,
        matrix: Any,
        *,
        positive_definite: bool | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ):
        if not sparse.issparse(matrix) or matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise InputError(f"expected a square sparse matrix, got {getattr(matrix, 'shape', type(matrix).__name__)}")
        if np.iscomplexobj(matrix):
            raise InputError("expected a real matrix, got a complex one")
        self.dtype, self.device = dtype, torch.device(device)
        self.matrix = sparse.csr_array(matrix).astype(np.float32 if dtype == torch.float32 else np.float64)
        self.matrix.sum_duplicates()  # pyright: ignore[reportAttributeAccessIssue]
        if not np.isfinite(self.matrix.data).all():
            raise InputError("the matrix has entries that are not finite")
        self.shape = (matrix.shape[0], matrix.shape[0])
        self._declared = positive_definite

    @cached_property
    def symmetric(self) -> bool:  # type: ignore[override]
        """Whether the matrix equals its transpose, up to rounding."""
        largest = abs(self.matrix).max() if self.matrix.nnz else 0.0
        difference = self.matrix - self.matrix.T
        return bool(difference.nnz == 0 or abs(difference).max() <= _ROUNDING * largest)

    @cached_property
    def positive_definite(self) -> bool:  # type: ignore[override]
        """As declared, or a guess that the solve checks."""
        if self._declared is not None:
            return self._declared
        return self.symmetric and bool((self.matrix.diagonal() > 0).all()) and self.null_labels() is None

    def apply(self, x: Tensor) -> Tensor:
        if x.is_cuda or (torch.is_grad_enabled() and x.requires_grad):
            return torch.sparse.mm(self._coo, x.mT).mT.contiguous()
        array = x.detach().numpy()
        if len(array) == 1:
            return torch.from_numpy(self.matrix @ array[0])[None]
        return torch.from_numpy(np.ascontiguousarray((self.matrix @ array.T).T))

    def diagonal(self) -> Tensor:
        return torch.from_numpy(self.matrix.diagonal())[None].to(self.device)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> SparseOperator:
        return SparseOperator(
            self.matrix, positive_definite=self._declared, dtype=dtype or self.dtype, device=device or self.device
        )

    def to_scipy(self, system: int = 0) -> sparse.csr_array:
        """The matrix, for other libraries."""
        return sparse.csr_array(self.matrix)

    def null_labels(self) -> Tensor | None:
        """The connected parts all of whose rows sum to zero."""
        sums = self.matrix.sum(axis=1)
        size = abs(self.matrix).sum(axis=1)
        free = np.abs(sums) <= _ROUNDING * size
        if not free.any():
            return None
        _, parts = sparse.csgraph.connected_components(self.matrix, directed=False)
        held = np.zeros(parts.max() + 1, dtype=bool)
        held[parts[~free]] = True
        labels = np.where(held, 0, np.cumsum(~held))[parts]
        return torch.from_numpy(labels)[None].to(self.device) if labels.any() else None

    @cached_property
    def _coo(self) -> Tensor:
        coo = self.matrix.tocoo()
        indices = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
        values = torch.from_numpy(coo.data)
        with torch.sparse.check_sparse_tensor_invariants(False):  # the argument of the same name still warns in 2.11
            return torch.sparse_coo_tensor(indices, values, self.shape, device=self.device).coalesce()


@final
@dataclass(frozen=True, eq=False)
class FunctionOperator(LinearOperator):
    """An operator given by its product with vectors.

    Attributes:
        matvec: maps (k, n) to (k, n), each column for itself.
        size: n.
        symmetric: declared; `solve` compares u·Av with v·Au for random vectors.
        positive_definite: declared; negative curvature ends a solve.
        main_diagonal: (n,), if known; some preconditioners need it.
        dtype: of the vectors.
        device: of the vectors.

    Example:
        >>> import torch
        >>> A = FunctionOperator(lambda x: 3.0 * x, 4)
        >>> A.apply(torch.ones(1, 4, dtype=torch.float64))
        tensor([[3., 3., 3., 3.]], dtype=torch.float64)
    """

    matvec: Callable[[Tensor], Tensor]
    size: int
    symmetric: bool = True
    positive_definite: bool = True
    main_diagonal: Tensor | None = None
    dtype: torch.dtype = torch.float64
    device: torch.device = torch.device("cpu")

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """(n, n)."""
        return self.size, self.size

    def apply(self, x: Tensor) -> Tensor:
        y = self.matvec(x)
        if not isinstance(y, Tensor) or y.shape != x.shape:
            found = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ShapeError(f"matvec must give a tensor of shape {tuple(x.shape)}, as its argument, got {found}")
        return y.to(x.dtype)

    def diagonal(self) -> Tensor:
        if self.main_diagonal is None:
            raise UnsupportedError("the diagonal of this operator is not known: give main_diagonal=(n,) with matvec")
        return self.main_diagonal.to(dtype=self.dtype, device=self.device)[None]

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> FunctionOperator:
        return replace(self, dtype=dtype or self.dtype, device=torch.device(device or self.device))
