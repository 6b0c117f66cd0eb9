"""Matrices and vectors from files, written by the libraries that define the formats."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy import io, sparse

from pinnx.errors import InputError
from pinnx.solvers.linear import load_matrix, load_vector, solve

MATRIX = sparse.csr_array(np.array([[4.0, -1.0, 0.0], [-1.0, 4.0, -2.0], [0.0, -2.0, 5.0]]))
VECTOR = np.array([1.0, -2.0, 3.0])


@pytest.mark.parametrize("kind", ["mtx", "symmetric.mtx", "npz", "h5", "group.hdf5", "columns.mat", "dense.h5"])
def test_matrix_of_every_format(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    if kind.endswith("mtx"):
        io.mmwrite(path, MATRIX, symmetry="symmetric" if "symmetric" in kind else "general")
    elif kind == "npz":
        sparse.save_npz(path, MATRIX)
    else:
        with h5py.File(path, "w") as file:
            node = file.create_group("A") if "group" in kind else file
            if kind == "dense.h5":
                file["A"] = MATRIX.toarray()
            elif kind == "columns.mat":
                columns = sparse.csc_array(MATRIX)
                file["A/data"], file["A/ir"], file["A/jc"] = columns.data, columns.indices, columns.indptr
            else:
                node["data"], node["indices"], node["indptr"] = MATRIX.data, MATRIX.indices, MATRIX.indptr
                node.attrs["shape"] = MATRIX.shape
    A = load_matrix(path)
    assert np.array_equal(A.matrix.toarray(), MATRIX.toarray())
    x = solve(A, VECTOR, rtol=1e-12).x
    assert np.allclose(MATRIX @ x.numpy(), VECTOR)


@pytest.mark.parametrize("kind", ["mtx", "npy", "txt", "h5"])
def test_vector_of_every_format(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"b.{kind}"
    if kind == "mtx":
        io.mmwrite(path, VECTOR[:, None])
    elif kind == "npy":
        np.save(path, VECTOR)
    elif kind == "txt":
        np.savetxt(path, VECTOR)
    else:
        with h5py.File(path, "w") as file:
            file["b"] = VECTOR
    assert torch.equal(load_vector(path), torch.from_numpy(VECTOR))


def test_several_vectors_are_rows(tmp_path: Path) -> None:
    io.mmwrite(tmp_path / "b.mtx", np.arange(6.0).reshape(3, 2))
    assert load_vector(tmp_path / "b.mtx").tolist() == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]


def _two(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["b"], file["c"] = VECTOR, VECTOR
    return path


def _text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda folder: load_matrix(folder / "missing.mtx"), "no such file"),
        (lambda folder: load_matrix(_text(folder / "a.csv", "1,2")), r"\.mtx"),
        (lambda folder: load_matrix(_text(folder / "a.mtx", "nonsense")), "cannot be read"),
        (lambda folder: load_matrix(_text(folder / "a.h5", "nonsense")), "cannot be read"),
        (lambda folder: load_vector(_text(folder / "b.txt", "1\ntwo")), "cannot be read"),
        (lambda folder: load_vector(_text(folder / "b.txt", "1\nnan")), "finite"),
        (lambda folder: load_vector(_two(folder / "b.h5")), "say which one with key"),
        (lambda folder: load_vector(_two(folder / "b.h5"), key="d"), "no 'd'"),
        (lambda folder: load_matrix(_two(folder / "b.h5"), key="b"), "square"),
    ],
)
def test_bad_files_are_named(read: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path)  # type: ignore[operator]
    assert caught.value.file is not None


def test_key_picks_one(tmp_path: Path) -> None:
    assert load_vector(_two(tmp_path / "b.h5"), key="c").tolist() == VECTOR.tolist()
