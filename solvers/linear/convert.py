"""Whatever a user hands in as a matrix, as a `LinearOperator`; and back to SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse import linalg
from torch import Tensor

from pinnx.errors import InputError, UnsupportedError
from pinnx.solvers.linear.base import Direction, LinearOperator
from pinnx.solvers.linear.sparse import FunctionOperator, SparseOperator


def as_operator(A: Any) -> LinearOperator:
    """An operator from a `LinearOperator`, a scipy sparse matrix or LinearOperator, or a numpy or torch matrix.

    Raises:
        InputError: it is none of these, or not square.
    """
    if isinstance(A, LinearOperator):
        return A
    if isinstance(A, linalg.LinearOperator):
        return _from_scipy(A)
    if sparse.issparse(A):
        return SparseOperator(A)
    if isinstance(A, Tensor):
        return _from_torch(A)
    if isinstance(A, np.ndarray) and A.ndim == 2:
        return SparseOperator(sparse.csr_array(A))
    raise InputError(
        f"the matrix must be a LinearOperator, a scipy sparse matrix, or a numpy or torch matrix, got "
        f"{type(A).__name__}; FunctionOperator(matvec, n) takes a function"
    )


def scipy_matrices(operator: LinearOperator, purpose: str) -> list[sparse.csr_matrix]:
    """The matrix of each system, float64, in the form that compiled libraries take.

    Args:
        operator: the operator.
        purpose: who needs it, for the message.

    Raises:
        UnsupportedError: the operator has no matrix.
    """
    to_scipy = getattr(operator, "to_scipy", None)
    if to_scipy is None:
        raise UnsupportedError(f"{purpose} needs the entries of the matrix, and {type(operator).__name__} has none")
    found = []
    for system in range(operator.systems):
        matrix = sparse.csr_matrix(to_scipy(system).astype(np.float64))
        matrix.sort_indices()
        matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
        found.append(matrix)
    return found


def as_scipy(direction: Direction, operator: LinearOperator) -> linalg.LinearOperator:
    """A direction as the preconditioner M of scipy's solvers, such as `scipy.sparse.linalg.cg(A, b, M=…)`.

    Those assume a fixed linear map, `cg` and `minres` a symmetric positive definite one: with any other they can
    stall or return wrong results without a word, so it is refused.

    Args:
        direction: the direction; its set-up is done here.
        operator: the operator it will precondition, of one system.

    Raises:
        UnsupportedError: the direction is not linear or not symmetric, or there are several systems.
    """
    name = type(direction).__name__
    if not direction.linear:
        raise UnsupportedError(
            f"{name} is not a linear map, and plain preconditioned conjugate gradients can stall with such: use "
            "pinnx's solve, which is safe for any direction"
        )
    if not direction.symmetric:
        raise UnsupportedError(
            f"{name} is not known to be symmetric and positive definite, as scipy's cg needs: use pinnx's solve"
        )
    if operator.systems > 1:
        raise UnsupportedError(f"scipy solves one system at a time, and this operator holds {operator.systems}")
    prepared = direction.prepare(operator)
    floating = np.float32 if operator.dtype == torch.float32 else np.float64

    def matvec(r: np.ndarray) -> np.ndarray:
        vector = torch.from_numpy(np.ascontiguousarray(r.reshape(1, -1), dtype=floating))
        with torch.no_grad():
            return prepared(vector.to(operator.device))[0].to(operator.dtype).cpu().numpy()

    # rmatvec = matvec: the map is symmetric
    return linalg.LinearOperator(shape=operator.shape, matvec=matvec, rmatvec=matvec, dtype=floating)  # type: ignore[call-arg]


def _from_scipy(A: linalg.LinearOperator) -> LinearOperator:
    if A.shape[0] != A.shape[1]:
        raise InputError(f"the operator must be square, got {A.shape}")

    def matvec(x: Tensor) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(A.matmat(x.numpy().T).T))

    return FunctionOperator(matvec, A.shape[0])


def _from_torch(A: Tensor) -> LinearOperator:
    if A.ndim != 2 or A.shape[0] != A.shape[1]:
        raise InputError(f"the matrix must be square, got {tuple(A.shape)}")
    kept = {"dtype": A.dtype if A.dtype == torch.float32 else torch.float64, "device": A.device}
    A = A.detach().cpu()
    coo = (
        A if A.layout == torch.sparse_coo else A.to_sparse_coo() if A.layout != torch.strided else A.to_sparse()
    ).coalesce()
    rows, columns = coo.indices().numpy()
    return SparseOperator(sparse.coo_array((coo.values().numpy(), (rows, columns)), shape=tuple(A.shape)), **kept)
