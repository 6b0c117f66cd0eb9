"""The linear system of a linear equation of the package, by finite differences on a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, final

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from pinnx.domain import Box
from pinnx.errors import InputError, UnsupportedError
from pinnx.expr import (
    Atom,
    Directional,
    Expr,
    Partial,
    Points,
    SecondOrder,
    Unknown,
    Value,
    evaluate,
    linear_terms,
    require_linear,
)
from pinnx.problem import Equation, Problem
from pinnx.solvers.linear.base import LinearOperator
from pinnx.solvers.linear.sparse import SparseOperator
from pinnx.solvers.linear.stencil import grid_operator
from pinnx.solvers.system import require_single

_PURPOSE = "a linear system on a grid"


@final
@dataclass(frozen=True, eq=False)
class GridSystem:
    """A u = b for the values u of the unknown at the inner nodes of a grid.

    Attributes:
        operator: A; a `GridOperator` where the equation is -c Δu + s u with numbers c > 0 and s ≥ 0, else a
            `SparseOperator`, symmetric or not.
        b: the forcing and what the boundary values contribute, (n,).
        points: the inner nodes, n points, the last coordinate fastest.
        grid: nodes along each axis.
        spacing: their distance along each axis.
    """

    operator: LinearOperator
    b: Tensor
    points: Points
    grid: tuple[int, ...]
    spacing: tuple[float, ...]


def equation_system(
    equation: Equation, grid: Sequence[int], *, boundary: Callable[[Points], Tensor] | None = None
) -> GridSystem:
    """Central differences of second order for a linear equation on a box, with Dirichlet values on its sides.

    The equation is read from its expression tree: residual = Σ coefficient · atom + rest. Values, first derivatives and
    second-order operators in space are served; the sign is chosen so that the diagonal is positive.

    Args:
        equation: a linear equation of one unknown on a `Box` of one to three dimensions.
        grid: number of inner nodes along each axis.
        boundary: the values on the sides, points -> (n,); by default those of the equation's conditions, or of its
            trial solution.

    Raises:
        InputError: the equation is not linear, or the grid does not fit; the message names the term.
        UnsupportedError: the equation has several unknowns, another domain, or terms that are not served, such as
            derivatives in time.

    Example:
        >>> from pinnx.equations.poisson import Poisson
        >>> from pinnx.solvers.linear import equation_system, solve
        >>> system = equation_system(Poisson(dimension=2), (15, 15))
        >>> solve(system.operator, system.b).ok
        True
    """
    if len(equation.unknowns) != 1:
        raise UnsupportedError(f"{_PURPOSE} is made for one unknown, and this equation has {len(equation.unknowns)}")
    problem = equation.problem()
    require_single(problem, _PURPOSE)
    (residual,) = equation.residuals()
    require_linear(residual, _PURPOSE)
    coefficients, rest = linear_terms(residual)
    for atom in coefficients:
        _require_served(atom)
    nodes = _Nodes(_box(problem), tuple(int(size) for size in grid))
    values = boundary or _boundary_values(problem, equation)
    matrix = sparse.csr_array((len(nodes.inner), nodes.total))
    for atom, coefficient in coefficients.items():
        matrix = matrix + sparse.diags_array(_numbers(coefficient, nodes.inner)) @ _differences(atom, nodes)
    b = -_numbers(rest, nodes.inner)
    inside = nodes.inside.flatten()
    outer = nodes.rows(~inside)
    held = np.zeros(nodes.total)
    used = np.asarray(abs(matrix).sum(axis=0))[~inside] > 0  # corners are on no stencil without mixed derivatives
    held[np.flatnonzero(~inside)[used]] = values(outer.rows(torch.from_numpy(used))).detach().double().numpy()
    b = b - matrix @ held
    inner = sparse.csr_array(matrix[:, np.flatnonzero(inside)])
    sign = -1.0 if inner.diagonal().sum() < 0 else 1.0
    operator = _as_grid_operator(coefficients, nodes, sign) or SparseOperator(sign * inner)
    return GridSystem(operator, torch.from_numpy(sign * b), nodes.inner, nodes.grid, nodes.spacing)


class _Nodes:
    """The nodes of a grid on a box, its sides included: n + 2 along each axis."""

    def __init__(self, box: Box, grid: tuple[int, ...]):
        if len(grid) != box.dimension or min(grid) < 1:
            raise InputError(f"grid must have {box.dimension} sizes of at least 1, got {grid}")
        if box.dimension > 3:
            raise UnsupportedError(f"{_PURPOSE} has one to three dimensions, and the equation {box.dimension}")
        low, high = box.bounds()
        self.box, self.grid = box, grid
        axes = [
            torch.linspace(float(a), float(b), n + 2, dtype=torch.float64)
            for a, b, n in zip(low, high, grid, strict=True)
        ]
        self.spacing = tuple(float((b - a) / (n + 1)) for a, b, n in zip(low, high, grid, strict=True))
        self._all = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(grid))
        self.total = len(self._all)
        self.inside = np.zeros([n + 2 for n in grid], dtype=bool)
        self.inside[(slice(1, -1),) * len(grid)] = True
        self.inner = self.rows(self.inside.flatten())

    def rows(self, which: np.ndarray) -> Points:
        return Points(self._all[torch.from_numpy(which)], self.box.coordinates)

    def along(self, orders: Sequence[int]) -> sparse.csr_array:
        """The product of one-dimensional differences of the given orders, from all nodes to the inner ones."""
        parts = [_ONE_DIMENSIONAL[o](n, h) for o, n, h in zip(orders, self.grid, self.spacing, strict=True)]
        return sparse.csr_array(reduce(lambda a, b: sparse.kron(a, b, format="csr"), parts))


def _band(n: int, values: tuple[float, float, float]) -> sparse.csr_array:
    band = sparse.diags_array(values, offsets=np.arange(3), shape=(n, n + 2))  # pyright: ignore[reportArgumentType]
    return sparse.csr_array(band)


_ONE_DIMENSIONAL: tuple[Callable[[int, float], sparse.csr_array], ...] = (
    lambda n, h: _band(n, (0.0, 1.0, 0.0)),
    lambda n, h: _band(n, (-0.5 / h, 0.0, 0.5 / h)),
    lambda n, h: _band(n, (1 / h**2, -2 / h**2, 1 / h**2)),
)
"""By order of the derivative: (inner nodes, spacing) -> matrix (n, n + 2)."""


def _require_served(atom: Atom) -> None:
    if isinstance(atom, Partial) and any(group == "t" for group, _ in atom.columns):
        raise UnsupportedError(f"{atom} is a derivative in time: {_PURPOSE} has none; discretise time first")
    served = isinstance(atom, (Value, Directional, SecondOrder)) or (isinstance(atom, Partial) and atom.order <= 2)
    if not served:
        raise UnsupportedError(
            f"{atom} is not served by finite differences on a grid: derivatives of order two at most are"
        )


def _differences(atom: Atom, nodes: _Nodes) -> sparse.csr_array:
    """The matrix of an atom, from the values at all nodes to the inner ones."""
    dimension = len(nodes.grid)
    unit = np.eye(dimension, dtype=int)
    if isinstance(atom, Value):
        return nodes.along([0] * dimension)
    if isinstance(atom, Partial):
        return nodes.along(np.sum([unit[index] for _, index in atom.columns], axis=0).tolist())
    if isinstance(atom, Directional):
        vector = evaluate(atom.vector, nodes.inner).double().numpy()
        return _sum(sparse.diags_array(vector[:, i]) @ nodes.along(unit[i]) for i in range(dimension))
    assert isinstance(atom, SecondOrder)
    if atom.matrix is None:
        return _sum(nodes.along(2 * unit[i]) for i in range(dimension))
    full = atom.matrix.at(nodes.inner)
    full = torch.diag_embed(full) if atom.matrix.diagonal else full
    full = full.expand(len(nodes.inner), dimension, dimension).double().numpy()
    pairs = [(i, j) for i in range(dimension) for j in range(dimension) if np.any(full[:, i, j])]
    return _sum(sparse.diags_array(full[:, i, j]) @ nodes.along(unit[i] + unit[j]) for i, j in pairs)


def _sum(matrices: Iterable[Any]) -> sparse.csr_array:
    return sparse.csr_array(reduce(lambda a, b: a + b, matrices))


def _numbers(expr: Expr, points: Points) -> np.ndarray:
    return evaluate(expr, points).detach().double().numpy().copy()


def _box(problem: Problem) -> Box:
    if not isinstance(problem.domain, Box):
        raise UnsupportedError(f"{_PURPOSE} needs a Box as its domain, got {type(problem.domain).__name__}")
    return problem.domain


def _boundary_values(problem: Problem, equation: Equation) -> Callable[[Points], Tensor]:
    """The Dirichlet values that the soft conditions or the trial solution give."""
    unknown = Unknown(equation.unknowns[0])
    trial = problem.trials[0].apply(unknown, unknown)

    def values(points: Points) -> Tensor:
        found = points.tensor.new_full((len(points),), torch.nan)
        for condition in problem.conditions:
            terms, rest = linear_terms(condition.residual)
            here = condition.domain.contains(points)
            if set(terms) == {Value(unknown)} and bool(here.any()):
                g = -evaluate(rest, points) / evaluate(terms[Value(unknown)], points)
                found = torch.where(here, g, found)
        zero, one = (evaluate(trial, points, {Value(unknown): torch.full_like(found, f)}) for f in (0.0, 1.0))
        hard = (one - zero).abs() <= 1e-12  # the network has no say there
        found = torch.where(hard, zero, found)
        if bool(found.isnan().any()):
            raise UnsupportedError(
                "the equation states no Dirichlet values on some side of its box: give boundary=, a function of the "
                "points"
            )
        return found

    return values


def _as_grid_operator(coefficients: dict[Atom, Expr], nodes: _Nodes, sign: float) -> LinearOperator | None:
    """The matrix-free form of -c Δu + s u, where the equation has it."""
    numbers: dict[str, float] = {}
    for atom, coefficient in coefficients.items():
        values = sign * _numbers(coefficient, nodes.inner)
        name = "s" if isinstance(atom, Value) else "c" if isinstance(atom, SecondOrder) and atom.matrix is None else ""
        if not name or np.ptp(values) > 0:
            return None
        numbers[name] = numbers.get(name, 0.0) + float(values[0])
    c, s = -numbers.get("c", 0.0), numbers.get("s", 0.0)
    if c <= 0 or s < 0:
        return None
    return grid_operator(nodes.grid, spacing=nodes.spacing, coefficient=c, reaction=s if s else None, nodes="vertices")
