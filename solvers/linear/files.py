"""Matrices and vectors from files: Matrix Market, HDF5, and what NumPy and SciPy write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from scipy import io, sparse
from torch import Tensor

from pinnx.errors import InputError
from pinnx.solvers.linear.sparse import SparseOperator

_HDF5 = (".h5", ".hdf5", ".mat")


def load_matrix(path: Path | str, key: str | None = None) -> SparseOperator:
    """A sparse matrix from a file, in float64.

    Args:
        path: Matrix Market (`.mtx`, `.mtx.gz`), SciPy (`.npz`), or HDF5 (`.h5`, `.hdf5`, MATLAB 7.3 `.mat`): a group
            with `data`, `indices`, `indptr` (compressed rows) or `data`, `ir`, `jc` (compressed columns), the shape as
            attribute or dataset `shape` or square; or a dense two-dimensional dataset.
        key: name of the group or dataset in an HDF5 file; needed where the file holds several.

    Raises:
        InputError: the file is missing, of another kind, or holds no square real matrix.
    """
    path = _existing(path)
    name = path.name.lower()
    try:
        if name.endswith((".mtx", ".mtx.gz")):
            matrix = sparse.csr_array(io.mmread(path, spmatrix=False))
        elif name.endswith(".npz"):
            matrix = sparse.csr_array(sparse.load_npz(path))
        elif name.endswith(_HDF5):
            with h5py.File(path, "r") as file:
                matrix = _hdf5_matrix(_node(file, key, path, matrix=True), path)
        else:
            raise InputError(f"a matrix is read from .mtx, .mtx.gz, .npz, .h5, .hdf5 or .mat, got {path.suffix!r}")
        return SparseOperator(matrix)
    except InputError as error:
        raise InputError(error.message, file=path) from None
    except (ValueError, OSError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"cannot be read as a matrix: {error}", file=path) from error


def load_vector(path: Path | str, key: str | None = None) -> Tensor:
    """One or several vectors from a file, (n,) or (k, n), in float64.

    Args:
        path: Matrix Market (`.mtx`, `.mtx.gz`; n × k, columns are vectors), `.npy`, text (`.txt`, one number a line),
            or HDF5 (a dataset (n,) or (k, n)).
        key: name of the dataset in an HDF5 file; needed where the file holds several.

    Raises:
        InputError: the file is missing, of another kind, or holds no finite real numbers.
    """
    path = _existing(path)
    name = path.name.lower()
    try:
        if name.endswith((".mtx", ".mtx.gz")):
            read: Any = io.mmread(path, spmatrix=False)
            array = np.asarray(read.todense() if sparse.issparse(read) else read).T
            array = array[0] if len(array) == 1 else array
        elif name.endswith(".npy"):
            array = np.load(path, allow_pickle=False)
        elif name.endswith(".txt"):
            array = np.loadtxt(path)
        elif name.endswith(_HDF5):
            with h5py.File(path, "r") as file:
                array = np.asarray(_node(file, key, path, matrix=False))
        else:
            raise InputError(
                f"a vector is read from .mtx, .mtx.gz, .npy, .txt, .h5, .hdf5 or .mat, got {path.suffix!r}"
            )
        if array.ndim not in (1, 2) or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise InputError(f"expected finite real numbers (n,) or (k, n), got {array.dtype} of shape {array.shape}")
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))
    except InputError as error:
        raise InputError(error.message, file=path) from None
    except (ValueError, OSError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"cannot be read as a vector: {error}", file=path) from error


def _existing(path: Path | str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise InputError("there is no such file", file=path)
    return path


def _node(file: h5py.File, key: str | None, path: Path, *, matrix: bool) -> Any:
    """The named object of a file, or the only one that it can be."""
    if key is not None:
        if key not in file:
            raise InputError(f"there is no {key!r}; it holds {', '.join(map(repr, file)) or 'nothing'}")
        return file[key]
    if matrix and "data" in file:
        return file
    found = [node for node in file.values() if isinstance(node, h5py.Dataset) or (matrix and "data" in node)]
    if len(found) != 1:
        raise InputError(f"it holds {', '.join(map(repr, file)) or 'nothing'}: say which one with key")
    return found[0]


def _hdf5_matrix(node: Any, path: Path) -> sparse.csr_array:
    if isinstance(node, h5py.Dataset):
        return sparse.csr_array(np.asarray(node))
    rows = "indptr" in node
    names = ("indices", "indptr") if rows else ("ir", "jc")
    if not all(name in node for name in names):
        raise InputError(f"expected data, indices and indptr (or data, ir and jc), found {', '.join(node)}")
    data, indices, pointers = (np.asarray(node[name]) for name in ("data", *names))
    n = len(pointers) - 1
    shape = node.attrs.get("shape", node.get("shape", (n, n)))
    form = sparse.csr_array if rows else sparse.csc_array
    return sparse.csr_array(form((data, indices, pointers), shape=tuple(int(size) for size in np.asarray(shape))))
