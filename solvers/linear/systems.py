"""Where linear systems come from: an equation on a grid, files, or a distribution of random ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, final

import torch
from torch import Tensor

from pinnx.errors import InputError, ShapeError, UnsupportedError
from pinnx.expr import Points
from pinnx.options import check_limits, option
from pinnx.problem import Equation
from pinnx.solvers.linear.base import LinearOperator
from pinnx.solvers.linear.equation import equation_system
from pinnx.solvers.linear.files import load_matrix, load_vector
from pinnx.solvers.linear.grid_matrix import as_grid_operator

Grid = tuple[int, ...]


@final
@dataclass(frozen=True, eq=False)
class System:
    """Operators and right-hand sides.

    Attributes:
        operator: A, of one system or of k.
        b: (k, n).
        points: where the unknowns are, n points, if they are values of a function.
    """

    operator: LinearOperator
    b: Tensor
    points: Points | None = None


class SystemSource(ABC):
    """The options of a source of linear systems. Leaves are frozen dataclasses.

    Attributes:
        kind: its name in a case file.
        needs_equation: whether the system is that of the case's equation.
    """

    kind: ClassVar[str]
    needs_equation: ClassVar[bool] = False

    @abstractmethod
    def own(self, equation: Equation | None) -> System | None:
        """The system that is to be solved; None where the source is a distribution.

        Raises:
            InputError: there is none, for a reason that the message tells.
        """

    @abstractmethod
    def held_out(
        self, columns: int, generator: torch.Generator, *, equation: Equation | None = None, grid: Grid | None = None
    ) -> System:
        """Systems to judge solvers on.

        Args:
            columns: number of right-hand sides; of systems, where each is different.
            generator: draws what is drawn.
            equation: of the case.
            grid: another grid than the source's own.

        Raises:
            InputError: the source has no such grid.
        """

    @property
    @abstractmethod
    def cells(self) -> Grid | None:
        """The grid, or None where there is none."""


def _grid_limit(grid: Grid) -> str | None:
    good = 1 <= len(grid) <= 3 and min(grid) >= 2
    return None if good else "must hold one to three numbers of cells of at least 2"


@final
@dataclass(frozen=True)
class EquationSystem(SystemSource):
    """The case's equation on a grid: central differences of second order, Dirichlet values on the sides of its box.

    The equation must be linear, on a box of one to three dimensions, without time. Comparisons take standard normal
    right-hand sides: the equation's own is often so smooth that any method is quick.
    """

    kind: ClassVar[str] = "equation"
    needs_equation: ClassVar[bool] = True

    grid: Grid = option((64, 64), "inner nodes along each axis", _grid_limit)

    def __post_init__(self) -> None:
        check_limits(self)

    def own(self, equation: Equation | None) -> System:
        system = equation_system(_required(equation), self.grid)
        if not system.operator.symmetric:
            raise UnsupportedError(
                "the equation gives a matrix that is not symmetric (first derivatives, or coefficients that vary), and "
                "conjugate directions need a symmetric one: use a method for such, as scipy's gmres"
            )
        return System(system.operator, system.b[None], system.points)

    def held_out(
        self, columns: int, generator: torch.Generator, *, equation: Equation | None = None, grid: Grid | None = None
    ) -> System:
        operator = equation_system(_required(equation), grid or self.grid).operator
        b = torch.randn(columns, operator.shape[0], generator=generator, dtype=torch.float64)
        return System(operator, b)

    @property
    def cells(self) -> Grid:
        return self.grid


@final
@dataclass(frozen=True)
class FileSystem(SystemSource):
    """A matrix and right-hand sides from files: Matrix Market, HDF5, or what SciPy and NumPy write.

    Where the matrix is that of a grid (5-point in two dimensions, 7-point in three), `grid` opens it to geometric
    multigrid and to learned directions; cells whose rows are those of the identity count as obstacles.
    """

    kind: ClassVar[str] = "files"

    matrix: Path = field(metadata={"doc": "the matrix: .mtx, .mtx.gz, .npz, .h5, .hdf5 or .mat", "input": True})
    right_hand_side: Path = field(
        metadata={"doc": "right-hand sides (n,) or (k, n): .mtx, .npy, .txt, .h5, .hdf5 or .mat", "input": True}
    )
    matrix_key: str | None = option(None, "name of the matrix in an HDF5 file that holds several")
    right_hand_side_key: str | None = option(None, "name of the right-hand side in an HDF5 file that holds several")
    grid: Grid | None = option(
        None, "cells along each axis, if the matrix is that of a grid, the last axis fastest", _grid_limit
    )

    def __post_init__(self) -> None:
        check_limits(self)

    def own(self, equation: Equation | None) -> System:
        del equation
        sparse = load_matrix(self.matrix, self.matrix_key)
        operator: LinearOperator = sparse
        if self.grid is not None:
            try:
                operator = as_grid_operator(sparse.matrix, self.grid)
            except InputError as error:
                raise InputError(error.message, file=self.matrix) from None
        b = load_vector(self.right_hand_side, self.right_hand_side_key)
        try:
            return System(operator, operator.check_vector(b, "the right-hand side"))
        except ShapeError as error:
            raise ShapeError(
                f"{error.message}, to fit the matrix in {self.matrix}", file=self.right_hand_side
            ) from None

    def held_out(
        self, columns: int, generator: torch.Generator, *, equation: Equation | None = None, grid: Grid | None = None
    ) -> System:
        del columns, generator, equation
        if grid not in (None, self.grid):
            raise InputError(
                f"a matrix from a file has no other grid than its own: leave comparison.grids out ({grid})"
            )
        return self.own(None)

    @property
    def cells(self) -> Grid | None:
        return self.grid


def _required(equation: Equation | None) -> Equation:
    if equation is None:
        raise InputError(
            'the system is that of an equation, and the case has none: add the table [equation] with "name"'
        )
    return equation
