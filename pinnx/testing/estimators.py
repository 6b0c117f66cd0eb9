"""The conformance kit of derivative estimators: shapes, slots, randomness, and the right expectation."""

from __future__ import annotations

import unittest
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.expr import Atom, Coordinates, Gradient, Points, Unknown, atoms, directional, dt, laplacian, total, trace, x
from pinnx.expr import grad as gradient_of
from pinnx.expr import hessian as hessian_of
from pinnx.networks import Mlp
from pinnx.networks.base import Network
from pinnx.solvers.derivatives import Autodiff, DerivativeEstimator, SampledEstimator
from pinnx.testing.statistics import bonferroni_bound, standard_errors


class EstimatorConformance(ABC):
    """Tests that every estimator of derivatives must pass; subclass it in a test module and list your estimators.

    An exact estimator must agree with automatic differentiation, in values and in gradients with respect to the
    network's parameters. A stochastic one must do so in expectation; if it estimates something else by design, such as
    the derivatives of a smoothed network, say what in `truth`. Choose the fewest samples, and options under which a
    wrong formula shows: large steps, large noise.

    Attributes:
        seed: draws networks, points and samples.
        points: number of points n.
        dimensions: of space, below and above the width of the network's first layer.
        width: of the network's hidden layers.
        tolerance: of rounding errors.
        repetitions: estimates drawn in one pass, for values.
        gradient_repetitions: the same for gradients, which one pass averages into one sample.
        batches: passes.
        bound: largest |z| of a mean that passes.

    Example:
        >>> class TestMine(EstimatorConformance):
        ...     def estimators(self):
        ...         return [MyEstimator(samples=1)]
    """

    seed: ClassVar[int] = 60_317
    points: ClassVar[int] = 3
    dimensions: ClassVar[tuple[int, ...]] = (2, 5)
    width: ClassVar[int] = 3
    tolerance: ClassVar[float] = 1e-9
    repetitions: ClassVar[int] = 150
    gradient_repetitions: ClassVar[int] = 16
    batches: ClassVar[int] = 30
    bound: ClassVar[float] = 4.0

    @abstractmethod
    def estimators(self) -> Sequence[DerivativeEstimator]:
        """The estimators to test, with the options to test them under."""

    def truth(
        self, estimator: DerivativeEstimator, network: Network, points: Points, atoms: Sequence[Atom]
    ) -> Mapping[Atom, Tensor]:
        """What the estimates are, or are on average; differentiable in the network's parameters.

        By default the exact derivatives of the network.
        """
        return Autodiff().estimate(network, points, atoms, torch.Generator())

    def atoms(self, dimension: int) -> tuple[Atom, ...]:
        """The atoms to ask for, of one unknown over x and t; those that the estimator refuses alone are left out."""
        u = Unknown("u")
        fixed = torch.linspace(-1.0, 0.7, dimension, dtype=torch.float64)
        diagonal = torch.linspace(0.3, 1.6, dimension, dtype=torch.float64)
        return atoms(
            u + directional(u, fixed) + directional(u, x) + laplacian(u) + trace(diagonal, hessian_of(u)) + dt(u),
            total(gradient_of(u)),
        )

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Called by pytest: each test runs once for each estimator and dimension."""
        if "estimator" in metafunc.fixturenames:
            metafunc.parametrize("estimator", self.estimators(), ids=_short)
        if "dimension" in metafunc.fixturenames:
            metafunc.parametrize("dimension", self.dimensions)

    # -- the contract

    def test_refusals_are_clauses_and_raise(self, estimator: DerivativeEstimator, dimension: int) -> None:
        """What an estimator refuses it refuses before the first step, and it serves something."""
        network = self.make_network(dimension)
        assert self._served(estimator, network, dimension), "the estimator refuses every atom"
        for atom in self.atoms(dimension):
            reason = estimator.refusal(network, [atom])
            if reason is None:
                chosen, note = estimator.choose(network, [atom])
                assert isinstance(chosen, DerivativeEstimator)
                assert note.strip()
            else:
                assert reason.strip()
                with pytest.raises(UnsupportedError):
                    estimator.choose(network, [atom])

    def test_shapes(self, estimator: DerivativeEstimator, dimension: int) -> None:
        """(n,) for each atom and (n, d) for a gradient, asked alone or together, in the points' dtype."""
        network = self.make_network(dimension)
        served = self._served(estimator, network, dimension)
        for dtype in (torch.float64, torch.float32):
            network, points = network.to(dtype), self.make_points(dimension).to(dtype)
            for n in (1, len(points)):
                for asked in (served, *([atom] for atom in served)):
                    values = estimator.estimate(network, points.rows(slice(n)), asked, self._generator())
                    assert set(values) == set(asked)
                    for atom in asked:
                        assert tuple(values[atom].shape) == ((n, dimension) if isinstance(atom, Gradient) else (n,))
                        assert values[atom].dtype == dtype
                        assert bool(values[atom].isfinite().all())

    def test_every_slot_is_delivered(self, estimator: DerivativeEstimator, dimension: int) -> None:
        """Slots of an exact estimator are equal; those of a stochastic one differ where it is random at all."""
        network, points = self.make_network(dimension), self.make_points(dimension)
        served = self._served(estimator, network, dimension)
        asked = [replace(atom, slot=slot) for atom in served for slot in reversed(range(9))]
        values = estimator.estimate(network, points, asked, self._generator())
        assert set(values) == set(asked)
        equal = [torch.equal(values[atom], values[replace(atom, slot=0)]) for atom in asked]
        assert not all(equal) if estimator.stochastic else all(equal)

    def test_the_generator_decides(self, estimator: DerivativeEstimator, dimension: int) -> None:
        """The same state gives the same estimates, another one others; torch's own generator is left alone."""
        network, points = self.make_network(dimension), self.make_points(dimension)
        served = self._served(estimator, network, dimension)
        state, generator = torch.get_rng_state(), self._generator()
        first = estimator.estimate(network, points, served, generator)
        second = estimator.estimate(network, points, served, self._generator())
        later = [estimator.estimate(network, points, served, generator) for _ in range(8)]
        assert torch.equal(torch.get_rng_state(), state), "the estimator draws from torch's global generator"
        assert all(torch.equal(first[atom], second[atom]) for atom in served)
        if estimator.stochastic:
            assert any(not torch.equal(first[atom], other[atom]) for atom in served for other in later)
        else:
            assert all(torch.equal(first[atom], other[atom]) for atom in served for other in later)
            assert torch.equal(generator.get_state(), self._generator().get_state())

    def test_nothing_is_recorded_without_gradients(self, estimator: DerivativeEstimator, dimension: int) -> None:
        """Under `torch.no_grad` the estimates are the same and hold no graph."""
        network, points = self.make_network(dimension), self.make_points(dimension)
        served = self._served(estimator, network, dimension)
        recorded = estimator.estimate(network, points, served, self._generator())
        with torch.no_grad():
            values = estimator.estimate(network, points, served, self._generator())
        for atom in served:
            assert not values[atom].requires_grad, str(atom)
            torch.testing.assert_close(values[atom], recorded[atom].detach(), rtol=1e-12, atol=1e-12)

    def test_groups_of_samples(self, estimator: DerivativeEstimator, dimension: int) -> None:
        """One estimate per group, of groups of unequal sizes too; `estimate` takes its slots from them."""
        if not isinstance(estimator, SampledEstimator):
            raise unittest.SkipTest("no samples")
        network, points = self.make_network(dimension), self.make_points(dimension)
        served = self._served(estimator, network, dimension)
        least = estimator.smallest_group
        for sizes in ([least], [least, least + 1, least], [least + 1] * 3):
            for atom, values in estimator.draw(network, points, served, self._generator(), sizes).items():
                tail = (len(points), dimension) if isinstance(atom, Gradient) else (len(points),)
                assert tuple(values.shape[1:]) == tail
                assert values.shape[0] in (1, len(sizes))
        asked = [replace(atom, slot=slot) for atom in served for slot in (0, 1)]
        drawn = estimator.draw(network, points, served, self._generator(), [estimator.samples] * 2)
        for atom, values in estimator.estimate(network, points, asked, self._generator()).items():
            groups = drawn[replace(atom, slot=0)]
            assert torch.equal(values, groups[atom.slot if len(groups) > 1 else 0])

    # -- the expectation

    def test_values(self, estimator: DerivativeEstimator, dimension: int) -> None:
        """Right, or right on average."""
        worst = self.deviations(estimator, dimension)
        bad = {str(atom): z for atom, z in worst.items() if not z < self.bound}
        assert not bad, f"estimates that are standard errors away from the truth: {bad}"

    def test_parameter_gradients(self, estimator: DerivativeEstimator, dimension: int) -> None:
        """The gradient of any combination of estimates is that of the truth, or is so on average."""
        worst = self.gradient_deviations(estimator, dimension)
        parameters = sum(parameter.numel() for parameter in self.make_network(dimension).parameters())
        bound = bonferroni_bound(parameters, self.batches)
        bad = {str(atom): z for atom, z in worst.items() if not z < bound}
        assert not bad, f"parameter gradients that are standard errors away from the truth: {bad}"

    def test_slots_are_independent(self, estimator: DerivativeEstimator, dimension: int) -> None:
        """Neighboring slots are not correlated."""
        if not estimator.stochastic:
            raise unittest.SkipTest("no randomness")
        network, points = self.make_network(dimension), self.make_points(dimension).rows(slice(1))
        served, count = self._served(estimator, network, dimension), 400
        asked = [replace(atom, slot=slot) for atom in served for slot in range(count)]
        with torch.no_grad():
            values = estimator.estimate(network, points, asked, self._generator())
        for atom in served:
            series = torch.stack([values[replace(atom, slot=slot)].sum() for slot in range(count)])
            series = series - series.mean()
            if float(series.square().mean()) > self.tolerance**2:
                correlation = float((series[1:] * series[:-1]).mean() / series.square().mean())
                assert abs(correlation) * count**0.5 < self.bound, f"the slots of {atom} are correlated: {correlation}"

    def deviations(self, estimator: DerivativeEstimator, dimension: int) -> dict[Atom, float]:
        """Per atom, how many standard errors the mean estimate lies from the truth, at the worst point.

        Of an exact estimator, zero or infinity.
        """
        network, points = self.make_network(dimension), self.make_points(dimension)
        served, generator = self._served(estimator, network, dimension), self._generator()
        truth = self.truth(estimator, network, points, served)
        with torch.no_grad():
            batches = [
                self._estimates(estimator, network, points, served, generator, self.repetitions)
                for _ in range(self.batches if estimator.stochastic else 1)
            ]
        return {
            atom: float(
                standard_errors(torch.cat([batch[atom] for batch in batches]), truth[atom], self.tolerance).max()
            )
            for atom in served
        }

    def gradient_deviations(self, estimator: DerivativeEstimator, dimension: int) -> dict[Atom, float]:
        """Per atom, how many standard errors the gradient of the worst parameter lies from that of the truth."""
        network, points = self.make_network(dimension), self.make_points(dimension)
        served, generator = self._served(estimator, network, dimension), self._generator()
        truth = self.truth(estimator, network, points, served)
        probes = {atom: torch.randn(truth[atom].shape, generator=generator, dtype=torch.float64) for atom in served}
        expected = {atom: _gradient((truth[atom] * probes[atom]).sum(), network) for atom in served}
        samples: dict[Atom, list[Tensor]] = {atom: [] for atom in served}
        batches = self.batches if estimator.stochastic else 2
        for _ in range(batches):
            estimates = self._estimates(estimator, network, points, served, generator, self.gradient_repetitions)
            for atom in served:
                mean = (estimates[atom].mean(0) * probes[atom]).sum()
                samples[atom].append(_gradient(mean, network))
        return {
            atom: float(standard_errors(torch.stack(samples[atom]), expected[atom], self.tolerance).max())
            for atom in served
        }

    # -- tools

    def make_network(self, dimension: int) -> Network:
        """A network of one output over (x, t), with weights and biases of size one, in float64."""
        generator = torch.Generator().manual_seed(self.seed + dimension)
        spec = Mlp(width=self.width, depth=2, activation="sin")
        network = spec.build(dimension + 1, 1, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_(generator=generator)
        return network

    def make_points(self, dimension: int) -> Points:
        """A few points of the unit cube."""
        generator = torch.Generator().manual_seed(self.seed - dimension)
        rows = torch.rand(self.points, dimension + 1, generator=generator, dtype=torch.float64)
        return Points(rows, Coordinates.of(x=dimension, t=0))

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    def _served(self, estimator: DerivativeEstimator, network: Network, dimension: int) -> list[Atom]:
        return [atom for atom in self.atoms(dimension) if estimator.refusal(network, [atom]) is None]

    def _estimates(
        self,
        estimator: DerivativeEstimator,
        network: Network,
        points: Points,
        asked: Sequence[Atom],
        generator: torch.Generator,
        count: int,
    ) -> dict[Atom, Tensor]:
        """Independent estimates of each atom along the first axis; one repeated where nothing is random."""
        count = count if estimator.stochastic else 2
        if isinstance(estimator, SampledEstimator):
            drawn = estimator.draw(network, points, asked, generator, [estimator.samples] * count)
            return {atom: values.expand(count, *values.shape[1:]) for atom, values in drawn.items()}
        slotted = [replace(atom, slot=slot) for atom in asked for slot in range(count)]
        values = estimator.estimate(network, points, slotted, generator)
        return {atom: torch.stack([values[replace(atom, slot=slot)] for slot in range(count)]) for atom in asked}


def _gradient(value: Tensor, network: Network) -> Tensor:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
    return torch.cat([gradient.ravel() for gradient in gradients]).detach()


def _short(estimator: DerivativeEstimator) -> str:
    """Its class and the options that are not the default."""
    listed = fields(estimator) if is_dataclass(estimator) else ()
    values = [(field, getattr(estimator, field.name)) for field in listed]
    changed = [str(value) for field, value in values if value != field.default]
    return "-".join([type(estimator).__name__, *changed])
