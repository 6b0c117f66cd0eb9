"""Fast transforms: the exact inverse where the coefficient is constant and the domain a box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from scipy import fft
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.solvers.linear.base import LinearOperator, PreparedDirection
from pinnx.solvers.linear.preconditioners.simple import Sound
from pinnx.solvers.linear.stencil import GridOperator


@final
@dataclass(frozen=True)
class SineTransform(Sound):
    """The inverse of a grid operator with constant coefficient, no obstacles, and along each axis Dirichlet walls (sine
    transform: of type I for walls a spacing away, II for half a spacing) or Neumann walls (cosine transform) on both
    ends. A constant reaction may be added. Without any Dirichlet wall it is the pseudo-inverse.
    """

    kind: ClassVar[str] = "sine-transform"

    def prepare(self, operator: LinearOperator) -> PreparedDirection:
        if not isinstance(operator, GridOperator):
            raise UnsupportedError(f"the sine transform needs a GridOperator, got {type(operator).__name__}")
        if operator.systems > 1 or not operator.uniform:
            raise UnsupportedError(
                "the sine transform solves one system with a constant coefficient and no obstacles: use Multigrid"
            )
        kinds, total = [], np.zeros(operator.grid)
        for axis, n in enumerate(operator.grid):
            weight, kind = _axis(operator, axis)
            kinds.append(kind)
            angles = np.pi * (np.arange(n) + (kind != "dct2")) / (n + 1 if kind == "dst1" else n)
            shape = [1] * len(operator.grid)
            shape[axis] = n
            total = total + (2 * weight * (1 - np.cos(angles))).reshape(shape)
        if operator.reaction is not None:
            value = float(operator.reaction.flatten()[0])
            if not bool((operator.reaction == value).all()):
                raise UnsupportedError("the sine transform needs a constant reaction: use Multigrid")
            total = total + value
        largest = np.abs(total).max()
        singular = np.abs(total) <= 1e-14 * largest
        return _Transform(kinds, np.where(singular, 0.0, 1.0 / np.where(singular, 1.0, total)))


@final
class _Transform:
    def __init__(self, kinds: list[str], inverse: np.ndarray):
        self.kinds, self.inverse = kinds, inverse

    def __call__(self, r: Tensor) -> Tensor:
        x = r.detach().cpu().double().numpy().reshape(len(r), *self.inverse.shape)
        for axis, kind in enumerate(self.kinds, start=1):
            x = (fft.dct if kind == "dct2" else fft.dst)(x, type=int(kind[-1]), axis=axis, norm="ortho")
        x = x * self.inverse
        for axis, kind in enumerate(self.kinds, start=1):
            x = (fft.idct if kind == "dct2" else fft.idst)(x, type=int(kind[-1]), axis=axis, norm="ortho")
        return torch.from_numpy(np.asarray(x).reshape(len(r), -1)).to(r)


def _axis(operator: GridOperator, axis: int) -> tuple[float, str]:
    """The weight of links along an axis and the transform that its two ends ask for."""
    n, dim = operator.grid[axis], axis + 1
    wall, link = operator.walls[axis], operator.links[axis]
    ends = [wall.narrow(dim, position, 1) for position in ((0, n - 1) if n > 1 else (0,))]
    values = {float(end.flatten()[0]) for end in ends}
    even = all(bool((end == end.flatten()[0]).all()) for end in ends)
    if not even or len(values) != 1 or not isinstance(link, float):
        raise UnsupportedError(
            f"the sine transform needs the same condition on both ends of axis {axis}, and more than one cell along "
            "it: use Multigrid"
        )
    ratio = values.pop() / link
    for expected, kind in ((0.0, "dct2"), (1.0, "dst1"), (2.0, "dst2")):
        if abs(ratio - expected) < 1e-12:
            return link, kind
    raise UnsupportedError(f"the walls of axis {axis} lie neither half nor a whole spacing from the cells")
