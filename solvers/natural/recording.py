"""One Taylor-mode pass through a network that notes what every affine layer sees, and what the residuals feel of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pinnx.errors import UnsupportedError
from pinnx.expr import Evaluator, Expr, Gradient, Points, atoms
from pinnx.networks.base import Network
from pinnx.solvers.derivatives.jets import Jet
from pinnx.solvers.derivatives.taylor import Plan, push
from pinnx.solvers.natural.layers import Slots


@final
@dataclass(frozen=True)
class Event:
    """One use of an affine layer: `inputs` (…, n, i) went in, `outputs` (…, n, o) came out."""

    weight: Tensor
    bias: Tensor | None
    inputs: Tensor
    outputs: Tensor


@final
@dataclass(frozen=True)
class First:
    """The first affine layer of a pass.

    Attributes:
        weight: W (h, D) as the network states it.
        bias: b (h,) as the network states it.
        points: x (n, D).
        hidden: W x + b (n, h), a leaf of the graph.
        directions: derivatives along the plan's directions (k, n, h), a leaf of the graph.
        blocks: the same as functions of `source`, (k, 1 or n, h) each.
        source: W, a leaf.
        gradients: outputs Wᵀ g (n, d) of reverse reads with the g (n, h) and the columns of x that they belong to.
    """

    weight: Tensor
    bias: Tensor
    points: Tensor
    hidden: Tensor
    directions: Tensor
    blocks: list[Tensor]
    source: Tensor
    gradients: list[tuple[Tensor, Tensor, slice]]


@final
class Recorder(TorchFunctionMode):
    """Notes the calls of `torch.nn.functional.linear` with trainable weights, those on the parts of jets among them."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(issubclass(each, Jet) for each in types):
            with self:  # torch has put this mode aside, and the parts of the jet must pass through it
                return Jet.__torch_function__(func, types, args, kwargs)
        result = func(*args, **kwargs)
        if func is torch.nn.functional.linear:
            self._note(result, *args, **kwargs)
        return result

    def _note(self, outputs: Tensor, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
        if weight.requires_grad or (bias is not None and bias.requires_grad):
            self.events.append(Event(weight, bias, inputs.detach(), outputs))


@final
@dataclass(frozen=True)
class Recording:
    """The residuals of one set of points and what their pass saw.

    Attributes:
        residuals: (n,) per expression, with the graph from `first` and the outputs of `events` on.
        first: the first affine layer.
        events: the uses of all others.
    """

    residuals: list[Tensor]
    first: First
    events: list[Event]

    def slots(self) -> list[list[tuple[Event | First, list[Slots]]]]:
        """Per residual: the slots of every layer that it depends on."""
        return [self._slots(residual) for residual in self.residuals]

    def _slots(self, residual: Tensor) -> list[tuple[Event | First, list[Slots]]]:
        first = self.first
        leaves = [first.hidden, first.directions, *(output for output, _, _ in first.gradients)]
        outputs = [event.outputs for event in self.events]
        # Residuals of different points are independent, so that one pass gives every point's own gradients.
        gradients = torch.autograd.grad(residual.sum(), [*leaves, *outputs], retain_graph=True, allow_unused=True)
        result: list[tuple[Event | First, list[Slots]]] = [(first, _first_slots(first, gradients[: len(leaves)]))]
        for event, gradient in zip(self.events, gradients[len(leaves) :], strict=True):
            if gradient is not None:
                shape, size = gradient.shape, event.inputs.shape[-1]
                inputs = event.inputs.expand(*shape[:-1], size).reshape(-1, shape[-2], size)
                cotangents = gradient.reshape(-1, *shape[-2:])
                result.append((event, [Slots(inputs, cotangents, event.bias is not None)]))
        return result


def record(network: Network, expressions: Sequence[Expr], points: Points) -> Recording:
    """Evaluate expressions in the atoms of a network.

    Raises:
        UnsupportedError: Taylor mode cannot do it (see `Taylor.refusal`).
    """
    affine = network.first_affine()
    if affine is None:
        raise UnsupportedError(f"the network {type(network).__name__} declares no first affine layer")
    weight, bias = affine
    with torch.enable_grad():
        source = weight.detach().requires_grad_()
        plan = Plan(source, points)
        gradients: list[tuple[Tensor, Tensor, slice]] = []
        distinct = dict.fromkeys(replace(atom, slot=0) for atom in atoms(*expressions))
        for atom in sorted(distinct, key=lambda atom: -atom.order):
            plan.request(atom)
            if plan.needs_reverse:
                assert isinstance(atom, Gradient)
                _read_forward(plan, atom, gradients)
        if plan.beside:
            raise UnsupportedError("derivatives of order three and four travel in jets of their own")
        blocks = list(plan.blocks)
        hidden = torch.nn.functional.linear(points.tensor, weight, bias).detach().requires_grad_()
        wide = [block.detach().expand(-1, len(points), -1) for block in blocks]
        directions = torch.cat(wide) if wide else hidden.new_zeros(0, *hidden.shape)
        plan.blocks = [directions.requires_grad_()]
        with Recorder() as recorder:
            values = plan.read(push(network, plan.jet(hidden)), hidden)
        evaluator = Evaluator(points, {atom: values[replace(atom, slot=0)] for atom in atoms(*expressions)})
        residuals = [evaluator(expr).expand(len(points)) for expr in expressions]
    first = First(weight, bias, points.tensor, hidden, directions, blocks, source, gradients)
    return Recording(residuals, first, recorder.events)


def _read_forward(plan: Plan, atom: Gradient, gradients: list[tuple[Tensor, Tensor, slice]]) -> None:
    """Read a gradient Wᵀ g from the derivatives g along all neurons of the first layer instead of by reverse mode.

    Reverse mode would use the weights of all layers a second time, out of sight of the recorder.
    """
    plan.needs_reverse = False
    output, columns = getattr(atom.of, "index", 0), plan.points.coordinates.columns(atom.group)
    size = plan.weight.shape[0]
    block = plan.add(torch.eye(size, dtype=plan.weight.dtype, device=plan.weight.device)[:, None])
    weight = plan.weight.detach()[:, columns]

    def read(jet: Jet, hidden: Tensor) -> Tensor:
        slopes = jet.first[block, :, output].T
        result = slopes @ weight
        gradients.append((result, slopes.detach(), columns))
        return result

    plan.readers[atom] = read


def _first_slots(first: First, gradients: Sequence[Tensor | None]) -> list[Slots]:
    """The first layer's slots: the points, the inputs behind the directions, and W's use in Wᵀ g."""
    slots = []
    value, along, *lifted = gradients
    if value is not None:
        slots.append(Slots(first.points[None], value[None], biased=True))
    start = 0
    for block in first.blocks:
        stop = start + len(block)
        inputs = None if along is None else _inputs(block, first.source)
        if along is not None and inputs is not None:
            slots.append(Slots(inputs, along[start:stop]))
        start = stop
    for gradient, (_, slopes, columns) in zip(lifted, first.gradients, strict=True):
        if gradient is not None:  # r depends on W through c·(Wᵀ g) with c = ∂r/∂(Wᵀ g): as an input c with cotangent g
            inputs = first.points.new_zeros(first.points.shape)
            inputs[:, columns] = gradient
            slots.append(Slots(inputs[None], slopes[None]))
    return slots


def _inputs(block: Tensor, source: Tensor) -> Tensor | None:
    """The v with block = W v, (k, 1 or n, D), or None for directions that do not depend on W.

    All rows of W meet the same v: with the gradient of the sum of entries (j, j), row j of dW is the v of direction j.
    """
    if not block.requires_grad:
        return None
    flat, height = block.reshape(-1, block.shape[-1]), source.shape[0]
    parts = []
    for start in range(0, len(flat), height):
        count = min(height, len(flat) - start)
        (gradient,) = torch.autograd.grad(flat[start : start + count].diagonal().sum(), source, retain_graph=True)
        parts.append(gradient[:count])
    return torch.cat(parts).reshape(*block.shape[:-1], source.shape[1])
