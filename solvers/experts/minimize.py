"""Batched Levenberg-Marquardt: many small nonlinear least-squares problems at once, each with a state of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import final

import torch
from torch import Tensor

from pinnx.solvers.experts.elimination import Factor, eliminate, smallest_singular
from pinnx.solvers.experts.hessian import Curvature, Preconditioner, solve_hessian
from pinnx.solvers.experts.options import LeastSquaresOptions
from pinnx.solvers.experts.sharing import Sharing
from pinnx.solvers.experts.structure import Structure
from pinnx.solvers.experts.tables import Piece, Table, condense, scatter

#: Levenberg-Marquardt hands over to Newton where it promises less than this part of the cost: below, rounding hides
#: whether a step helps.
_HANDOVER = 1e-6
#: Of the conjugate gradients that find a damped step of the full Hessian.
_STEP_TOLERANCE, _STEP_ITERATIONS = 1e-3, 12
#: Newton steps with the full Hessian at the end.
_NEWTON_STEPS = 6
#: Rounding of Jᵀr, relative to the terms that cancel in it.
_ROUNDING = 1e-14
#: Damping beyond which no step is small enough to help.
_HOPELESS = 1e12


@final
@dataclass(frozen=True)
class Linearization:
    """The rows at some coefficients.

    Attributes:
        pieces: condensed.
        cost: half the sum of squares of each component, (B, C).
        gradient: Jᵀr, (B, E, N).
        scale: lengths of the columns of J, (B, E, N); 1 where they vanish.
    """

    pieces: tuple[Piece, ...]
    cost: Tensor
    gradient: Tensor
    scale: Tensor


@final
@dataclass(frozen=True)
class Minimum:
    """Where the iteration ended.

    Attributes:
        omega: (B, E, N).
        factor: R at omega, nearly without damping.
        scale: lengths of the columns, (B, E, N), that R belongs to.
        pieces: the condensed rows at omega.
        cost: half the sum of squares, (B, C).
        converged: (B, C) bool.
        finite: whether residual and Jacobian are finite, (B, C) bool.
        singular: estimate of the smallest singular value of each component, (B, C).
        iterations: (B,).
    """

    omega: Tensor
    factor: Factor
    scale: Tensor
    pieces: tuple[Piece, ...]
    cost: Tensor
    converged: Tensor
    finite: Tensor
    singular: Tensor
    iterations: Tensor


class Minimizer:
    """Half the sum of the squares of tables of rows, as a function of the coefficients of all experts.

    Args:
        tables: without history, in float64.
        structure: of the same tables.
        options: of the solve.
        start: first coefficients, (B, E, N), where it is linearized first.
        sharing: this process among those that solve together.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        structure: Structure,
        options: LeastSquaresOptions,
        start: Tensor,
        sharing: Sharing,
    ):
        self.tables, self.structure, self.options, self.sharing = list(tables), structure, options, sharing
        self.linear = all(table.linear for table in tables)
        # that of the ridge belongs to the columns at the start, which the first linearization finds
        self._penalty = None if options.ridge else torch.zeros_like(start)

    def instances(self, index: Tensor) -> Minimizer:
        """That of some instances."""
        result = object.__new__(Minimizer)
        result.tables = [table.instances(index) for table in self.tables]
        result.structure, result.options, result.linear = self.structure, self.options, self.linear
        result._penalty, result.sharing = self.penalty[index], self.sharing
        return result

    @property
    def penalty(self) -> Tensor:
        """That of the ridge on the square of each coefficient, (B, E, N)."""
        assert self._penalty is not None, "there is none before the first linearization"
        return self._penalty

    @property
    def own(self) -> list[Table]:
        """The tables of which this process holds rows."""
        return [table for table in self.tables if not table.empty]

    def cost(self, omega: Tensor) -> Tensor:
        """(B, C)."""
        result = omega.new_zeros(len(omega), self.structure.parts)
        for table in self.own:
            result = result + self.structure.of_groups(table, 0.5 * table.residuals(omega).square().sum(-1))
        return self.sharing.total(result) + self._ridge(omega)

    def linearize(self, omega: Tensor) -> Linearization:
        """At some coefficients, (B, E, N)."""
        structure = self.structure
        cost, gradient, squares = omega.new_zeros(len(omega), structure.parts), *torch.zeros(2, *omega.shape).to(omega)
        pieces = []
        for table in self.tables:
            if table.empty:
                pieces.append(None)
                continue
            condensed = condense(table, omega, self.options.factorization)
            pieces.append(condensed.rows)
            cost = cost + structure.of_groups(table, condensed.cost)
            gradient = gradient + scatter(condensed.gradient, table.experts, structure.experts)
            squares = squares + scatter(condensed.squares, table.experts, structure.experts)
        cost, gradient, squares, *whole = self._shared([cost, gradient, squares], pieces)
        if self._penalty is None:
            self._penalty = self.options.ridge * squares
        gradient, squares, cost = gradient + self.penalty * omega, squares + self.penalty, cost + self._ridge(omega)
        joined = [Piece(table.part.experts, rows) for table, rows in zip(self.tables, whole, strict=True)]
        if self.options.ridge:
            root = self.penalty.sqrt()
            rows = torch.cat([torch.diag_embed(root), (root * omega)[..., None]], dim=-1)
            joined.append(Piece(torch.arange(structure.experts, device=omega.device)[:, None], rows))
        scale = squares.sqrt()
        return Linearization(tuple(joined), cost, gradient, torch.where(scale > 0, scale, torch.ones_like(scale)))

    def _shared(self, sums: list[Tensor], pieces: Sequence[Tensor | None]) -> list[Tensor]:
        """Sums over all processes, and the condensed rows of all of them, in one exchange."""
        if self.sharing.count == 1:
            return sums + [rows for rows in pieces if rows is not None]
        like, n = sums[0], self.structure.coefficients
        result = list(sums)
        for table, rows in zip(self.tables, pieces, strict=True):
            part = table.part
            whole = like.new_zeros(len(like), len(part.experts), part.height, part.experts.shape[1] * n + 1)
            if rows is not None:
                whole[:, part.groups, part.first : part.first + rows.shape[2]] = rows
            result.append(whole)
        flat = self.sharing.total(torch.cat([each.flatten() for each in result]))
        split = flat.split([each.numel() for each in result])
        return [part.view(each.shape) for part, each in zip(split, result, strict=True)]

    def _sum(self, of: Callable[[Table], Tensor], like: Tensor) -> Tensor:
        """The sum over all rows of all processes of what belongs to each expert, (B, E, N)."""
        result = torch.zeros_like(like)
        for table in self.own:
            result = result + scatter(of(table), table.experts, self.structure.experts)
        return self.sharing.total(result)

    def factor(self, at: Linearization, damping: Tensor) -> Factor:
        """R with a damping of each component, (B, C)."""
        return eliminate(at.pieces, at.scale, damping[:, self.structure.component])

    def floor(self, omega: Tensor) -> Tensor:
        """The least damping, which keeps a rank-deficient R regular, (B, C)."""
        return omega.new_full((len(omega), self.structure.parts), self.options.least_singular**2)

    def _ridge(self, omega: Tensor) -> Tensor:
        return self.structure.per_part(0.5 * (self.penalty * omega.square()).sum(-1))

    def slope(self, omega: Tensor) -> Tensor:
        """Jᵀr, (B, E, N), without condensing the rows."""
        return self._sum(lambda table: table.gradient(omega).detach(), omega) + self.penalty * omega

    def cost_and_slope(self, omega: Tensor) -> tuple[Tensor, Tensor]:
        """Both at once, since they share the residuals."""
        cost, slope = omega.new_zeros(len(omega), self.structure.parts), torch.zeros_like(omega)
        for table in self.own:
            squares, gradient = table.squares_and_gradient(omega)
            cost = cost + self.structure.of_groups(table, 0.5 * squares)
            slope = slope + scatter(gradient, table.experts, self.structure.experts)
        if self.sharing.count > 1:
            flat = self.sharing.total(torch.cat([cost.flatten(), slope.flatten()]))
            cost, slope = flat[: cost.numel()].view_as(cost), flat[cost.numel() :].view_as(slope)
        return cost + self._ridge(omega), slope + self.penalty * omega

    def curvature(self, omega: Tensor, pieces: Sequence[Piece]) -> Curvature:
        """The full Hessian at some coefficients, with the condensed rows there."""
        return Curvature(self.tables, pieces, omega, self.structure, self.sharing)

    def only(self, parts: Tensor) -> Minimizer:
        """That of some components, (C,) bool; the others count nothing."""
        result = self.instances(torch.arange(len(self.penalty), device=parts.device))
        keep = [parts[self.structure.component[table.part.experts[:, 0]]] for table in self.tables]
        # a table of none of these components would have no rows at all
        kept = [(table, some) for table, some in zip(self.tables, keep, strict=True) if bool(some.any())]
        result.tables = [table.some_groups(some) for table, some in kept]
        return result


def minimize(problem: Minimizer, start: Tensor) -> Minimum:
    """The coefficients that minimize half the sum of squares, each component of each instance by itself.

    Args:
        problem: what to minimize.
        start: first coefficients, (B, E, N).
    """
    with torch.no_grad():
        solve = _solve_linear if problem.linear else _solve_nonlinear
        omega, at, converged, iterations, factor = solve(problem, start)
        finite = _finite(problem.structure, at) & problem.structure.per_part((~omega.isfinite()).sum(-1)).eq(0)
        factor = factor or problem.factor(at, problem.floor(omega))
        singular = smallest_singular(factor, problem.structure, omega)
    return Minimum(omega, factor, at.scale, at.pieces, at.cost, converged & finite, finite, singular, iterations)


#: Coefficients, the rows there, which components converged, iterations, and R at the end where it is known.
_Ended = tuple[Tensor, Linearization, Tensor, Tensor, Factor | None]


def _solve_linear(problem: Minimizer, start: Tensor) -> _Ended:
    """One least-squares solve, and its iterative refinement."""
    at = problem.linearize(start)
    factor = problem.factor(at, problem.floor(start))
    omega = start + factor.step() / at.scale
    cost, slope = problem.cost_and_slope(omega)
    for _ in range(2):
        trial = omega - factor.solve(slope / at.scale) / at.scale
        moved, after = problem.cost_and_slope(trial)
        better = moved < cost
        spread = better[:, problem.structure.component, None]
        omega, slope = torch.where(spread, trial, omega), torch.where(spread, after, slope)
        cost = torch.where(better, moved, cost)
        if not bool(better.any()):
            break
    iterations = torch.ones(len(start), dtype=torch.long, device=start.device)
    # the Jacobian is the same everywhere; only the residual's column of the pieces is that of the start
    return omega, replace(at, cost=cost, gradient=slope), cost.isfinite(), iterations, factor


def _solve_nonlinear(problem: Minimizer, start: Tensor) -> _Ended:
    """Levenberg-Marquardt, then Newton with the full Hessian: one is robust, the other quick at nonzero residuals."""
    omega, iterations = _levenberg_marquardt(problem, start)
    converged = torch.zeros(len(omega), problem.structure.parts, dtype=torch.bool, device=omega.device)
    stuck, at = converged.clone(), problem.linearize(omega)
    for _ in range(_NEWTON_STEPS):
        converged |= _stationary(problem, at, omega)
        open_ = ~(converged | stuck) & _finite(problem.structure, at)
        if not bool(open_.any()):
            break
        omega, settled, helped = _newton_step(problem, at, omega, open_)
        converged |= settled
        stuck |= ~helped
        iterations += open_.any(1)
        at = problem.linearize(omega)
    converged |= _stationary(problem, at, omega)
    return omega, at, converged, iterations, None


def _newton_step(problem: Minimizer, at: Linearization, omega: Tensor, open_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A step of the open components; which of them settled, the step being tiny, and which came nearer."""
    structure = problem.structure
    near = Preconditioner(problem.factor(at, problem.floor(omega)), at.scale, structure)
    step = -solve_hessian(problem.curvature(omega, at.pieces), near, at.gradient)[0]
    spread = open_[:, structure.component, None]
    trial = omega + torch.where(spread, step, torch.zeros_like(step))
    before = structure.largest((at.gradient / at.scale).abs())
    after = structure.largest((problem.slope(trial) / at.scale).abs())
    helped = (after < before) & (problem.cost(trial) <= at.cost * (1 + 1e-9))
    settled = open_ & (_length(structure, at, step) <= problem.options.tolerance * _length(structure, at, omega))
    return torch.where(helped[:, structure.component, None], trial, omega), settled, helped


@dataclass
class _State:
    """Of the instances that are still at work: coefficients, damping, its growth, and which components are done."""

    omega: Tensor
    damping: Tensor
    growth: Tensor
    done: Tensor

    def instances(self, index: Tensor) -> _State:
        return _State(*(getattr(self, field.name)[index] for field in fields(self)))


def _levenberg_marquardt(problem: Minimizer, start: Tensor) -> tuple[Tensor, Tensor]:
    shape, omega = (len(start), problem.structure.parts), start.clone()
    iterations = torch.zeros(len(start), dtype=torch.long, device=start.device)
    places = torch.arange(len(start), device=start.device)
    done = torch.zeros(shape, dtype=torch.bool, device=start.device)
    state = _State(start.clone(), start.new_full(shape, problem.options.damping), start.new_full(shape, 2.0), done)
    at = problem.linearize(state.omega)
    state.done |= ~_finite(problem.structure, at)
    parts = problem.structure.parts
    for _ in range(problem.options.max_iterations):
        state.done |= _stationary(problem, at, state.omega)
        working = ~state.done.all(1)
        if not bool(working.any()):
            break
        if 2 * int(working.sum()) <= len(working):
            omega[places] = state.omega
            index = working.nonzero()[:, 0]
            places, state, problem = places[index], state.instances(index), problem.instances(index)
            at = problem.linearize(state.omega)
        open_ = (~state.done).any(0)
        if 2 * int(open_.sum()) <= parts:
            parts, problem = int(open_.sum()), problem.only(open_)
            at = problem.linearize(state.omega)
        iterations[places[~state.done.all(1)]] += 1
        if _advance(problem, at, state):
            at = problem.linearize(state.omega)
    omega[places] = state.omega
    return omega, iterations


def _stationary(problem: Minimizer, at: Linearization, omega: Tensor) -> Tensor:
    """Which components have a residual orthogonal to all columns of J, as far as rounding lets one see, (B, C)."""
    structure = problem.structure
    rounding = _ROUNDING * structure.per_part((at.scale * omega).abs().sum(-1))
    largest = structure.largest((at.gradient / at.scale).abs())
    return largest <= problem.options.tolerance * (2 * at.cost).sqrt() + rounding


def _advance(problem: Minimizer, at: Linearization, state: _State) -> bool:
    """One damped step of every component that is not done; whether any of them moved."""
    structure, component = problem.structure, problem.structure.component
    damping = torch.maximum(state.damping, problem.floor(state.omega))
    step = _damped_step(problem, at, state.omega, damping)
    step = torch.where(state.done[:, component, None], torch.zeros_like(step), step)
    trial = state.omega + step / at.scale
    cost = problem.cost(trial)
    # what the model promises: ½ δᵀ(λδ - Jᵀr), for either step
    along = -(step * at.gradient / at.scale).sum(-1)
    promised = 0.5 * structure.per_part(step.square().sum(-1) * damping[:, component] + along)
    ratio = (at.cost - cost) / promised
    accepted = (cost < at.cost) & (promised > 0) & ~state.done
    state.omega = torch.where(accepted[:, component, None], trial, state.omega)
    length = structure.per_part(step.square().sum(-1)).sqrt()
    tiny = length <= problem.options.tolerance * _length(structure, at, state.omega)
    near = (damping <= 1e-6) & (tiny | (promised <= _HANDOVER * at.cost))
    state.damping = torch.where(accepted, damping * (1 - (2 * ratio - 1) ** 3).clamp(0.05, 1.0), damping * state.growth)
    state.growth = torch.where(accepted, torch.full_like(ratio, 2.0), 2 * state.growth)
    state.done |= near | (state.damping > _HOPELESS)
    return bool(accepted.any())


def _damped_step(problem: Minimizer, at: Linearization, omega: Tensor, damping: Tensor) -> Tensor:
    """The step of the full Hessian plus damping, or where that is not positive that of JᵀJ, in scaled coefficients."""
    component = problem.structure.component
    factor, curvature = problem.factor(at, damping), problem.curvature(omega, at.pieces)
    added = damping[:, component, None] * at.scale.square()
    newton, sound = solve_hessian(
        lambda vector: curvature(vector) + added * vector,
        Preconditioner(factor, at.scale, problem.structure),
        at.gradient,
        tolerance=_STEP_TOLERANCE,
        iterations=_STEP_ITERATIONS,
    )
    return torch.where(sound[:, component, None], -newton * at.scale, factor.step())


def _length(structure: Structure, at: Linearization, vector: Tensor) -> Tensor:
    """The length of coefficients of columns scaled to 1, per component."""
    return structure.per_part((at.scale * vector).square().sum(-1)).sqrt()


def _finite(structure: Structure, at: Linearization) -> Tensor:
    bad = ~(at.gradient.isfinite() & at.scale.isfinite())
    return structure.per_part(bad.sum(-1)).eq(0) & at.cost.isfinite()
