"""Stochastic Taylor derivatives: second-order operators from a few random directions, everything else exact.

*Hutchinson* (HTE, dense STDE): trace(A·H) = E vᵀHv over v with covariance A. *SDGD* (sparse STDE): a random subset of
the second derivatives along coordinates, scaled. Each vᵀHv comes from Taylor mode: no nested differentiation.

Sources: Hu et al., arXiv 2307.12306 (SDGD) and 2312.14499 (HTE); Shi et al., arXiv 2412.00088 (STDE).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from pinnx.errors import UnsupportedError
from pinnx.expr import Atom, Biharmonic, Gradient, Points, SecondOrder
from pinnx.networks.base import Network
from pinnx.options import at_least, check_limits, option
from pinnx.solvers.derivatives.biharmonic import sampled_biharmonic, sampled_refusal
from pinnx.solvers.derivatives.directions import Law, complete_set, described, good_group, random_directions
from pinnx.solvers.derivatives.high_order import directional_jet
from pinnx.solvers.derivatives.jets import SecondOrderSum
from pinnx.solvers.derivatives.row_space import coordinate_frame, row_space_frame
from pinnx.solvers.derivatives.sampled import Correction, Realization, SampledEstimator
from pinnx.solvers.derivatives.taylor import Plan, Taylor, push


class StochasticTaylor(SampledEstimator):
    """Base of the estimators that replace a second-order operator's directions by random ones."""

    def random(self, atom: Atom) -> bool:
        return isinstance(atom, (SecondOrder, Biharmonic))

    def evaluations(self, atoms: Sequence[Atom], samples: int = 0) -> int:
        return 1 + samples * len({replace(atom, slot=0) for atom in atoms if self.random(atom)})

    @abstractmethod
    def directions(self, columns: Tensor, n: int, generator: torch.Generator, sizes: Sequence[int]) -> Tensor:
        """Random directions of the hidden layer.

        Args:
            columns: W (h, d), times a square root of the operator's matrix.
            n: number of points.
            generator: draws them.
            sizes: samples per group.

        Returns:
            (K, 1 or n, h) with K the sum of the sizes; in each group of k of them E Σ v vᵀ = k W Wᵀ.
        """

    def refusal(self, network: Network, atoms: Sequence[Atom]) -> str | None:
        for atom in atoms:
            reason = sampled_refusal(self.kind, getattr(self, "law", None)) if isinstance(atom, Biharmonic) else None
            if reason is not None:
                return reason
            if isinstance(atom, SecondOrder) and atom.matrix is not None:
                value = atom.matrix.value
                if not (atom.matrix.diagonal and isinstance(value, Tensor) and bool((value >= 0).all())):
                    return (
                        f"it draws directions for constant diagonal matrices without negative entries only, not {atom}"
                    )
        return Taylor().refusal(network, atoms)

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
        affine = network.first_affine()
        if affine is None:
            raise UnsupportedError(f"the network {type(network).__name__} declares no first affine layer")
        recorded = torch.is_grad_enabled()
        with torch.set_grad_enabled(recorded or any(isinstance(atom, Gradient) for atom in atoms)):
            hidden = torch.nn.functional.linear(points.tensor, *affine)
            plan = _SampledPlan(affine[0], points, self, generator, sizes, joint=joint)
            for atom in atoms:
                plan.request(atom)
            if plan.needs_reverse and not hidden.requires_grad:
                hidden.requires_grad_()
            values = plan.read(push(network, plan.jet(hidden)), hidden)
        if not recorded:
            values = {atom: value.detach() for atom, value in values.items()}
        return {atom: value if self.random(atom) else value[None] for atom, value in values.items()}


class _SampledPlan(Plan):
    """Reads second-order operators as one estimate per group of samples."""

    def __init__(
        self,
        weight: Tensor,
        points: Points,
        estimator: StochasticTaylor,
        generator: torch.Generator,
        sizes: Sequence[int],
        *,
        joint: bool,
    ):
        super().__init__(weight, points)
        self.estimator, self.generator, self.sizes = estimator, generator, list(sizes)
        self.sets = [sum(sizes)] if joint else self.sizes

    def second_order(self, atom: SecondOrder, output: int) -> None:
        columns = self.columns(atom.group)
        if atom.matrix is not None:
            columns = columns * atom.matrix.at(self.points).sqrt()
        drawn = self.estimator.directions(columns, len(self.points), self.generator, self.sets)
        start, first = self.add(drawn).start, len(self.sums)
        for size in self.sizes:
            self.sums.append(SecondOrderSum(start, start + size))
            start += size
        last, scale = len(self.sums), columns.new_tensor(self.sizes)[:, None]
        self.readers[atom] = lambda jet, hidden: jet.second[first:last, :, output] / scale

    def biharmonic(self, atom: Biharmonic, output: int) -> None:
        drawn = self.estimator.directions(self.columns(atom.group), len(self.points), self.generator, self.sets)
        place = self.travel_beside(lambda hidden: directional_jet(hidden, drawn, atom.order))
        self.readers[atom] = lambda jet, hidden: sampled_biharmonic(jet.beside[place], output, self.sizes)

    def shaped(self, atom: Atom, value: Tensor) -> Tensor:
        if self.estimator.random(atom):
            return value.expand(len(self.sizes), len(self.points))
        return super().shaped(atom, value)


@final
@dataclass(frozen=True)
class Hutchinson(StochasticTaylor):
    """Second-order operators as means of vᵀHv over random v (HTE, dense STDE)."""

    kind: ClassVar[str] = "hutchinson"
    samples: int = option(16, "directions per point and step", at_least(1))
    law: Law = option("orthogonal", "directions orthogonal within a group, of independent signs, or normal")
    space: Literal["rows", "full"] = option("rows", "directions in the first layer's row space, or in all d dimensions")
    noise: Literal["shared", "per-point"] = option("shared", "one draw for the whole batch, or one per point")
    correction: Correction = option("hybrid", "bias of the squared loss: biased, unbiased-loss, unbiased or hybrid")
    realization: Realization = option("u-statistic", "independence from one set of samples, or from separate sets")
    switch_at: int | None = option(
        None, "step at which hybrid leaves the biased loss; default: its plateau", at_least(1)
    )

    def __post_init__(self) -> None:
        check_limits(self)

    def details(self, network: Network) -> str:
        return f": {self.samples} {described(self.law, self.space, network)}"

    def good_group(self, network: Network) -> int:
        return good_group(self.law, self.samples, network)

    def complete_set(self, network: Network, points: Points, atom: Atom) -> int | None:
        return complete_set(self.law, self.space, network, points, atom)

    def directions(self, columns: Tensor, n: int, generator: torch.Generator, sizes: Sequence[int]) -> Tensor:
        reduce = self.space == "rows" and columns.shape[1] > columns.shape[0]
        frame = row_space_frame(columns) if reduce else coordinate_frame(columns)
        shared = 1 if self.noise == "shared" else n
        return frame.embed(random_directions(self.law, sizes, shared, frame.rank, generator, columns))


@final
@dataclass(frozen=True)
class Sdgd(StochasticTaylor):
    """Second-order operators from a random subset of the coordinates, without replacement (SDGD, sparse STDE)."""

    kind: ClassVar[str] = "sdgd"
    samples: int = option(16, "coordinates per step; one set of them serves the whole batch", at_least(1))
    correction: Correction = option("hybrid", "bias of the squared loss: biased, unbiased-loss, unbiased or hybrid")
    realization: Realization = option("u-statistic", "independence from one set of samples, or from separate sets")
    switch_at: int | None = option(
        None, "step at which hybrid leaves the biased loss; default: its plateau", at_least(1)
    )

    def __post_init__(self) -> None:
        check_limits(self)

    def complete_set(self, network: Network, points: Points, atom: Atom) -> int | None:
        return max(1, points.coordinates.size(atom.group)) if isinstance(atom, SecondOrder) else None

    def directions(self, columns: Tensor, n: int, generator: torch.Generator, sizes: Sequence[int]) -> Tensor:
        d = columns.shape[1]
        if max(sizes) > d:
            raise UnsupportedError(
                f"sdgd draws coordinates without replacement: samples = {max(sizes)} exceeds d = {d}"
            )
        # Groups must be independent: each has a subset of its own, and subsets may share coordinates.
        chosen = [torch.randperm(d, generator=generator, device=columns.device)[:size] for size in sizes]
        return math.sqrt(d) * columns[:, torch.cat(chosen)].T[:, None]
