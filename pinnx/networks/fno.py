"""The Fourier neural operator, on grids of one, two or three axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from pinnx.networks.grid import GridNetwork, GridNetworkSpec, Ports
from pinnx.networks.layers import ACTIVATIONS, linear
from pinnx.options import at_least, check_limits, one_of, option


def low_modes(spectrum: Tensor, modes: Sequence[int]) -> Tensor:
    """The wavenumbers -k … k-1 of each trailing axis, k its number of modes, and 0 … k-1 of the last: FFT order."""
    for axis, kept in enumerate(modes[:-1], start=-len(modes)):
        size = spectrum.shape[axis]
        spectrum = torch.cat([spectrum.narrow(axis, 0, kept), spectrum.narrow(axis, size - kept, kept)], axis)
    return spectrum.narrow(-1, 0, modes[-1])


def padded_modes(low: Tensor, sizes: Sequence[int]) -> Tensor:
    """The inverse of `low_modes` for a real grid of these sizes: zeros for all other wavenumbers."""
    count = len(sizes)
    low = nn.functional.pad(low, (0, sizes[-1] // 2 + 1 - low.shape[-1]))
    for axis, size in zip(range(-count, -1), sizes[:-1], strict=True):
        kept = low.shape[axis] // 2
        shape = list(low.shape)
        shape[axis] = size - 2 * kept
        low = torch.cat([low.narrow(axis, 0, kept), low.new_zeros(shape), low.narrow(axis, kept, kept)], axis)
    return low


class SpectralConvolution(nn.Module):
    """Multiplies the low Fourier modes of (B, w, *grid) by one matrix (w, w) each and drops the others.

    The spectra are averages over the nodes, so the same weights mean the same operator on every grid.
    """

    def __init__(self, width: int, modes: Sequence[int], generator: torch.Generator, dtype: torch.dtype):
        super().__init__()
        self.modes = tuple(modes)
        shape = (*(2 * kept for kept in modes[:-1]), modes[-1], width, width, 2)
        draw = torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)
        # Real and imaginary parts, since not every optimizer takes complex parameters.
        self.weight = nn.Parameter(draw / (width * math.sqrt(2)))

    def forward(self, value: Tensor) -> Tensor:
        """(B, w, *grid) to the same shape."""
        count = len(self.modes)
        axes, sizes = tuple(range(-count, 0)), value.shape[-count:]
        # At most the wavenumbers below the Nyquist frequency of this grid, whose sign the grid cannot tell.
        modes = [min(kept, (size + 1) // 2) for kept, size in zip(self.modes, sizes, strict=True)]
        spectrum = low_modes(torch.fft.rfftn(value, dim=axes, norm="forward"), modes)
        weight = self.weight
        for axis, (kept, all_kept) in enumerate(zip(modes[:-1], self.modes[:-1], strict=True)):
            if kept < all_kept:
                parts = [weight.narrow(axis, 0, kept), weight.narrow(axis, 2 * all_kept - kept, kept)]
                weight = torch.cat(parts, axis)
        weight = torch.complex(*weight.narrow(count - 1, 0, modes[-1]).unbind(-1))
        product = (spectrum.movedim((0, 1), (-2, -1)) @ weight).movedim((-2, -1), (0, 1))
        return torch.fft.irfftn(padded_modes(product, sizes), s=sizes, dim=axes, norm="forward")


class FourierOperator(GridNetwork):
    """Lift to `width` fields, add a spectral and a pointwise part in each layer, project to the outputs."""

    def __init__(self, spec: Fno, ports: Ports, generator: torch.Generator, dtype: torch.dtype):
        super().__init__()
        periodic = ports.periodic
        self.periodic, self.padding, self.activation = periodic, spec.padding, ACTIVATIONS[spec.activation]
        self.lift = linear(ports.known + len(periodic), spec.width, generator, dtype)
        modes = (spec.modes,) * len(periodic)
        self.spectral = nn.ModuleList(
            SpectralConvolution(spec.width, modes, generator, dtype) for _ in range(spec.layers)
        )
        self.pointwise = nn.ModuleList(linear(spec.width, spec.width, generator, dtype) for _ in range(spec.layers))
        self.hidden = linear(spec.width, spec.projection, generator, dtype)
        self.last = linear(spec.projection, ports.outputs, generator, dtype)

    def forward(self, known: Tensor, coordinates: Tensor) -> Tensor:
        grid = coordinates.shape[1:]
        known = torch.cat([known, coordinates.expand(known.shape[0], *coordinates.shape)], 1).to(self.last.weight.dtype)
        pad = [0 if wraps else math.ceil(self.padding * n) for wraps, n in zip(self.periodic, grid, strict=True)]
        value = nn.functional.pad(along(self.lift, known), [side for width in reversed(pad) for side in (0, width)])
        for index, (spectral, pointwise) in enumerate(zip(self.spectral, self.pointwise, strict=True)):
            value = spectral(value) + along(pointwise, value)
            value = self.activation(value) if index + 1 < len(self.spectral) else value
        for axis, size in enumerate(grid, start=2):
            value = value.narrow(axis, 0, size)
        return along(self.last, self.activation(along(self.hidden, value)))


def along(layer: nn.Module, value: Tensor) -> Tensor:
    """An affine layer along the axis of fields: (B, w, *grid) to (B, v, *grid)."""
    return layer(value.movedim(1, -1)).movedim(-1, 1)


@final
@dataclass(frozen=True)
class Fno(GridNetworkSpec):
    """A Fourier neural operator on the coordinates and what an instance brings; axes that are not periodic are padded.

    References:
        Li et al., Fourier neural operator for parametric partial differential equations, ICLR 2021 (arXiv 2010.08895).

    Example:
        >>> generator = torch.Generator().manual_seed(71933)
        >>> spec = Fno(width=8, modes=4)
        >>> network = spec.build_on_grid(1, 3, (True, False), generator=generator, dtype=torch.float64)
        >>> network(torch.ones(2, 1, 16, 9), torch.zeros(2, 16, 9)).shape
        torch.Size([2, 3, 16, 9])
    """

    kind: ClassVar[str] = "fno"
    width: int = option(24, "fields of each layer", at_least(1))
    modes: int = option(8, "Fourier modes per axis of either sign; a grid too coarse for them keeps fewer", at_least(1))
    layers: int = option(4, "number of spectral layers", at_least(1))
    projection: int = option(64, "neurons of the layer before the outputs", at_least(1))
    activation: str = option("gelu", "nonlinearity: tanh, sin, gelu or swish", one_of(*ACTIVATIONS))
    padding: float = option(0.25, "zeros appended to axes that are not periodic, as a part of them", at_least(0))

    def __post_init__(self) -> None:
        check_limits(self)

    def _built(self, ports: Ports, generator: torch.Generator, dtype: torch.dtype) -> FourierOperator:
        return FourierOperator(self, ports, generator, dtype)
