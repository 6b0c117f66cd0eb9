"""What stochastic estimators share: independent groups of samples, and the correction of the bias that squaring brings.

The square of an unbiased estimate r̂ of a residual r is biased: E r̂² = r² + Var r̂. A product of independent estimates
is not. All corrections below are such products; they differ in what is independent of what.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.expr import Atom, Evaluator, Expr, Gradient, Points, atoms, degree, with_explicit_values, with_slots
from pinnx.networks.base import Network
from pinnx.solvers.derivatives.base import DerivativeEstimator
from pinnx.solvers.weights import weighted_mean

Correction = Literal["biased", "unbiased-loss", "unbiased", "hybrid"]
Realization = Literal["u-statistic", "independent"]

#: Groups of a U-statistic where vector-valued atoms make every group cost a tensor of the points' size.
VECTOR_GROUPS = 8


class SampledEstimator(DerivativeEstimator):
    """A stochastic estimator: every atom is the mean over `samples` independent samples.

    Attributes:
        samples: K, samples per point.
        correction: how the bias of the squared loss is corrected.
        realization: whether independent factors come from one set of samples ("u-statistic", at the cost of the biased
            loss) or from sets of K samples each ("independent", as published).
        smallest_group: fewest samples that give an estimate.
        parts: most parts in which a joint set of samples is delivered.
        compilable: whether it asks for nothing but values of the network, so that the network may be compiled.
    """

    stochastic: ClassVar[bool] = True
    smallest_group: ClassVar[int] = 1
    parts: ClassVar[int] = 8
    compilable: ClassVar[bool] = False

    samples: int
    correction: Correction
    realization: Realization

    @abstractmethod
    def draw(
        self,
        network: Network,
        points: Points,
        atoms: Sequence[Atom],
        generator: torch.Generator,
        sizes: Sequence[int],
        *,
        joint: bool = False,
    ) -> dict[Atom, Tensor]:
        """Independent estimates of every atom, one per group of samples.

        Args:
            network: maps (n, D) to (n, m).
            points: n points.
            atoms: distinct atoms, all in slot 0.
            generator: draws the samples.
            sizes: number of samples of each of the g groups.
            joint: whether the groups are parts of one set, drawn together; only where `complete_set` is a number.

        Returns:
            For each atom (g, n), or (g, n, d) for a gradient; the first axis is 1 for what has no randomness.
        """

    def random(self, atom: Atom) -> bool:
        """Whether estimates of an atom vary from draw to draw; those that do not need no slots."""
        return True

    def complete_set(self, network: Network, points: Points, atom: Atom) -> int | None:
        """Number of samples of one set whose mean no longer varies; None where there is none, as for independent ones.

        Samples of such a set are exchangeable: any two of them have the same joint law.
        """
        return None

    def good_group(self, network: Network) -> int:
        """Samples that a group of a U-statistic should have; with independent samples single ones are best."""
        return self.smallest_group

    def estimate(
        self, network: Network, points: Points, atoms: Sequence[Atom], generator: torch.Generator
    ) -> dict[Atom, Tensor]:
        distinct = list(dict.fromkeys(replace(atom, slot=0) for atom in atoms))
        count = 1 + max((atom.slot for atom in atoms), default=0)
        values = self.draw(network, points, distinct, generator, [self.samples] * count)
        return {atom: _group(values[replace(atom, slot=0)], atom.slot) for atom in atoms}


class SquaredResiduals:
    """The mean squares of residuals as a stochastic estimator sees them, with their bias corrected or not.

    With m slots (independent factors inside the residual, see `with_slots`) and g groups of samples, the residual r_j
    takes its slot i from group j + i (cyclically). Two of them are independent where their groups are disjoint, that
    is, where j and l are at least m apart on the circle, and

        Σ r_j r_l over such pairs = (Σ r)² − Σ_{|δ|<m} Σ_j r_j r_{j+δ}

    costs O(m g). For m = 1 and g = K this is the U-statistic (S² − Σ r_k²) / (K (K − 1)).

    Samples that are drawn together, such as directions at right angles or coordinates without replacement, vary less
    than independent ones but are not independent. Where the residual is affine in what is random they need not be: see
    `exchangeable_square`.

    Args:
        estimator: delivers the atoms.
        expressions: the residuals, in atoms of the network.

    Attributes:
        slots: number m of independent factors.
        draw: what draws the samples, `estimator.draw` unless several processes do it together.
        joint: whether samples may be drawn as one set, which several processes cannot.
        note: a sentence about what the correction can and cannot do here, or None.
    """

    def __init__(self, estimator: SampledEstimator, expressions: Sequence[Expr]):
        self.estimator, self.draw, self.joint = estimator, estimator.draw, True
        slotted = [with_slots(with_explicit_values(expr), random=estimator.random) for expr in expressions]
        self.plain = [with_explicit_values(expr) for expr in expressions]
        self.slotted = [expr for expr, _ in slotted]
        self.slots = max([1, *(count for _, count in slotted)])
        self.requests = atoms(*self.plain)
        degrees = [degree(expr, estimator.random) for expr in expressions]
        self.linear = max(degrees) <= 1
        self.note = None
        if max(degrees) == float("inf"):
            self.note = "the residual is no polynomial: the bias of its square is corrected, that inside it is not"

    def groups(self, correction: Correction, network: Network) -> list[int]:
        """The sizes of the groups of samples that a correction draws.

        Raises:
            UnsupportedError: the estimator's samples are too few for the correction.
        """
        estimator, total = self.estimator, self.estimator.samples
        if correction == "biased":
            return [total]
        factors = 2 * (self.slots if correction == "unbiased" else 1)
        if estimator.realization == "independent":
            return [total] * factors
        most = total // estimator.smallest_group
        if most < factors:
            raise UnsupportedError(
                f"the correction {correction!r} needs at least {factors * estimator.smallest_group} samples here, "
                f"got samples = {total}"
            )
        # Nonlinear terms lose accuracy in small groups unless their factors are drawn independently.
        count = max(factors, total // estimator.good_group(network))
        count = factors if correction == "unbiased-loss" and not self.linear else count
        if any(isinstance(atom, Gradient) and estimator.random(atom) for atom in self.requests):
            count = max(factors, min(count, VECTOR_GROUPS))
        return even_parts(total, count)

    def __call__(
        self, network: Network, points: Points, generator: torch.Generator, correction: Correction
    ) -> list[Tensor]:
        """One scalar per residual: an estimate of the mean over the points of w r², with their weights w."""
        sizes = self.groups(correction, network)
        complete = None if correction == "biased" or not self.joint else self._complete_set(network, points)
        if complete is not None and self.estimator.samples < 2 * complete:  # else two groups hold a complete set each
            return self._from_one_set(network, points, generator, complete)
        drawn = self.draw(network, points, self.requests, generator, sizes)
        slots = self.slots if correction == "unbiased" else 1
        values: dict[Atom, Tensor] = {}
        for atom, estimates in drawn.items():
            for slot in range(slots):
                moved = estimates.roll(-slot, 0) if slot and len(estimates) > 1 else estimates
                values[replace(atom, slot=slot)] = moved
        evaluator = Evaluator(points, values)
        expressions = self.slotted if correction == "unbiased" else self.plain
        residuals = [evaluator(expr).expand(len(sizes), len(points)) for expr in expressions]
        if correction == "biased":
            return [weighted_mean(residual.square(), points) for residual in residuals]
        return [weighted_mean(independent_products(residual, slots), points) for residual in residuals]

    def _complete_set(self, network: Network, points: Points) -> int | None:
        """Samples of a complete set where one joint set serves, else None."""
        estimator = self.estimator
        if estimator.realization != "u-statistic" or not self.linear:
            return None
        found = {estimator.complete_set(network, points, atom) for atom in self.requests if estimator.random(atom)}
        return found.pop() if len(found) == 1 else None

    def _from_one_set(
        self, network: Network, points: Points, generator: torch.Generator, complete: int
    ) -> list[Tensor]:
        total = self.estimator.samples
        sizes = even_parts(total, min(total, self.estimator.parts))
        if total >= complete:  # what is beyond a complete set could only add noise
            sizes = [complete, total - complete] if total > complete else [complete]
        drawn = self.estimator.draw(network, points, self.requests, generator, sizes, joint=True)
        evaluator = Evaluator(points, drawn)
        residuals = [evaluator(expr).expand(len(sizes), len(points)) for expr in self.plain]
        return [exchangeable_square(residual, sizes, complete).mean() for residual in residuals]


def exchangeable_square(residuals: Tensor, sizes: Sequence[int], complete: int) -> Tensor:
    """An unbiased estimate of (E r)² from one set of exchangeable samples, as of a finite population: (g, n) -> (n,).

    Let V be the variance of a sample and C the covariance of two. That the mean of a complete set of r samples does not
    vary says V + (r − 1) C = 0. Of the mean R of K < r samples, E R² = (E r)² + (V + (K − 1) C) / K, and the spread
    s² = Σ k_j (R_j − R)² / (g − 1) of the means R_j over parts of k_j samples has the expectation V − C whatever the
    parts; hence

        E [R² − (1/K − 1/r) s²] = (E r)².

    If the mean of a complete set does vary, its variance is added to that: differences do so by O(σ⁴).

    Args:
        residuals: R_j, means over the parts of the set.
        sizes: k_j; the first of them is r if there are r samples or more.
        complete: r.
    """
    if sizes[0] == complete:
        return residuals[0].square()
    total, weights = sum(sizes), residuals.new_tensor(sizes)[:, None]
    mean = (weights * residuals).sum(0) / total
    spread = (weights * (residuals - mean).square()).sum(0) / (len(sizes) - 1)
    return mean.square() - (1 / total - 1 / complete) * spread


def even_parts(total: int, count: int) -> list[int]:
    """`count` whole numbers that sum to `total` and differ by one at most."""
    return [total // count + (1 if i < total % count else 0) for i in range(count)]


def independent_products(residuals: Tensor, slots: int) -> Tensor:
    """The mean of r_j r_l over all pairs at least `slots` apart on the circle of groups: (g, n) -> (n,).

    Args:
        residuals: r_j, whose slot i comes from group j + i modulo g.
        slots: number m of groups that each of them uses; g must be at least 2 m.
    """
    g = len(residuals)
    if g < 2 * slots:
        raise UnsupportedError(f"products of independent residuals need {2 * slots} groups of samples, got {g}")
    near = residuals.square().sum(0)
    for distance in range(1, slots):
        near = near + 2 * (residuals * residuals.roll(distance, 0)).sum(0)
    return (residuals.sum(0).square() - near) / (g * (g - (2 * slots - 1)))


def _group(values: Tensor, index: int) -> Tensor:
    return values[index if len(values) > 1 else 0]
