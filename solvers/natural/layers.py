"""The Gram matrix of a network's Jacobian, layer by layer, without the Jacobian.

A layer maps its inputs z_s — the value, and the derivatives that Taylor mode pushes along with it — to W z_s (+ b for
the value). With g_s = ∂r/∂(output s) the row of the Jacobian is ∂r/∂W = Σ_s g_s z_sᵀ, so that

    (J Jᵀ)_ij = Σ_layers Σ_{s,t} (z_{s,i} · z_{t,j}) (g_{s,i} · g_{t,j}).

Memory grows with N S (width of the layer), never with N P. Where a layer has so many inputs S that the double sum
costs more than the rows Σ_s g_s z_sᵀ themselves, these are formed, a few output neurons at a time. In the first layer
the derivatives' inputs are the same at all points: it is reduced to an orthonormal basis of them.

Where several processes hold the slots of some rows each (see `Exchange`), pairs are computed by the rows' owner, and
rows of the Jacobian are dealt out by columns: what each process adds up sums to K.

Sources: Dangel, Müller, Zeinhofer, NeurIPS 2024 (arXiv 2405.15603), section 3; Guzmán-Cordero et al., NeurIPS 2025
(arXiv 2505.12149), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from pinnx.solvers.natural.jacobian import CHUNK_ELEMENTS, Alone, Exchange, Jacobian, flatten, unflatten


@final
@dataclass(frozen=True)
class Slots:
    """Inputs of a layer that are treated alike, and the gradients of the residuals in its outputs.

    Attributes:
        inputs: (s, n, i), or (s, 1, i) where they are the same at all points.
        cotangents: (s, n, o).
        biased: whether the layer adds its bias to these outputs.
    """

    inputs: Tensor
    cotangents: Tensor
    biased: bool = False

    @property
    def shared(self) -> bool:
        """Whether the inputs are the same at all points, of more than one."""
        return self.inputs.shape[1] < self.cotangents.shape[1]

    def each(self) -> Slots:
        """The same with inputs for every point."""
        count, _, size = self.inputs.shape
        return replace(self, inputs=self.inputs.expand(count, self.cotangents.shape[1], size))


Groups = Sequence[Sequence[Slots]]
"""The slots of a layer by group of rows: a group's rows are one residual's at the points of one term."""


@final
class Layer:
    """One affine layer's part of the Jacobian.

    Args:
        weight: position of the weight (o, i) among the parameters, or None where it is not trained.
        bias: position of the bias (o,), or None.
        groups: slots per group of rows; empty for residuals that do not depend on the layer.
        sizes: rows per group.
    """

    def __init__(self, weight: int | None, bias: int | None, groups: Groups, sizes: Sequence[int]):
        self.weight, self.bias, self.groups, self.sizes = weight, bias, groups, sizes
        some = next(slots for group in groups for slots in group)
        self.like, self.inputs, self.outputs = some.cotangents, some.inputs.shape[-1], some.cotangents.shape[-1]

    def add_gram(self, gram: Tensor, exchange: Exchange) -> None:
        """Add this layer's part to K (N, N): of several processes, this one's share of it."""
        if self.bias is not None:
            rows = exchange.columns(self._bias_rows())
            gram.addmm_(rows, rows.T)
        if self.weight is None:
            return
        shared = [slots.inputs[:, 0] for group in self.groups for slots in group if slots.shared]
        vectors = _distinct(shared)
        if vectors is not None and vectors.shape[0] < self.inputs:
            self._add_reduced(gram, vectors, exchange)
        else:
            self._add(gram, self.groups, self.inputs, exchange)

    def apply(self, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """J p for a direction of the weight and the bias: (N,)."""
        result = [self.like.new_zeros(size) for size in self.sizes]
        for rows, group in zip(result, self.groups, strict=True):
            for slots in group:
                change = 0.0 if weight is None else slots.inputs @ weight.T
                if slots.biased and bias is not None:
                    change = change + bias
                rows += (slots.cotangents * change).sum((0, 2))
        return torch.cat(result)

    def add_adjoint(self, rows: Tensor, weight: Tensor | None, bias: Tensor | None) -> None:
        """Add this layer's part of Jᵀ v (N,) to the gradients of weight and bias."""
        for part, group in zip(rows.split(list(self.sizes)), self.groups, strict=True):
            for slots in group:
                weighted = slots.cotangents * part[:, None]
                if bias is not None and slots.biased:
                    bias += weighted.sum((0, 1))
                if weight is not None:
                    weighted = weighted.sum(1, keepdim=True) if slots.shared else weighted
                    weight.addmm_(weighted.flatten(0, 1).T, slots.inputs.flatten(0, 1))

    def add_rows(self, weight: Tensor | None, bias: Tensor | None) -> None:
        """Add this layer's part of J to the columns of weight (N, o·i) and bias (N, o)."""
        if bias is not None:
            bias += self._bias_rows()
        if weight is not None:
            self._fill(weight, self.groups, slice(0, self.outputs), self.inputs)

    def _bias_rows(self) -> Tensor:
        parts = []
        for size, group in zip(self.sizes, self.groups, strict=True):
            biased = [slots.cotangents.sum(0) for slots in group if slots.biased]
            parts.append(sum(biased[1:], biased[0]) if biased else self.like.new_zeros(size, self.outputs))
        return torch.cat(parts)

    def _add(self, gram: Tensor, groups: Groups, size: int, exchange: Exchange) -> None:
        """Whichever way is the cheaper, the same for all processes; `size` is the number of inputs."""
        counts = [sum(len(slots.inputs) for slots in group) for group in groups]
        slots = sum(count * rows for sizes in exchange.sizes for count, rows in zip(counts, sizes, strict=True))
        pairs = slots**2 * (size + self.outputs)
        if pairs < (slots + exchange.total**2) * size * self.outputs:
            _add_pairs(gram, groups, exchange, 1.0)
        else:
            self._add_rows(gram, groups, size, exchange)

    def _add_rows(self, gram: Tensor, groups: Groups, size: int, exchange: Exchange) -> None:
        """By the rows of the Jacobian, some output neurons at a time."""
        step = max(1, CHUNK_ELEMENTS // (exchange.total * size))
        for start in range(0, self.outputs, step):
            width = min(step, self.outputs - start)
            rows = gram.new_zeros(sum(self.sizes), width * size)
            self._fill(rows, groups, slice(start, start + width), size)
            columns = exchange.columns(rows)
            gram.addmm_(columns, columns.T)

    def _fill(self, rows: Tensor, groups: Groups, neurons: slice, size: int) -> None:
        """Add the derivatives in the weights of some output neurons, of `size` inputs each."""
        for part, group in zip(rows.split(list(self.sizes)), groups, strict=True):
            view = part.unflatten(1, (-1, size))
            for slots in group:
                left = slots.cotangents[..., neurons].permute(1, 2, 0)
                view += left @ (slots.inputs[:, 0] if slots.shared else slots.inputs.transpose(0, 1))

    def _add_reduced(self, gram: Tensor, vectors: Tensor, exchange: Exchange) -> None:
        """With z = Q q + z⊥, Q an orthonormal basis of the inputs that all points share: rows of Q's size for q, and
        (z⊥ · z⊥′) = (z · z′) − (q · q′) for the few other inputs."""
        basis = _orthonormal(vectors)
        inside = [[replace(slots, inputs=slots.inputs @ basis.T) for slots in group] for group in self.groups]
        self._add(gram, inside, len(basis), exchange)
        _add_pairs(gram, [[slots for slots in group if not slots.shared] for group in self.groups], exchange, 1.0)
        _add_pairs(gram, [[slots for slots in group if not slots.shared] for group in inside], exchange, -1.0)


def _add_pairs(gram: Tensor, groups: Groups, exchange: Exchange, sign: float) -> None:
    """K += sign Σ_{s,t} (Z_s Z_tᵀ) ⊙ (G_s G_tᵀ), all pairs of slots, in this process's rows."""
    flat = [[slots.each() for slots in group] for group in groups]
    places = [index for index, group in enumerate(flat) for _ in group]
    if not places:
        return
    everything = [slots for group in flat for slots in group]
    inputs = _all_rows([slots.inputs for slots in everything], places, exchange)
    cotangents = _all_rows([slots.cotangents for slots in everything], places, exchange)
    sizes = [size for each in exchange.sizes for size in each]
    counts = [sum(len(slots.inputs) for slots in group) for group in flat] * len(exchange.sizes)
    ends = [count * size for count, size in zip(counts, sizes, strict=True)]
    for rows, group in zip(gram[exchange.own].split(list(exchange.sizes[exchange.rank])), flat, strict=True):
        for slots in group:
            for z, g in zip(slots.inputs, slots.cotangents, strict=True):
                product = (z @ inputs.T).mul_(g @ cotangents.T).split(ends, dim=1)
                blocks = zip(rows.split(sizes, dim=1), product, counts, sizes, strict=True)
                for block, part, count, size in blocks:
                    if count:
                        block.add_(part.reshape(len(block), count, size).sum(1), alpha=sign)


def _all_rows(parts: Sequence[Tensor], groups: Sequence[int], exchange: Exchange) -> Tensor:
    """The slots of all processes one below the other: (…, k)."""
    return torch.cat([part.flatten(0, 1) for each in exchange.gather(parts, groups) for part in each])


def _distinct(vectors: Sequence[Tensor]) -> Tensor | None:
    """The rows of all tensors, equal tensors once."""
    kept: list[Tensor] = []
    for each in vectors:
        if not any(each.shape == other.shape and torch.equal(each, other) for other in kept):
            kept.append(each)
    return torch.cat(kept) if kept else None


def _orthonormal(vectors: Tensor) -> Tensor:
    """An orthonormal basis, as rows, of a space that holds the rows of `vectors`; these themselves if they are one."""
    identity = torch.eye(len(vectors), dtype=vectors.dtype, device=vectors.device)
    if bool((vectors @ vectors.T - identity).abs().max() < 64 * torch.finfo(vectors.dtype).eps):
        return vectors
    return torch.linalg.qr(vectors.T).Q.T


@final
class LayerwiseJacobian(Jacobian):
    """A Jacobian held as the inputs and output gradients of every layer.

    Args:
        layers: they cover all parameters that the residuals depend on.
        parameters: the trainable parameters, in order.
    """

    def __init__(self, layers: Sequence[Layer], parameters: Sequence[Tensor]):
        self.layers, self.parameters = layers, parameters

    def gram(self, exchange: Exchange | None = None) -> Tensor:
        exchange = exchange or Alone(self.layers[0].sizes)
        result = self.layers[0].like.new_zeros(exchange.total, exchange.total)
        for layer in self.layers:
            layer.add_gram(result, exchange)
        return result

    def apply(self, direction: Tensor) -> Tensor:
        parts = unflatten(direction, self.parameters)
        products = [layer.apply(_pick(parts, layer.weight), _pick(parts, layer.bias)) for layer in self.layers]
        return torch.stack(products).sum(0)

    def adjoint(self, rows: Tensor) -> Tensor:
        result = [torch.zeros_like(parameter) for parameter in self.parameters]
        for layer in self.layers:
            layer.add_adjoint(rows, _pick(result, layer.weight), _pick(result, layer.bias))
        return flatten(result)

    def rows(self) -> Tensor:
        sizes = [parameter.numel() for parameter in self.parameters]
        result = self.layers[0].like.new_zeros(sum(self.layers[0].sizes), sum(sizes))
        parts = result.split(sizes, dim=1)
        for layer in self.layers:
            layer.add_rows(_pick(parts, layer.weight), _pick(parts, layer.bias))
        return result


def _pick(tensors: Sequence[Tensor], index: int | None) -> Tensor | None:
    return None if index is None else tensors[index]
