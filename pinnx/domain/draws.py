"""Where the randomness of points comes from: independent draws, or one scrambled Sobol sequence for all coordinates.

A domain states its law once, as a map from uniform and normal columns to points; whether those columns are independent
or quasi-random is decided here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.domain.base import Domain
from pinnx.errors import InputError, UnsupportedError, did_you_mean
from pinnx.expr.points import Points

METHODS = ("uniform", "sobol")
"""The ways to sample a domain."""


class Draws(ABC):
    """A source of `n` rows of random columns; every column is handed out once."""

    n: int
    dtype: torch.dtype
    generator: torch.Generator

    @abstractmethod
    def uniform(self, columns: int) -> Tensor:
        """Columns uniform on [0, 1), shape (n, columns)."""

    @abstractmethod
    def normal(self, columns: int) -> Tensor:
        """Standard normal columns, shape (n, columns)."""

    @abstractmethod
    def points(self, domain: Domain) -> Points:
        """Points of a domain: by its own map where it has one."""


@final
@dataclass
class IndependentDraws(Draws):
    """Independent draws of the generator."""

    n: int
    generator: torch.Generator
    dtype: torch.dtype

    def uniform(self, columns: int) -> Tensor:
        return torch.rand(self.n, columns, generator=self.generator, device=self.generator.device, dtype=self.dtype)

    def normal(self, columns: int) -> Tensor:
        return torch.randn(self.n, columns, generator=self.generator, device=self.generator.device, dtype=self.dtype)

    def points(self, domain: Domain) -> Points:
        if isinstance(domain, MappedDomain):
            return domain.draw(self)
        return domain.sample(self.n, self.generator, dtype=self.dtype)


@final
class SobolDraws(Draws):
    """The columns of one scrambled Sobol sequence (Owen, 1995): they fill the space evenly, seen together.

    Args:
        n: number of rows; powers of two fill the space best.
        columns: how many columns will be asked for altogether.
        generator: draws the scrambling.
        dtype: of the draws.
    """

    def __init__(self, n: int, columns: int, generator: torch.Generator, dtype: torch.dtype):
        limit = torch.quasirandom.SobolEngine.MAXDIM
        if columns > limit:
            raise UnsupportedError(
                f"Sobol points exist for at most {limit} coordinates, and this domain needs {columns}; "
                'sample it with method "uniform"'
            )
        self.n, self.dtype, self.generator = n, dtype, generator
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        engine = torch.quasirandom.SobolEngine(columns, scramble=True, seed=seed)
        # The engine's numbers are multiples of 2^-30; half a step inwards keeps them off 0, 1/2 and 1, where the
        # normal quantile or a direction would not be finite. In float64, because float32 rounds the last ones to 1.
        self._columns = engine.draw(n, dtype=torch.float64).add_(2.0**-31)
        self._used = 0

    def uniform(self, columns: int) -> Tensor:
        return self._next(columns).to(self.generator.device, self.dtype)

    def normal(self, columns: int) -> Tensor:
        return torch.special.ndtri(self._next(columns)).to(self.generator.device, self.dtype)

    def points(self, domain: Domain) -> Points:
        if isinstance(domain, MappedDomain):
            return domain.draw(self)
        raise UnsupportedError(f'{type(domain).__name__} cannot use Sobol points; sample it with method "uniform"')

    def _next(self, columns: int) -> Tensor:
        self._used += columns
        return self._columns[:, self._used - columns : self._used]


class MappedDomain(Domain):
    """A domain whose law is a map from random columns to points: it can use independent and Sobol draws."""

    @property
    @abstractmethod
    def columns_drawn(self) -> int:
        """How many random columns `draw` asks for."""

    @abstractmethod
    def draw(self, draws: Draws) -> Points:
        """Points made of the columns that `draws` hands out."""

    def sample(
        self, n: int, generator: torch.Generator, *, dtype: torch.dtype = torch.float64, method: str = "uniform"
    ) -> Points:
        if method not in METHODS:
            raise InputError(f"no sampling method {method!r}; {did_you_mean(method, METHODS)}")
        if method == "sobol":
            return self.draw(SobolDraws(n, self.columns_drawn, generator, dtype))
        return self.draw(IndependentDraws(n, generator, dtype))


def columns_drawn(domain: Domain) -> int:
    """How many random columns a domain asks for; none where it draws by itself."""
    return domain.columns_drawn if isinstance(domain, MappedDomain) else 0


def slack(tensor: Tensor) -> float:
    """The relative rounding error that a point on the edge of a closed domain may carry."""
    return 32 * torch.finfo(tensor.dtype).eps
