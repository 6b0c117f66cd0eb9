"""Learned directions: the options of a network, the network, and the direction that a Krylov loop asks."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from pinnx.errors import UnsupportedError
from pinnx.solvers.linear.base import Direction, LinearOperator
from pinnx.solvers.linear.directions import files
from pinnx.solvers.linear.stencil import GridOperator


class DirectionModule(nn.Module, ABC):
    """The trainable part of a direction: parameters, and how they meet an operator."""

    @abstractmethod
    def prepare(self, operator: GridOperator) -> Callable[[Tensor], Tensor]:
        """A map of residuals (k, n) to directions (k, n) in the parameters' dtype.

        Differentiable in the parameters while gradients are enabled; else it may work in place, on buffers that it
        owns: the result is overwritten by the next call.
        """


class DirectionSpec(ABC):
    """The options of a kind of direction network. Leaves are frozen dataclasses.

    Attributes:
        kind: its name in a case file and in a model file.
        linear: whether the direction is a linear function of the residual.
        symmetric: whether that linear function is symmetric.
        homogeneous: whether f(c r) = c f(r) for c > 0.
        dimension: axes of the grids that it takes; 0 where it takes any.
    """

    kind: ClassVar[str]
    linear: ClassVar[bool]
    symmetric: ClassVar[bool]
    homogeneous: ClassVar[bool]
    dimension: int

    @abstractmethod
    def build_module(self, generator: torch.Generator) -> DirectionModule:
        """A fresh network in float32; the same generator state gives the same one."""

    def build(self, generator: torch.Generator) -> LearnedDirection:
        """A direction with a fresh network, to be trained."""
        return LearnedDirection(self, self.build_module(generator))


@final
class PreparedNetwork:
    """A direction network that has met its operator: residuals (k, n) of any float dtype to directions of the same.

    Args:
        apply: the network on residuals of its own dtype.
        dtype: that dtype.
        homogeneous: whether the network takes residuals of any norm between the smallest and largest numbers.
    """

    def __init__(self, apply: Callable[[Tensor], Tensor], dtype: torch.dtype, homogeneous: bool):
        self._apply, self._dtype, self._homogeneous = apply, dtype, homogeneous

    @torch.no_grad()
    def __call__(self, residuals: Tensor) -> Tensor:
        narrow = residuals.to(self._dtype)
        norms = torch.linalg.vector_norm(narrow, dim=1)
        least, most = (1e-6, 1e6) if self._homogeneous else (1 - 1e-6, 1 + 1e-6)
        if bool(((norms > least) & (norms < most)).all()):
            return self._apply(narrow).to(residuals.dtype, copy=True)
        norms = torch.linalg.vector_norm(residuals, dim=1, keepdim=True)
        scales = torch.where(norms > 0, norms, torch.ones_like(norms))
        return self._apply((residuals / scales).to(self._dtype)).to(residuals.dtype) * scales

    def select(self, index: Tensor) -> PreparedNetwork:
        """The direction for some of the systems."""
        select = getattr(self._apply, "select", None)
        return self if select is None else PreparedNetwork(select(index), self._dtype, self._homogeneous)


@final
class LearnedDirection(Direction):
    """A direction network, ready to be asked.

    Args:
        spec: the options that the network was built with.
        module: the network.
        record: what is known of its training: plain values, saved with it.

    Example:
        >>> from pinnx.solvers.linear.directions import VCycle
        >>> direction = VCycle().build(torch.Generator().manual_seed(60493))
        >>> direction.linear, direction.symmetric
        (True, True)
    """

    def __init__(self, spec: DirectionSpec, module: DirectionModule, record: dict[str, Any] | None = None):
        self.spec, self.module, self.record = spec, module, dict(record or {})

    @property
    def linear(self) -> bool:
        return self.spec.linear

    @property
    def symmetric(self) -> bool:
        return self.spec.symmetric

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def check(self, operator: LinearOperator) -> GridOperator:
        """The operator, if the network can work on it.

        Raises:
            UnsupportedError: it lives on no grid, or on one of another dimension.
        """
        if not isinstance(operator, GridOperator):
            raise UnsupportedError(
                f"the learned direction {self.spec.kind!r} needs an operator on a grid (GridOperator), "
                f"got {type(operator).__name__}"
            )
        if self.spec.dimension and len(operator.grid) != self.spec.dimension:
            raise UnsupportedError(
                f"the learned direction {self.spec.kind!r} is for grids of {self.spec.dimension} axes, "
                f"got the grid {operator.grid}"
            )
        return operator

    def prepare(self, operator: LinearOperator) -> PreparedNetwork:
        """The direction for one operator: residuals (k, n) of any float dtype to directions of the same.

        The network works in its own dtype on residuals of norm one, so that float32 is enough at any size of residual.

        Raises:
            UnsupportedError: the operator lives on no grid, or on one of another dimension.
        """
        operator = self.check(operator)
        module = self.module
        if next(module.parameters()).device != operator.device:
            module = copy.deepcopy(module).to(operator.device)
        with torch.no_grad():
            apply = module.prepare(operator)
        return PreparedNetwork(apply, next(module.parameters()).dtype, self.spec.homogeneous)

    def save(self, path: str | Path) -> None:
        """Write options, parameters and record to one file; `load_direction` reads it."""
        files.save(path, self.spec, self.module.state_dict(), self.record)
