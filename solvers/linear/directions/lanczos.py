"""Ritz vectors of an operator by the Lanczos process, streamed to one HDF5 file that can be gone on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from pinnx.errors import InputError
from pinnx.solvers.linear.base import LinearOperator

#: Vectors that are read from the file at once.
ROWS = 128

Progress = Callable[[str, int, int], None]


def write_ritz_file(
    operator: LinearOperator, path: Path, *, vectors: int, seed: int, progress: Progress | None = None
) -> None:
    """Lanczos vectors with full reorthogonalisation, then the Ritz pairs, as float32 and float64 respectively.

    Kaneda et al., ICML 2023, section 5: Ritz vectors stand in for eigenvectors, at a small part of their cost. The
    Lanczos vectors are made orthogonal twice against all before (Parlett, The Symmetric Eigenvalue Problem, section
    6.9), block by block from the file, so that memory holds one block only. A file that is there is gone on with,
    from the last vector written; a complete one is left as it is. An invariant subspace ends the process early.

    Args:
        operator: symmetric; one system.
        path: of the HDF5 file; its folder must exist. Datasets: `lanczos` (vectors, n), `alpha`, `beta`; at the end
            `ritz_values`, ascending, and `ritz_vectors` (vectors, n), rows of norm one.
        vectors: how many.
        seed: of the start vector, white noise.
        progress: called with the phase, the vectors done and their number.

    Raises:
        InputError: the operator holds several systems, fewer unknowns than vectors, or the file is of other settings.
    """
    if operator.systems != 1:
        raise InputError(f"Ritz vectors belong to one matrix, got an operator of {operator.systems} systems")
    if not 1 <= vectors <= operator.shape[0]:
        raise InputError(f"expected 1 to {operator.shape[0]} Ritz vectors (the number of unknowns), got {vectors}")
    with h5py.File(path, "a") as file:
        _claim(file, path, operator.shape[0], vectors, seed)
        if "ritz_vectors" not in file or not file.attrs["complete"]:
            _lanczos(operator, file, seed, progress)
            _ritz(file, progress)
            file.attrs["complete"] = True


def _claim(file: Any, path: Path, n: int, vectors: int, seed: int) -> None:
    wanted = {"unknowns": n, "vectors": vectors, "seed": seed}
    if "unknowns" not in file.attrs:
        file.attrs.update({**wanted, "done": 0, "complete": False})
        file.create_dataset("lanczos", (vectors, n), "f4")
        file.create_dataset("alpha", (vectors,), "f8")
        file.create_dataset("beta", (vectors,), "f8")
        return
    found = {key: int(file.attrs[key]) for key in wanted}
    if found != wanted:
        raise InputError(f"the Ritz vectors in it are of other settings: expected {wanted}, found {found}", file=path)


def _lanczos(operator: LinearOperator, file: Any, seed: int, progress: Progress | None) -> None:
    rows, alpha, beta = file["lanczos"], file["alpha"], file["beta"]
    vectors, n = rows.shape
    done = int(file.attrs["done"])
    if done == 0:
        start = np.random.default_rng(seed).standard_normal(n)
        rows[0] = start / np.linalg.norm(start)
        file.attrs["done"] = done = 1
        _advance(operator, file, 0)
    while done < vectors:
        if beta[done - 1] <= 1e-10 * abs(alpha[:done]).max():
            break
        _advance(operator, file, done)
        done = int(file.attrs["done"])
        if progress is not None and done % ROWS == 0:
            progress("Lanczos vectors", done, vectors)


def _advance(operator: LinearOperator, file: Any, number: int) -> None:
    """Finish row `number`: its alpha, and the direction of the next row with its beta."""
    rows, alpha, beta = file["lanczos"], file["alpha"], file["beta"]
    if number:  # the candidate that the row before left behind
        rows[number] = _orthogonal(_candidate(operator, rows, alpha, beta, number - 1), rows, number)
    vector = rows[number].astype("f8")
    alpha[number] = vector @ _product(operator, vector)
    beta[number] = np.linalg.norm(_candidate(operator, rows, alpha, beta, number))
    file.attrs["done"] = number + 1
    file.flush()


def _product(operator: LinearOperator, vector: np.ndarray) -> np.ndarray:
    return operator.apply(torch.from_numpy(vector).to(operator.dtype).unsqueeze(0))[0].double().numpy()


def _candidate(operator: LinearOperator, rows: Any, alpha: Any, beta: Any, i: int) -> np.ndarray:
    vector = rows[i].astype("f8")
    product = _product(operator, vector) - alpha[i] * vector
    return product - beta[i - 1] * rows[i - 1].astype("f8") if i else product


def _orthogonal(vector: np.ndarray, rows: Any, count: int) -> np.ndarray:
    for _ in range(2):
        for start in range(0, count, ROWS):
            block = rows[start : min(start + ROWS, count)]
            vector = vector - block.T @ (block @ vector.astype("f4"))
    return vector / np.linalg.norm(vector)


def _ritz(file: Any, progress: Progress | None) -> None:
    done = int(file.attrs["done"])
    alpha, beta = file["alpha"][:done], file["beta"][: done - 1]
    values, weights = np.linalg.eigh(np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1))
    n = file["lanczos"].shape[1]
    for name in ("ritz_values", "ritz_vectors"):
        file.pop(name, None)
    file["ritz_values"] = values
    target = file.create_dataset("ritz_vectors", (done, n), "f4")
    for start in range(0, done, ROWS):
        stop = min(start + ROWS, done)
        block = np.zeros((stop - start, n), "f4")
        for other in range(0, done, ROWS):
            part = slice(other, min(other + ROWS, done))
            block += weights[part, start:stop].T.astype("f4") @ file["lanczos"][part]
        target[start:stop] = block
        if progress is not None:
            progress("Ritz vectors", stop, done)


def random_combinations(path: Path, coefficients: Callable[[Tensor], Tensor]) -> Tensor:
    """Combinations of the Ritz vectors of a complete file, read once, block by block.

    Args:
        path: of the file.
        coefficients: gives (k, vectors) for the Ritz values (vectors,).

    Returns:
        (k, n) in float32.

    Raises:
        InputError: the file holds no complete set of Ritz vectors.
    """
    with h5py.File(path, "r") as opened:
        file: Any = opened
        if not file.attrs.get("complete", False):
            raise InputError("the file holds no complete set of Ritz vectors", file=path)
        weights = coefficients(torch.from_numpy(file["ritz_values"][:])).float()
        vectors = file["ritz_vectors"]
        total = torch.zeros(weights.shape[0], vectors.shape[1])
        for start in range(0, vectors.shape[0], ROWS):
            stop = min(start + ROWS, vectors.shape[0])
            total += weights[:, start:stop] @ torch.from_numpy(vectors[start:stop])
    return total
