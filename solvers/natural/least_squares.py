"""The residuals of a batch as one vector whose squared norm is the loss, with its Jacobian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.errors import PinnxError
from pinnx.expr import Expr, Points, with_explicit_values, with_slots
from pinnx.solvers.derivatives.sampled import SampledEstimator
from pinnx.solvers.derivatives.taylor import Taylor
from pinnx.solvers.natural.dense import DenseJacobian, jacobian_rows
from pinnx.solvers.natural.jacobian import Jacobian
from pinnx.solvers.natural.layers import Layer, LayerwiseJacobian, Slots
from pinnx.solvers.natural.recording import Event, First, Recording, record
from pinnx.solvers.system import ResidualSystem
from pinnx.solvers.weights import root_weights

#: Points at a time in the dense Jacobian.
DENSE_CHUNK = 16
#: Points per term, and the error relative to the largest entry, of the test of the layer-wise Gram matrix.
TEST_POINTS, TEST_ERROR = 2, 1e-7
_TEST_SEED = 610_187


@final
@dataclass(frozen=True)
class Linearization:
    """The residuals of a batch and their Jacobian.

    Attributes:
        residuals: r (N,), each times √(weight / points), so that the loss is |r|².
        jacobian: J = ∂r/∂θ.
        terms: the terms of the loss by name.
        groups: for each residual function, in order, the set of points of the batch whose rows it has.
    """

    residuals: Tensor
    jacobian: Jacobian
    terms: dict[str, float]
    groups: tuple[int, ...] = ()

    @property
    def loss(self) -> float:
        """The loss."""
        return float(self.residuals.square().sum())


@final
class LeastSquares:
    """Linearizes the residuals of a system.

    With a stochastic estimator the residuals r̂ and the Jacobian come from independent samples, and the factors of
    products inside the residuals, too. The step Jᵀ(JJᵀ + λI)⁻¹ r̂ is then a product of independent factors whose mean
    vanishes where r does; from the same samples it would not.

    Args:
        system: equation, network and estimator.
        parameters: those that are trained.
        names: of the equation's residuals, as terms of the loss.

    Attributes:
        layerwise: whether Gram matrices come from the layer-wise identity; else from the rows of the Jacobian.
        note: a sentence saying which, and why.
    """

    def __init__(self, system: ResidualSystem, parameters: Sequence[Tensor], names: Sequence[str]):
        self.system, self.parameters, self.names = system, list(parameters), list(names)
        self.stochastic = system.estimator.stochastic
        reason = self._refusal()
        self.layerwise = reason is None
        self.note = (
            "Gram matrix: layer by layer, without the Jacobian"
            if reason is None
            else f"Gram matrix: from the whole Jacobian, because {reason}"
        )

    def linearize(
        self, batch: Sequence[Points], generator: torch.Generator, counts: Sequence[int] | None = None
    ) -> Linearization:
        """At the parameters as they are now.

        Args:
            batch: points of the equation, then of each soft condition.
            generator: as the estimator asks for one; an exact one draws nothing.
            counts: points of the whole batch, if these are a share of it.
        """
        counts = counts or [len(points) for points in batch]
        with torch.enable_grad():
            return self._layerwise(batch, counts) if self.layerwise else self._dense(batch, generator, counts)

    def _expressions(self) -> list[tuple[tuple[Expr, ...], list[str], float]]:
        """Per set of points: what is evaluated there, the names of the terms, and their weight."""
        conditions = self.system.problem.conditions
        stated = zip(conditions, self.system.conditions, strict=True)
        result = [
            (self.system.residuals, self.names, 1.0),
            *(((expr,), [condition.name], condition.weight) for condition, expr in stated),
        ]
        estimator = self.system.estimator
        if not isinstance(estimator, SampledEstimator):
            return result

        def slotted(expr: Expr) -> Expr:
            return with_slots(with_explicit_values(expr), random=estimator.random)[0]

        return [(tuple(map(slotted, expressions)), names, weight) for expressions, names, weight in result]

    def _layerwise(self, batch: Sequence[Points], counts: Sequence[int]) -> Linearization:
        residuals, names, slots = list[Tensor](), list[str](), list[dict[tuple[int, int], list[Slots]]]()
        positions = {id(parameter): index for index, parameter in enumerate(self.parameters)}
        for (expressions, terms, weight), points, count in zip(self._expressions(), batch, counts, strict=True):
            recording = record(self.system.network, expressions, points)
            factor = root_weights(points, weight, count)
            recording = Recording([factor * each for each in recording.residuals], recording.first, recording.events)
            residuals += [each.detach() for each in recording.residuals]
            slots += [self._by_layer(parts, positions) for parts in recording.slots()]
            names += terms
        sizes = [len(each) for each in residuals]
        return self._result(residuals, names, LayerwiseJacobian(_layers(slots, sizes), self.parameters))

    def _by_layer(
        self, parts: list[tuple[Event | First, list[Slots]]], positions: dict[int, int]
    ) -> dict[tuple[int, int], list[Slots]]:
        """The slots by (position of the weight, position of the bias); -1 stands for what is not trained."""
        result: dict[tuple[int, int], list[Slots]] = {}
        for layer, slots in parts:
            scale = 1.0
            if isinstance(layer, First):
                places, scale = self._first_places(layer, positions)
            else:
                bias = -1 if layer.bias is None else positions.get(id(layer.bias), -1)
                places = (positions.get(id(layer.weight), -1), bias)
            if places != (-1, -1):
                scaled = slots if scale == 1.0 else [_scaled(each, scale) for each in slots]
                result.setdefault(places, []).extend(scaled)
        return result

    def _first_places(self, first: First, positions: dict[int, int]) -> tuple[tuple[int, int], float]:
        """Positions of the first layer's parameters, and the factor of the weight that the network applies."""
        bias = positions.get(id(first.bias), -1)
        if id(first.weight) in positions or not first.weight.requires_grad:
            return (positions.get(id(first.weight), -1), bias), 1.0
        gradients = torch.autograd.grad(first.weight.sum(), self.parameters, retain_graph=True, allow_unused=True)
        used = [(index, gradient) for index, gradient in enumerate(gradients) if gradient is not None]
        if len(used) != 1 or used[0][1].shape != first.weight.shape:
            raise PinnxError("its first layer's weight is no multiple of one parameter")
        index, gradient = used[0]
        return (index, bias), float(gradient.flatten()[0])

    def _dense(self, batch: Sequence[Points], generator: torch.Generator, counts: Sequence[int]) -> Linearization:
        residuals, names, rows = list[Tensor](), list[str](), list[Tensor]()
        for (expressions, terms, weight), points, count in zip(self._expressions(), batch, counts, strict=True):
            factor = root_weights(points, weight, count)
            for expr, name in zip(expressions, terms, strict=True):
                values: list[Tensor] = []

                def of(chunk: slice, expr: Expr = expr, points: Points = points, kept: list[Tensor] = values) -> Tensor:
                    part = self.system.values([expr], points.rows(chunk), generator)[0]
                    kept.append(part.detach())
                    return part

                rows.append(factor[..., None] * jacobian_rows(of, len(points), self.parameters, DENSE_CHUNK))
                if self.stochastic:  # independent of the samples that the Jacobian has drawn
                    with torch.no_grad():
                        values = [self.system.values([expr], points, generator)[0]]
                residuals.append(factor * torch.cat(values))
                names.append(name)
        return self._result(residuals, names, DenseJacobian(torch.cat(rows)))

    def _result(self, residuals: list[Tensor], names: list[str], jacobian: Jacobian) -> Linearization:
        terms = {name: float(part.square().sum()) for name, part in zip(names, residuals, strict=True)}
        groups = tuple(index for index, (each, _, _) in enumerate(self._expressions()) for _ in each)
        return Linearization(torch.cat(residuals), jacobian, terms, groups)

    def _refusal(self) -> str | None:
        """Why the layer-wise identity cannot serve; found out by a comparison at a few points."""
        if self.stochastic:
            return "stochastic derivatives are differentiated row by row, from samples independent of the residuals'"
        if not isinstance(self.system.estimator, Taylor):
            return f"the derivatives {self.system.estimator.kind!r} do not push jets through the network"
        problem, some = self.system.problem, self.parameters[0]
        generator = torch.Generator(some.device).manual_seed(_TEST_SEED)
        domains = [problem.domain, *(condition.domain for condition in problem.conditions)]
        batch = [domain.sample(TEST_POINTS, generator, dtype=some.dtype) for domain in domains]
        try:
            counts = [TEST_POINTS] * len(batch)
            quick, slow = self._layerwise(batch, counts), self._dense(batch, generator, counts)
        except (PinnxError, RuntimeError, TypeError, AttributeError) as error:
            return f"the layers cannot be recorded ({error})"
        difference = (quick.jacobian.gram() - slow.jacobian.gram()).abs().max()
        if not bool(difference <= TEST_ERROR * slow.jacobian.gram().abs().max()):
            return "the network has parameters outside of its affine layers"
        return None


def _layers(slots: list[dict[tuple[int, int], list[Slots]]], sizes: list[int]) -> list[Layer]:
    """One layer per weight, whether its uses add the bias (values) or not (derivatives)."""
    layers: dict[int, tuple[int, list[list[Slots]]]] = {}
    for index, group in enumerate(slots):
        for (weight, bias), found in group.items():
            place = weight if weight >= 0 else -2 - bias  # a bias whose weight is not trained stands alone
            known, groups = layers.get(place, (-1, [[] for _ in slots]))
            groups[index].extend(found)
            layers[place] = (max(known, bias), groups)
    return [
        Layer(place if place >= 0 else None, bias if bias >= 0 else None, groups, sizes)
        for place, (bias, groups) in layers.items()
    ]


def _scaled(slots: Slots, scale: float) -> Slots:
    return Slots(scale * slots.inputs, slots.cotangents, slots.biased)
