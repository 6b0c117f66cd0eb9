"""Randomized smoothing: derivatives of the Gaussian-smoothed network from forward evaluations only.

The model is u(x) = E f(x + δ), δ ~ N(0, σ²I). Stein's identity with antithetic pairs gives

    ∇u = E[δ/(2σ²) · (f(x+δ) − f(x−δ))],   Δu = E[(|δ|² − σ²d)/(2σ⁴) · (f(x+δ) + f(x−δ) − 2f(x))].

Sources: He et al., AISTATS 2023 (arXiv 2202.09340); Hu et al., arXiv 2311.15283.

Two things here are not in those papers. *Row space*: f(x) = g(Wx + b) depends on δ only through Wδ, which lives in
r = rank W dimensions; taking the conditional expectation over the rest replaces |δ|² − σ²d by |q|² − σ²r, so that
neither cost nor variance depends on d. *Difference weights*: [f(x+δ) + f(x−δ) − 2f(x)]/σ², without Stein's weight, at
a far lower variance.

What is estimated without bias, atom by atom:

*Stein.* The derivative of f_σ(x, t) = E f(x+δ, t+δ_t): noise in space where an atom differentiates in space, in time
where one differentiates in time, so that values asked for alone are those of f. trace(A·Hess) is that of f smoothed by
noise of covariance σ²A.

*Differences.* Values and whole gradients are those of f. A directional derivative along b is that of f averaged over
the segment x ± σb/|b|, and dt that over t ± σ_t. For trace(A·Hess), with A = SSᵀ (for the Laplacian S = I, or S = Q in
the row space), the expectation is

    E_v ∫₋₁¹ (1−|s|) (Sv)ᵀ H(x + sσSv) (Sv) ds,  v of length √r (see `directions`),

which is the operator on f up to σ²/12 · E D⁴f[Sv, Sv, Sv, Sv] + O(σ⁴). The directions v of one group of samples are
orthogonal to each other, so that from r of them on the noise all but vanishes. For v uniform on the sphere it is the
operator on the average of f over balls of radius √r·σ·s, with weights 2s ds; with normal v it would be the Laplacian
of the smoothing ∫₀¹ f_{σ√s} ds; with signs it is no derivative of one smoothed function, and depends on the basis Q by
O(σ²). The gradient with respect to the parameters holds Q constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal, cast, final

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pinnx.errors import UnsupportedError
from pinnx.expr import Atom, Biharmonic, Directional, Evaluator, Gradient, Partial, Points, SecondOrder, Value
from pinnx.networks.base import Network
from pinnx.networks.compiled import CompiledTail
from pinnx.options import at_least, check_limits, option, positive
from pinnx.solvers.derivatives.directions import complete_set, described, good_group, random_directions
from pinnx.solvers.derivatives.row_space import Frame, coordinate_frame, row_space_frame
from pinnx.solvers.derivatives.sampled import Correction, Realization, SampledEstimator


@final
@dataclass(frozen=True)
class Smoothing(SampledEstimator):
    """Derivatives of the Gaussian-smoothed network, from values of the network alone."""

    kind: ClassVar[str] = "smoothing"
    compilable: ClassVar[bool] = True
    parts: ClassVar[int] = 1 << 30  # each sample is a value of the network in any case
    samples: int = option(32, "antithetic pairs K per point and step", at_least(1))
    sigma: float = option(1e-2, "standard deviation of the noise in space", positive)
    sigma_time: float | None = option(None, "standard deviation of the noise in time; default: sigma", positive)
    weights: Literal["difference", "stein"] = option(
        "difference", "finite differences, or Stein's identity (published)"
    )
    space: Literal["rows", "full"] = option("rows", "noise in the first layer's row space, or in all d dimensions")
    law: Literal["orthogonal", "rademacher"] = option(
        "orthogonal", "directions of differences: orthogonal within a group of samples, or of independent signs"
    )
    baseline: Literal["center", "leave-one-out"] = option(
        "leave-one-out", "what Stein's Laplacian subtracts: 2f(x), or also the mean of the other samples"
    )
    noise: Literal["shared", "per-point"] = option("shared", "one draw for the whole batch, or one per point")
    correction: Correction = option("hybrid", "bias of the squared loss: biased, unbiased-loss, unbiased or hybrid")
    realization: Realization = option("u-statistic", "independence from one set of samples, or from separate sets")
    switch_at: int | None = option(
        None, "step at which hybrid leaves the biased loss; default: at its plateau", at_least(1)
    )
    memory: float = option(1.0, "gigabytes that one tensor of samples × points × width may take", positive)

    def __post_init__(self) -> None:
        check_limits(self)
        if self.samples < self.smallest_group:
            raise ValueError("baseline leave-one-out needs samples of at least 2, got 1")

    @property
    def smallest_group(self) -> int:  # type: ignore[override]
        """Fewest samples that give an estimate."""
        return 2 if self.weights == "stein" and self.baseline == "leave-one-out" else 1

    def details(self, network: Network) -> str:
        stein = self.weights == "stein"
        weights = f"Stein's weights with the baseline {self.baseline}" if stein else "difference weights"
        return f": {self.samples} pairs, {weights}, {described('gaussian' if stein else self.law, self.space, network)}"

    def random(self, atom: Atom) -> bool:
        return self.weights == "stein" or isinstance(atom, SecondOrder)

    def good_group(self, network: Network) -> int:
        if self.weights == "stein":
            # with k samples the leave-one-out baseline's own error adds about 1/k to the variance
            return 8 if self.smallest_group > 1 else 1
        return good_group(self.law, self.samples, network)

    def refusal(self, network: Network, atoms: Sequence[Atom]) -> str | None:
        if network.first_affine() is None:
            return f"the network {type(network).__name__} declares no first affine layer"
        for atom in atoms:
            if isinstance(atom, SecondOrder) and atom.matrix is not None and not _serves(atom):
                return f"it smooths with constant diagonal matrices without negative entries only, not {atom}"
            if isinstance(atom, Biharmonic):
                return f"it delivers derivatives of first and second order only, not {atom}"
            if isinstance(atom, Partial) and atom.columns != (("t", 0),):
                return f"it delivers derivatives by whole coordinate groups and dt only, not {atom}"
        groups = {atom.group for atom in atoms if isinstance(atom, (Gradient, Directional, SecondOrder))}
        if len(groups) > 1:
            return f"it smooths one coordinate group, and the equation differentiates in {', '.join(sorted(groups))}"
        return None

    def complete_set(self, network: Network, points: Points, atom: Atom) -> int | None:
        return None if self.weights == "stein" else complete_set(self.law, self.space, network, points, atom)

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
        return _Draw(self, network, points, atoms, generator, sizes, joint=joint).read()

    def evaluations(self, atoms: Sequence[Atom], samples: int = 0) -> int:
        distinct = {replace(atom, slot=0) for atom in atoms}
        second = [atom for atom in distinct if isinstance(atom, SecondOrder)]
        first = [atom for atom in distinct if isinstance(atom, (Directional, Partial))]
        if self.weights == "difference":
            return 1 + 2 * len(first) + 2 * samples * len(second) + sum(isinstance(a, Gradient) for a in distinct)
        if all(isinstance(atom, Value) for atom in distinct):
            return 1
        timed = any(isinstance(atom, Partial) for atom in distinct)
        special = sum(atom.matrix is not None for atom in second)
        centers = samples if timed else 1
        return 2 * samples * (1 + special) + (samples if timed else 0) + (centers if second else 0)


def _serves(atom: SecondOrder) -> bool:
    matrix = atom.matrix
    assert matrix is not None
    return matrix.diagonal and isinstance(matrix.value, Tensor) and bool((matrix.value >= 0).all())


def stein_weight(q: Tensor, sigma: float) -> Tensor:
    """The weight (|q|² − r)/(2σ²) of f(x+δ) + f(x−δ) in the Laplacian, for standard normal q of r coordinates: (…,)."""
    return (q.square().sum(-1) - q.shape[-1]) / (2 * sigma**2)


class _Draw:
    """One set of samples for one batch of points."""

    def __init__(
        self,
        options: Smoothing,
        network: Network,
        points: Points,
        atoms: Sequence[Atom],
        generator: torch.Generator,
        sizes: Sequence[int],
        *,
        joint: bool,
    ):
        affine = network.first_affine()
        if affine is None:
            raise UnsupportedError("smoothing needs a network with a first affine layer")
        self.options, self.network, self.points, self.atoms = options, network, points, atoms
        self.generator, self.sizes, self.total = generator, list(sizes), sum(sizes)
        self.sets = [self.total] if joint else self.sizes
        self.weight = affine[0]
        self.center = torch.nn.functional.linear(points.tensor, *affine)
        self.known = Evaluator(points)
        self.group = next((a.group for a in atoms if isinstance(a, (Gradient, Directional, SecondOrder))), None)
        self.timed = any(isinstance(atom, Partial) for atom in atoms)
        self.stein = options.weights == "stein"

    def read(self) -> dict[Atom, Tensor]:
        """All atoms, (groups or 1, n) or (groups or 1, n, d)."""
        random = self.group is not None or self.timed
        return self._stein() if self.stein and random else self._differences()

    # --- difference weights ---------------------------------------------------------------------------------------

    def _differences(self) -> dict[Atom, Tensor]:
        f = self.network.tail(self.center)
        result: dict[Atom, Tensor] = {}
        for atom in self.atoms:
            output = getattr(atom.of, "index", 0)
            if isinstance(atom, Value):
                result[atom] = f[None, :, output]
            elif isinstance(atom, Partial):
                column = self.weight[:, self.points.coordinates.columns("t")].T
                result[atom] = self._central(column, self._sigma_time)[None, :, output]
            elif isinstance(atom, Directional):
                vector = self.known(atom.vector)
                length = torch.linalg.vector_norm(vector, dim=-1, keepdim=True).clamp_min(1e-30)
                slope = self._central((vector / length) @ self._columns.T, self.options.sigma)
                result[atom] = length[None, :, 0] * slope[None, :, output]
            elif isinstance(atom, Gradient):
                result[atom] = self._exact_gradient(output)[None]
            elif isinstance(atom, SecondOrder):
                result[atom] = self._second_difference(atom, f)[..., output]
        return result

    def _central(self, direction: Tensor, step: float) -> Tensor:
        """Central difference along a direction (1 or n, h) of the hidden layer: (n, m)."""
        tail = self.network.tail
        return (tail(self.center + step * direction) - tail(self.center - step * direction)) / (2 * step)

    def _second_difference(self, atom: SecondOrder, f: Tensor) -> Tensor:
        """(g, n, m): means over the groups of (f₊ + f₋ − 2f)/σ² along random directions in the frame.

        Directions of its own for each point are drawn for as many points at a time as the memory allows.
        """
        frame, n = self._frame(atom), len(self.points)
        size = self.total * max(frame.rank, self.center.shape[-1]) * self.center.element_size()
        rows = n if self.options.noise == "shared" else max(1, int(self.options.memory * 1e9 / size))
        if rows >= n:
            return self._along_random(self.center, f, frame, self.generator)
        device, parts = self.center.device, list[Tensor]()
        for center, values in zip(self.center.split(rows), f.split(rows), strict=True):
            # a seed, so that the backward pass can draw them again
            seed = int(torch.randint(2**62, (), generator=self.generator, device=device))
            part = checkpoint(self._again, center, values, frame, seed, use_reentrant=False)
            parts.append(cast("Tensor", part))
        return torch.cat(parts, 1)

    def _again(self, center: Tensor, f: Tensor, frame: Frame, seed: int) -> Tensor:
        return self._along_random(center, f, frame, torch.Generator(center.device).manual_seed(seed))

    def _along_random(self, center: Tensor, f: Tensor, frame: Frame, generator: torch.Generator) -> Tensor:
        sigma, shared = self.options.sigma, self.options.noise == "shared"
        v = random_directions(self.options.law, self.sets, 1 if shared else len(center), frame.rank, generator, f)
        shift = sigma * frame.embed(v)
        return self._means((self._tail(center, shift) + self._tail(center, -shift) - 2 * f) / sigma**2)

    def _exact_gradient(self, output: int) -> Tensor:
        """The gradient where only a vector will do: by one backward pass, exact and without randomness."""
        recorded = torch.is_grad_enabled()
        with torch.enable_grad():
            hidden = self.center if self.center.requires_grad else self.center.detach().requires_grad_()
            # compiled code cannot be differentiated twice
            network = self.network.plain if isinstance(self.network, CompiledTail) else self.network
            value = network.tail(hidden)[:, output].sum()
            (slope,) = torch.autograd.grad(value, hidden, create_graph=recorded)
        return slope @ self._columns

    # --- Stein's identity -----------------------------------------------------------------------------------------

    def _stein(self) -> dict[Atom, Tensor]:
        like, sigma = self.center, self.options.sigma
        frame = self._frame(None) if self.group else None
        q = self._normal(frame.rank) if frame else None
        space = sigma * frame.embed(q) if frame and q is not None else like.new_zeros(1, 1, 1)
        tau, time = self._time_noise
        aside = frame is not None and frame.reduced and any(isinstance(a, (Directional, Gradient)) for a in self.atoms)
        shifts = (time + space, time - space)
        sites = [self.center + shift for shift in shifts] if aside and torch.is_grad_enabled() else []
        plus, minus = (self._tail(site) for site in sites) if sites else self._pairs(space, time)
        before = self._tail(self.center, space - time) if self.timed else plus
        result: dict[Atom, Tensor] = {}
        for atom in self.atoms:
            output = getattr(atom.of, "index", 0)
            f_plus, f_minus = plus[..., output], minus[..., output]
            if isinstance(atom, Value):
                result[atom] = self._means((f_plus + f_minus) / 2)
            elif isinstance(atom, Partial):
                result[atom] = self._means(tau / (2 * self._sigma_time) * (f_plus - before[..., output]))
            elif isinstance(atom, SecondOrder) and atom.matrix is not None:
                result[atom] = self._stein_second(atom, output)
            elif isinstance(atom, SecondOrder) and frame is not None and q is not None:
                result[atom] = self._means(stein_weight(q, sigma) * self._without_baseline(f_plus + f_minus, output))
            elif isinstance(atom, (Directional, Gradient)) and frame is not None and q is not None:
                slopes = self._means(q / (2 * sigma) * (f_plus - f_minus)[..., None])
                hidden = self._hidden_slopes(sites, (plus, minus), output) if frame.reduced else slopes
                result[atom] = self._along(atom, frame, slopes, hidden)
        return result

    def _hidden_slopes(self, sites: Sequence[Tensor], values: Sequence[Tensor], output: int) -> Tensor:
        """Slopes in the hidden layer where the network was evaluated, without gradient: means (g, n, h)."""
        if not (sites and sites[0].requires_grad):
            return torch.zeros_like(self.center)
        if isinstance(self.network, CompiledTail):  # whose graph serves one backward pass only
            sites = [site.detach().requires_grad_() for site in sites]
            values = [self.network.plain.tail(site.flatten(0, 1)).reshape(*site.shape[:2], -1) for site in sites]
        slopes = torch.autograd.grad([value[..., output].sum() for value in values], sites, retain_graph=True)
        return self._means((slopes[0] + slopes[1]) / 2)

    def _stein_second(self, atom: SecondOrder, output: int) -> Tensor:
        """trace(A · Hessian) by noise of covariance σ²A, drawn apart from that of the other atoms."""
        frame, sigma = self._frame(atom), self.options.sigma
        q = self._normal(frame.rank)
        plus, minus = self._pairs(sigma * frame.embed(q), self._time_noise[1])
        return self._means(stein_weight(q, sigma) * self._without_baseline((plus + minus)[..., output], output))

    def _normal(self, width: int) -> Tensor:
        like = self.center
        return torch.randn(self._shape(width), generator=self.generator, dtype=like.dtype, device=like.device)

    def _without_baseline(self, values: Tensor, output: int) -> Tensor:
        """Second differences (K, n), less a mean that is independent of their own weight."""
        # f(x) goes in any case: at centers that move in time its change alone would swamp the second difference.
        values = values - 2 * self._at_moved[..., output]
        if self.options.baseline == "center":
            return values
        # x − mean of the others in its group
        return torch.cat([(len(part) * part - part.sum(0)) / (len(part) - 1) for part in values.split(self.sizes)])

    def _along(self, atom: Directional | Gradient, frame: Frame, slopes: Tensor, hidden: Tensor) -> Tensor:
        """From slopes (g, n, r) in the frame to the derivative along a vector, or to the whole gradient."""
        if isinstance(atom, Gradient):
            return frame.lift(slopes, hidden)
        return frame.along(slopes, self.known(atom.vector), hidden)

    @cached_property
    def _at_moved(self) -> Tensor:
        return self._tail(self.center, self._time_noise[1])

    @cached_property
    def _time_noise(self) -> tuple[Tensor, Tensor]:
        """τ (K, n or 1) and its shift of the hidden layer (K, n or 1, h)."""
        like = self.center
        if not self.timed:
            return like.new_zeros(1, 1), like.new_zeros(1, 1, 1)
        tau = self._normal(1)
        column = self.weight[:, self.points.coordinates.columns("t")].T
        return tau[..., 0], self._sigma_time * tau * column

    # --- shared ---------------------------------------------------------------------------------------------------

    @property
    def _sigma_time(self) -> float:
        return self.options.sigma if self.options.sigma_time is None else self.options.sigma_time

    @property
    def _columns(self) -> Tensor:
        return self.weight[:, self.points.coordinates.columns(self.group or "x")]

    def _shape(self, width: int) -> tuple[int, int, int]:
        """Of the noise: one draw for all points, or one per point."""
        return self.total, 1 if self.options.noise == "shared" else len(self.points), width

    def _frame(self, atom: SecondOrder | None) -> Frame:
        columns = self._columns
        if atom is not None and atom.matrix is not None:
            columns = columns * atom.matrix.at(self.points).sqrt()
        use_rows = self.options.space == "rows" and columns.shape[1] > columns.shape[0]
        return row_space_frame(columns) if use_rows else coordinate_frame(columns)

    def _pairs(self, space: Tensor, time: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
        # an x-derivative keeps t + δ_t in all of its evaluations (eq. 28)
        return self._tail(self.center, time + space), self._tail(self.center, time - space)

    def _tail(self, center: Tensor, shift: Tensor | None = None) -> Tensor:
        """The tail at center + shift, (K, n, m), each of them (K or 1, n or 1, h); a center may be (n, h).

        By chunks of samples, which are computed again for the backward pass, so that what the network makes of
        samples × points × width is never larger than the memory allows. (With Stein's weights noise of its own for
        each point, and the sites of derivatives along vectors in the row space, are of that size in any case.)
        """
        center = center if center.ndim == 3 else center[None]
        shift = center.new_zeros(1, 1, 1) if shift is None else shift
        count, size = max(len(center), len(shift)), center.shape[-2] * center.shape[-1] * center.element_size()
        chunk = max(1, int(self.options.memory * 1e9 / max(size, 1)))
        if chunk >= count:
            return self._values(center, shift)
        pieces = (each.split(chunk) if len(each) > 1 else [each] * -(-count // chunk) for each in (center, shift))
        chunks = zip(*pieces, strict=True)
        return torch.cat([checkpoint(self._values, *parts, use_reentrant=False) for parts in chunks])

    def _values(self, center: Tensor, shift: Tensor) -> Tensor:
        hidden = (center + shift).expand(-1, center.shape[1], -1)
        return self.network.tail(hidden.reshape(-1, hidden.shape[-1])).reshape(*hidden.shape[:2], -1)

    def _means(self, values: Tensor) -> Tensor:
        """Means over the groups of samples: (K, n, …) -> (g, n, …)."""
        if len(set(self.sizes)) == 1:
            return values.reshape(len(self.sizes), self.sizes[0], *values.shape[1:]).mean(1)
        return torch.stack([part.mean(0) for part in values.split(self.sizes)])
