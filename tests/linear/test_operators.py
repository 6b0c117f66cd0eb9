"""Operators against dense matrices written down cell by cell, and the tags against what they claim."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor

from pinnx.errors import InputError, ShapeError
from pinnx.solvers.linear import (
    FunctionOperator,
    GridOperator,
    SparseOperator,
    as_operator,
    grid_operator,
    random_obstacle_problem,
    random_right_hand_sides,
    spot_check,
)


def _dense(
    grid: tuple[int, ...],
    c: np.ndarray,
    mask: np.ndarray,
    sides: np.ndarray,
    hold: bool,
    near: float,
    spacing: tuple[float, ...],
    s: np.ndarray,
) -> np.ndarray:
    """The matrix cell by cell, from the definition."""
    index = {cell: i for i, cell in enumerate(itertools.product(*map(range, grid)))}
    matrix = np.zeros((len(index), len(index)))
    for cell, i in index.items():
        if not mask[cell]:
            matrix[i, i] = 1.0
            continue
        matrix[i, i] += s[cell]
        for axis, end in itertools.product(range(len(grid)), (0, 1)):
            other = tuple(p + (2 * end - 1) * (a == axis) for a, p in enumerate(cell))
            h2 = spacing[axis] ** 2
            if other not in index:
                matrix[i, i] += near * c[cell] / h2 * sides[axis, end]
            elif not mask[other]:
                matrix[i, i] += near * c[cell] / h2 * hold
            else:
                weight = 2 / (1 / c[cell] + 1 / c[other]) / h2
                matrix[i, i] += weight
                matrix[i, index[other]] -= weight
    return matrix


@pytest.mark.parametrize("grid", [(7,), (1,), (5, 4), (1, 6), (4, 3, 5)])
@pytest.mark.parametrize("nodes", ["cells", "vertices"])
@pytest.mark.parametrize("obstacles", ["dirichlet", "neumann"])
def test_against_the_definition(grid: tuple[int, ...], nodes: str, obstacles: str) -> None:
    generator = torch.Generator().manual_seed(9176)
    c = torch.rand(2, *grid, generator=generator, dtype=torch.float64) + 0.1
    s = torch.rand(2, *grid, generator=generator, dtype=torch.float64)
    mask = torch.rand(2, *grid, generator=generator) < 0.7
    sides = torch.rand(2, len(grid), 2, generator=generator) < 0.5
    spacing = (0.5, 0.8, 1.3)[: len(grid)]
    A = grid_operator(
        grid, spacing=spacing, coefficient=c, mask=mask, sides=sides, obstacles=obstacles, reaction=s, nodes=nodes
    )
    x = torch.randn(2, A.shape[0], generator=generator, dtype=torch.float64)
    b = torch.randn(2, A.shape[0], generator=generator, dtype=torch.float64)
    for system in range(2):
        parts = (part[system].numpy() for part in (c, mask, sides))
        near = 2.0 if nodes == "cells" else 1.0
        expected = _dense(grid, *parts, obstacles == "dirichlet", near, spacing, s[system].numpy())
        assert np.allclose(A.to_scipy(system).toarray(), expected, atol=1e-13)
        assert np.allclose(A.apply(x)[system], expected @ x[system].numpy(), atol=1e-12)
        assert np.allclose(A.residual(b, x)[system], b[system].numpy() - expected @ x[system].numpy(), atol=1e-12)
        assert np.allclose(A.diagonal()[system], np.diag(expected), atol=1e-13)
        assert np.allclose(A.select(torch.tensor([system])).apply(x[system : system + 1]), expected @ x[system].numpy())


def test_second_order_on_a_closed_form() -> None:
    """-Δ sin(πx) sin(πy) = 2π² sin sin; the walls lie half a cell from the centers."""
    errors = []
    for n in (16, 32):
        axis = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        exact = (torch.pi * axis).sin()[:, None] * (torch.pi * axis).sin()
        A = grid_operator((n, n), spacing=1 / n)
        matrix = A.to_scipy().tocsc()
        x = sparse.linalg.spsolve(matrix, (2 * torch.pi**2 * exact).flatten().numpy())
        errors.append(float(np.abs(x - exact.flatten().numpy()).max()))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.05)


def test_gradients_flow_through_apply() -> None:
    A = grid_operator((5, 4), coefficient=torch.rand(5, 4, generator=torch.Generator().manual_seed(7)) + 1)
    x = torch.randn(2, 20, generator=torch.Generator().manual_seed(8), dtype=torch.float64, requires_grad=True)
    A.apply(x).square().sum().backward()
    dense = torch.from_numpy(A.to_scipy().toarray())
    assert x.grad is not None
    assert torch.allclose(x.grad, 2 * x.detach() @ dense @ dense)


def test_single_precision() -> None:
    A = grid_operator((6, 6), mask=torch.ones(6, 6, dtype=torch.bool)).to(dtype=torch.float32)
    assert A.dtype == A.apply(torch.ones(1, 36)).dtype == torch.float32


@pytest.mark.parametrize("size", [8, 9])
def test_coarse_operator_is_the_rediscretised_one(size: int) -> None:
    """On an even grid with constant coefficient; on an odd one it stays symmetric positive definite."""
    coarse = grid_operator((size, size), spacing=0.1).coarsen()
    if size % 2 == 0:
        expected = grid_operator((size // 2, size // 2), spacing=0.2)
        assert np.allclose(coarse.to_scipy().toarray(), expected.to_scipy().toarray())
    assert coarse.grid == ((size + 1) // 2,) * 2
    assert np.linalg.eigvalsh(coarse.to_scipy().toarray()).min() > 0


def test_tags_of_random_problems_are_true() -> None:
    generator = torch.Generator().manual_seed(6271)
    A = random_obstacle_problem((18, 15), 12, generator=generator)
    fractions = 1 - A.mask.double().flatten(1).mean(1)
    assert bool(((fractions > 0.2 - 1e-9) & (fractions < 0.3 + 1e-9)).all())
    assert A.systems == 12
    assert A.positive_definite
    assert A.null_labels() is None
    spot_check(A, generator)
    for system in range(12):
        matrix = A.to_scipy(system).toarray()
        assert np.allclose(matrix, matrix.T)
        assert np.linalg.eigvalsh(matrix).min() > 0
    ratios = [float((f[f > 0]).max() / f[f > 0].min()) for f in A.faces]
    assert 50 < max(ratios) <= 1e3
    b = random_right_hand_sides(A, 12, generator=generator)
    assert not bool(b[~A.mask.flatten(1)].any())


def test_random_problems_repeat() -> None:
    first, second = (
        random_obstacle_problem((10, 9, 8), 2, generator=torch.Generator().manual_seed(5)) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first.faces + first.walls, second.faces + second.walls, strict=True))


def test_free_parts_are_found() -> None:
    """Cells 3 and 4 lie between Neumann walls."""
    mask = torch.tensor([1, 1, 0, 1, 1, 0, 1], dtype=torch.bool)
    A = grid_operator((7,), mask=mask, obstacles="neumann")
    labels = A.null_labels()
    assert labels is not None
    assert labels.tolist() == [[0, 0, 0, 1, 1, 0, 0]]
    found = SparseOperator(A.to_scipy()).null_labels()
    assert found is not None
    assert torch.equal(found > 0, labels > 0)


@pytest.mark.parametrize("layout", ["scipy", "numpy", "dense", "coo", "csr", "function"])
def test_matrices_of_every_kind(layout: str) -> None:
    dense = np.diag([3.0, 4.0, 5.0]) + np.ones((3, 3))
    tensor = torch.from_numpy(dense)
    made = {
        "scipy": lambda: sparse.csc_array(dense),
        "numpy": lambda: dense,
        "dense": lambda: tensor,
        "coo": lambda: tensor.to_sparse(),
        "csr": lambda: _csr(tensor),
        "function": lambda: sparse.linalg.aslinearoperator(dense),
    }[layout]()
    A = as_operator(made)
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.allclose(A.apply(x), x @ tensor)
    assert torch.allclose(A.apply(x[:1]), x[:1] @ tensor)
    assert A.symmetric


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")
def _csr(tensor: Tensor) -> Tensor:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tensor.to_sparse_csr()


def test_sparse_gradients() -> None:
    A = SparseOperator(sparse.csr_array(np.array([[2.0, -1.0], [-1.0, 3.0]])))
    x = torch.ones(1, 2, dtype=torch.float64, requires_grad=True)
    A.apply(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 2.0]]


def test_symmetry_of_a_matrix_is_computed() -> None:
    assert not SparseOperator(sparse.csr_array(np.array([[2.0, 1.0], [0.0, 2.0]]))).symmetric
    assert not SparseOperator(sparse.csr_array(np.diag([1.0, -1.0]))).positive_definite


def test_wrong_tags_are_found() -> None:
    generator = torch.Generator().manual_seed(4127)
    skew = torch.randn(9, 9, generator=generator, dtype=torch.float64)
    with pytest.raises(InputError, match="symmetric=True"):
        spot_check(FunctionOperator(lambda x: x @ skew, 9), generator)
    with pytest.raises(InputError, match="positive_definite=True"):
        spot_check(FunctionOperator(lambda x: -x, 9), generator)
    spot_check(FunctionOperator(lambda x: x @ skew, 9, symmetric=False, positive_definite=False), generator)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: grid_operator((2, 2, 2, 2)), InputError, "one to three axes"),
        (lambda: grid_operator((4,), sides="periodic"), InputError, "'dirichlet' or 'neumann'"),
        (lambda: grid_operator((4,), obstacles="wet"), InputError, "obstacles must be one of"),
        (lambda: grid_operator((4,), nodes="edges"), InputError, "nodes must be one of"),
        (lambda: grid_operator((4,), spacing=0.0), InputError, "positive"),
        (lambda: grid_operator((4,), coefficient=-1.0), InputError, "coefficient must be positive"),
        (lambda: grid_operator((4,), coefficient=torch.ones(5)), ShapeError, "coefficient must have shape"),
        (lambda: grid_operator((4,), sides=torch.ones(1, 2, 2)), ShapeError, "booleans"),
        (lambda: as_operator("matrix"), InputError, "got str"),
        (lambda: as_operator(sparse.csr_array((2, 3))), InputError, "square"),
        (lambda: as_operator(torch.ones(2, 3)), InputError, "square"),
        (lambda: SparseOperator(sparse.csr_array(np.array([[np.nan]]))), InputError, "not finite"),
        (lambda: SparseOperator(sparse.csr_array(np.array([[1j]]))), InputError, "real"),
        (lambda: FunctionOperator(lambda x: x[:, :1], 3).apply(torch.ones(1, 3)), ShapeError, "matvec must give"),
        (
            lambda: random_obstacle_problem((8, 8), 1, generator=torch.Generator(), obstacle_fraction=(0.5, 0.2)),
            InputError,
            "obstacle_fraction",
        ),
    ],
)
def test_bad_input_is_named(call: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()  # type: ignore[operator]


def test_parts_must_fit() -> None:
    A = grid_operator((4,))
    with pytest.raises(ShapeError, match="axis 0"):
        GridOperator((A.faces[0][:, 1:],), A.walls, A.mask, A.spacing)
