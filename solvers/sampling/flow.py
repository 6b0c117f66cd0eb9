"""Normalizing flows on the unit cube, and the domain's law as the image of the cube.

A domain draws its points as the image of random columns: uniform ones, and normal ones, which are quantiles of uniform
ones. A density on the cube of these columns is then one on the domain, relative to the domain's own law, whatever its
shape: a flow that is one everywhere draws from the law itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast, final

import torch
from torch import Tensor

from pinnx.domain import Domain, Draws, MappedDomain
from pinnx.errors import MissingExtraError, UnsupportedError
from pinnx.expr import Points

#: Smallest slope of a spline and of its inverse: a layer's density ratio along one coordinate is at most its inverse.
SLOPE = 1e-2


@final
class CubeDraws(Draws):
    """Hands out the columns of given points of the unit cube.

    Args:
        cube: (n, columns), inside (0, 1).
        generator: of domains that draw by themselves; there are none here.
    """

    def __init__(self, cube: Tensor, generator: torch.Generator):
        self.n, self.dtype, self.generator, self._cube, self._used = len(cube), cube.dtype, generator, cube, 0

    def uniform(self, columns: int) -> Tensor:
        self._used += columns
        return self._cube[:, self._used - columns : self._used].clone()

    def normal(self, columns: int) -> Tensor:
        return torch.special.ndtri(self.uniform(columns))

    def points(self, domain: Domain) -> Points:
        if not isinstance(domain, MappedDomain):
            raise UnsupportedError(f"{type(domain).__name__} draws by itself: it is no image of a cube")
        return domain.draw(self)


class _Transform(Protocol):
    """What is used of a transformation of zuko: from points to the base law, and back."""

    inv: Callable[[Tensor], Tensor]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]: ...


@final
class CubeFlow:
    """A density on the unit cube (0, 1)^d: coupling layers of monotone rational-quadratic splines (Durkan et al. 2019).

    It begins as the uniform density.

    Args:
        columns: d.
        layers: number of coupling layers.
        width: neurons in each of the two hidden layers of their networks.
        bins: pieces of each spline.
        generator: initial values.
        dtype: of everything.

    Raises:
        MissingExtraError: zuko is not installed.
    """

    def __init__(
        self, columns: int, *, layers: int, width: int, bins: int, generator: torch.Generator, dtype: torch.dtype
    ):
        try:
            from zuko.flows.coupling import GeneralCouplingTransform
            from zuko.lazy import LazyComposedTransform
            from zuko.transforms import MonotonicRQSTransform
        except ImportError:
            raise MissingExtraError("zuko", "flows", "drawing points from a normalizing flow") from None
        self.columns, self.dtype = columns, dtype
        univariate: Any = partial(MonotonicRQSTransform, bound=1.0, slope=SLOPE)
        common: dict[str, Any] = {"univariate": univariate, "shapes": [(bins,), (bins,), (bins - 1,)]}
        parts = []
        with torch.random.fork_rng(devices=[]):  # zuko draws from torch's global generator; it is set again below
            for mask in _masks(columns, layers, generator):
                hidden = {} if columns == 1 else {"hidden_features": (width, width), "activation": torch.nn.Tanh}
                parts.append(GeneralCouplingTransform(columns, mask=cast("torch.BoolTensor", mask), **hidden, **common))
        self.module = LazyComposedTransform(*parts).to(generator.device, dtype)
        self._initialize(generator)

    def _initialize(self, generator: torch.Generator) -> None:
        """Uniform weights from the generator, and zeros where splines are read off: equal bins are the identity."""
        for part in self.module.modules():
            linear: list[Any] = [
                each for each in part.children() if hasattr(each, "in_features") and hasattr(each, "bias")
            ]
            for layer in linear:
                bound = layer.in_features**-0.5
                torch.nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                torch.nn.init.zeros_(layer.bias)
            for layer in linear[-1:]:
                torch.nn.init.zeros_(layer.weight)
        if self.columns == 1:
            for parameter in self.module.parameters():
                torch.nn.init.zeros_(parameter)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Points (count, d) of the density, strictly inside the cube; without a graph."""
        device = generator.device
        base = torch.rand(count, self.columns, generator=generator, dtype=self.dtype, device=device)
        with torch.no_grad():
            cube = self.inverse(base)
        return inside(cube)

    def forward(self, cube: Tensor) -> tuple[Tensor, Tensor]:
        """The points of the base law (n, d), uniform there, and log density (n,) of points of the cube."""
        transform: _Transform = self.module()
        base, log_density = transform.call_and_ladj(2 * cube - 1)  # cubes of equal size: lengths cancel
        return (base + 1) / 2, log_density

    def inverse(self, base: Tensor) -> Tensor:
        """The inverse of `forward`."""
        transform: _Transform = self.module()
        return (transform.inv(2 * base - 1) + 1) / 2

    def log_density(self, cube: Tensor) -> Tensor:
        """Log p (n,)."""
        return self.forward(cube)[1]


def inside(cube: Tensor) -> Tensor:
    """Points of the cube, off its faces, where normal quantiles would be infinite."""
    edge = torch.finfo(cube.dtype).eps
    return cube.clamp(edge, 1 - edge)


def _masks(columns: int, layers: int, generator: torch.Generator) -> list[Tensor]:
    """Which coordinates stay in each layer: random halves, each followed by the other one."""
    masks, order = [], torch.arange(columns)
    for layer in range(layers):
        if layer % 2 == 0:
            order = torch.randperm(columns, generator=generator, device=generator.device).cpu()
        masks.append(order % 2 == layer % 2)
    return masks
