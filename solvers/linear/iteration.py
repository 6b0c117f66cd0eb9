"""The iteration of the Krylov loop for one batch of columns: flexible conjugate directions, guarded."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pinnx.solvers.linear.base import LinearOperator, PreparedDirection
from pinnx.solvers.linear.result import Reason
from pinnx.solvers.linear.shadow import Reference, Shadow
from pinnx.solvers.linear.state import Counts, Iterate, Outcome, Settings, Step, select_prepared
from pinnx.solvers.linear.vectors import add_scaled, dots, norms

#: Iterations between two computations of the true residual.
_RENEW = 50
#: The true residual replaces the recursive one where they differ by this part of it.
_DRIFT = 1e-4
#: The shadow is dropped once the residual is this part of the shadow's, and started again ...
_AHEAD = 0.1
#: ... where this many iterations together did not halve the residual.
_PATIENCE = 5
#: A direction is worth its cost where it brings at least this part of an iteration's decrease of the energy.
_WORTH = 0.01
#: Curvature of the way to the shadow's iterate that remains of it when earlier directions are taken out, at least.
_CANCELED = 1e-12
#: Longest pause of a direction that is not worth its cost, in iterations.
_LONGEST_PAUSE = 64
#: Renewals of a drifting residual without its being halved, after which no more is expected.
_STALE = 4
#: |A d| relative to |A| |d| at which the way d of the last iterations counts as a null vector of A.
_RUNAWAY = 1e-8
#: |A r| relative to |A| |r| at which r counts as a null vector of A.
_NULL = 1e-10


class Iteration:
    """The state of the active columns of a batch; finished ones leave it.

    Args:
        operator: A.
        b: right-hand sides, (k, n).
        x: start, (k, n).
        tolerance: of the residual norms, (k,).
        direction: maps residuals to directions.
        fallback: preconditioner of the shadow, None for the identity.
        settings: see `Settings`.
    """

    def __init__(
        self,
        operator: LinearOperator,
        b: Tensor,
        x: Tensor,
        tolerance: Tensor,
        direction: PreparedDirection,
        fallback: PreparedDirection | None,
        settings: Settings,
    ):
        k = len(b)
        self.operator, self.b, self.x, self.tolerance = operator, b, x.clone(), tolerance
        self.direction, self.fallback, self.settings = direction, fallback, settings
        self.columns = torch.arange(k, device=b.device)
        self.r = operator.residual(b, x)
        self.norm = norms(self.r)
        self.stretch = norms(operator.apply(b)) / norms(b).clamp_min(torch.finfo(b.dtype).tiny)
        self.scale = torch.where(norms(b) > 0, norms(b), torch.ones_like(self.norm))
        self.done = torch.zeros(k, dtype=torch.bool, device=b.device)
        self.active = ~self.done
        self.all_active = True
        self.checked = torch.full_like(self.norm, math.inf)  # true residual norm when last found above the tolerance
        self.best, self.stale = torch.full_like(self.norm, math.inf), torch.zeros_like(self.norm)
        self.last_x, self.last_r = self.x.clone(), self.r.clone()
        self.stored: list[Step] = []
        self.shadow: Shadow | None = None
        self.reference: Reference | None = None
        self.past: list[Tensor] = []
        self.pause = self.wait = 0
        self.counts = Counts(operator=k)
        self.outcome = Outcome(x.clone(), [None] * k, torch.empty(0), torch.empty(0), self.counts)
        self.history: list[tuple[Tensor, Tensor]] = []

    def run(self) -> Outcome:
        """Iterate until every column has ended."""
        self._record()
        self._finish(~self.norm.isfinite(), Reason.NOT_FINITE)
        self._check_convergence()
        if self.settings.guarded and not self.settings.sound:
            self._start_shadow()
        for iteration in range(1, self.settings.max_iterations + 1):
            if not self.all_active:
                if bool(self.done.all()):
                    break
                self._compress()
            self._advance()
            self.norm = norms(self.r)
            self._record()
            if iteration % _RENEW == 0:
                self._renew()
            self._check_convergence()
            self._guard(iteration)
            if self.settings.callback is not None:
                self.settings.callback(Iterate(iteration, self.columns, self.x, self.r))
        self._finish(self.active, Reason.ITERATION_LIMIT)
        self._assemble()
        return self.outcome

    # -- one iteration

    def _advance(self) -> None:
        count = len(self.done) if self.all_active else int(self.active.sum())
        self.counts.iterations += count
        step = None
        if self.wait > 0:
            self.wait -= 1
            self.counts.skipped += count
        else:
            step = self._direct()
        if self.shadow is not None:
            self.counts.shadowed += count
            direct = torch.zeros_like(self.norm) if step is None else step.gain
            step = self._follow(self.shadow, step)
            self._judge(direct, step.gain)
            stuck = self.active & (step.alpha == 0) & ~(self.shadow.curvature > 0)
            if bool(stuck.any()):
                self._check_null(stuck)
                self._finish(stuck, Reason.STAGNATED)
        elif step is not None and not bool((step.alpha != 0).all()):
            self._without_progress(self.active & (step.alpha == 0))
        if self.settings.memory:
            keep = 0 if self.settings.memory == "full" else -self.settings.memory
            self.stored = [*self.stored, step][keep:] if step is not None else self.stored

    def _direct(self) -> Step:
        """A step along the direction, made A-orthogonal to earlier ones."""
        z = self._evaluate()
        for p, image, curvature, _ in self.stored:
            z = torch.addcmul(
                z, (-dots(z, image) / curvature)[:, None], p
            )  # not in place: z may be the direction's own
        image = self.operator.apply(z)
        self.counts.operator += len(z)
        curvature, slope = dots(z, image), dots(z, self.r)
        if self.settings.sound and not bool((slope > 0).all()):
            self.counts.no_descent += int((self.active & ~(slope > 0)).sum())
        if not bool((curvature > 0).all()):
            self._note_curvature(z, image, curvature)
        return self._move(z, image, curvature, slope)

    def _evaluate(self) -> Tensor:
        """The direction of the residuals, scaled to length one; zero where it is not finite."""
        unit = self.r / self.norm.clamp_min(torch.finfo(self.norm.dtype).tiny)[:, None]
        z = self.direction(unit)
        self.counts.direction += len(unit)
        z = z.to(self.r.dtype)
        if not math.isfinite(float(z.sum())):
            finite = norms(z).isfinite()
            self.counts.not_finite += int((self.active & ~finite).sum())
            z = torch.where(finite[:, None], z, torch.zeros_like(z))
        return z

    def _move(self, p: Tensor, image: Tensor, curvature: Tensor, slope: Tensor) -> Step:
        """An exact line search from the present iterate: the energy falls by slope²/curvature."""
        alpha = slope / curvature
        if not self.all_active or not bool(((curvature > 0) & alpha.isfinite()).all()):
            usable = self.active & (curvature > 0) & alpha.isfinite()
            alpha = torch.where(usable, alpha, torch.zeros_like(alpha))
            curvature = torch.where(usable, curvature, torch.ones_like(curvature))
            p, image = (torch.where(usable[:, None], part, torch.zeros_like(part)) for part in (p, image))
        add_scaled(self.x, alpha, p)
        add_scaled(self.r, -alpha, image)
        return Step(p, image, curvature, alpha)

    def _follow(self, shadow: Shadow, step: Step | None) -> Step:
        """Advance the shadow, minimise over the step just made and the way to the shadow's iterate, and join the two
        into one step."""
        shadow.step(self.operator, self.done)
        self.counts.operator += len(self.x)
        if not bool((shadow.curvature > 0).all()):
            self._note_curvature(shadow.last, shadow.image, shadow.curvature)
        way, image = shadow.x - self.x, self.r - shadow.r
        before = dots(way, image)
        for p, p_image, curvature, _ in [*self.stored, *([] if step is None else [step])]:
            beta = (-dots(way, p_image) / curvature)[:, None]
            way, image = torch.addcmul(way, beta, p), torch.addcmul(image, beta, p_image)
        curvature, slope = dots(way, image), dots(way, self.r)
        worth = slope * slope > _WORTH * curvature * (0.0 if step is None else step.gain)
        # What is left of the way may be rounding alone, and its image with it.
        curvature = torch.where(worth & (curvature > _CANCELED * before), curvature, torch.zeros_like(curvature))
        offered = self._move(way, image, curvature, slope)
        if step is None:
            return offered
        p = step.alpha[:, None] * step.p + offered.alpha[:, None] * offered.p
        image = step.alpha[:, None] * step.image + offered.alpha[:, None] * offered.image
        gain = step.gain + offered.gain  # the two are A-orthogonal
        moved = gain > 0
        return Step(p, image, torch.where(moved, gain, torch.ones_like(gain)), moved.to(gain))

    # -- what is done about it

    def _note_curvature(self, p: Tensor, image: Tensor, curvature: Tensor) -> None:
        """Negative curvature along any direction proves that A is not positive definite."""
        rounding = 1e3 * torch.finfo(p.dtype).eps * norms(p) * norms(image)
        self._finish(self.active & curvature.isfinite() & (curvature < -rounding), Reason.INDEFINITE)
        self._finish(self.active & norms(p).isfinite() & ~norms(image).isfinite(), Reason.NOT_FINITE)

    def _judge(self, direct: Tensor, total: Tensor) -> None:
        """Pause a direction that brings nothing: its evaluations cost time even where they do no harm."""
        if self.wait > 0 or bool(((direct >= _WORTH * total) & self.active).any()):
            self.pause = self.pause if self.wait > 0 else 0
            return
        self.pause = min(2 * self.pause + 1, _LONGEST_PAUSE)
        self.wait = self.pause

    def _without_progress(self, stuck: Tensor) -> None:
        stuck = stuck & self.active
        if not bool(stuck.any()):
            return
        self._check_null(stuck)
        if self.settings.guarded:
            self._start_shadow()
        else:
            self._finish(stuck, Reason.STAGNATED)

    def _guard(self, iteration: int) -> None:
        """Drop the shadow where the direction does well without, and call one back where it does not."""
        if self.reference is not None and self.reference.due(iteration):
            self._ask(self.reference, iteration)
        if self.shadow is not None:
            if self.pause == 0 and bool(((self.norm <= _AHEAD * norms(self.shadow.r)) | self.done).all()):
                self.reference = self.reference or Reference(self.shadow, iteration)
                self.shadow, self.past = None, []
        elif self.settings.guarded and not self.settings.sound:
            self.past = [*self.past, self.norm][-_PATIENCE - 1 :]
            if len(self.past) > _PATIENCE and bool((self.active & (self.norm > 0.5 * self.past[0])).any()):
                self._start_shadow()

    def _ask(self, reference: Reference, iteration: int) -> None:
        """Where conjugate gradients from the start would be ahead by now, the shadow goes on from there."""
        self.counts.operator += len(self.x) * reference.catch_up(self.operator, self.done, iteration)
        ahead = self.active & (norms(reference.shadow.r) < self.norm)
        if bool(ahead.any()):
            self.counts.overtaken += int(ahead.sum())
            if self.shadow is None:
                self._start_shadow()
            if self.shadow is not None:
                self.shadow.take(reference.shadow, ahead)

    def _start_shadow(self) -> None:
        if not bool(self.done.all()):
            self.counts.restarts += 1
            self.shadow = Shadow(self.x, self.r, self.fallback)

    def _renew(self) -> None:
        """Compute the true residual, and replace the recursive one where it has drifted."""
        true = self.operator.residual(self.b, self.x)
        self.counts.operator += len(true)
        size = norms(true)
        drifted = self.active & (norms(true - self.r) > _DRIFT * size)
        if bool(drifted.any()):
            self.counts.renewed += int(drifted.sum())
            self.r = torch.where(drifted[:, None], true, self.r)
            self.norm = norms(self.r)
            for shadow in (self.shadow, None if self.reference is None else self.reference.shadow):
                if shadow is not None:
                    shadow.renew(self.operator, self.b, drifted)
        self._check_null(self.active)
        self._check_stale(drifted, size)
        self.last_x, self.last_r = self.x.clone(), self.r.clone()

    def _check_stale(self, drifted: Tensor, size: Tensor) -> None:
        """Columns that rounding keeps from their tolerance, and those whose iterate runs away along a null vector."""
        halved = size <= 0.5 * self.best
        self.best = torch.where(halved, size, self.best)
        self.stale = torch.where(halved | ~drifted, torch.zeros_like(self.stale), self.stale + 1)
        self._finish(self.stale >= _STALE, Reason.STAGNATED)
        way, image = norms(self.x - self.last_x), norms(self.r - self.last_r)
        runaway = (way > 0) & (image <= _RUNAWAY * self.stretch * way) & (size > 0.9 * norms(self.last_r))
        self._finish(runaway, Reason.SINGULAR_INCONSISTENT)

    def _check_convergence(self) -> None:
        """Columns whose recursive residual is small enough have converged if their true residual is, too."""
        if self.shadow is not None:
            better = self.active & (norms(self.shadow.r) <= self.tolerance) & (self.norm > self.tolerance)
            if bool(better.any()):
                self.x = torch.where(better[:, None], self.shadow.x, self.x)
                self.r = torch.where(better[:, None], self.shadow.r, self.r)
                self.norm = norms(self.r)
        above = self.norm > self.tolerance
        if bool((above | self.done).all()):
            return
        self._finish(~self.norm.isfinite(), Reason.NOT_FINITE)
        small = self.active & ~above
        if not bool(small.any()):
            return
        true = self.operator.residual(self.b, self.x)
        self.counts.operator += len(true)
        size = norms(true)
        self._finish(small & (size <= self.tolerance), Reason.CONVERGED)
        self._finish(small & (size > 0.5 * self.checked), Reason.STAGNATED)
        failed = small & self.active
        if bool(failed.any()):
            self.checked = torch.where(failed, size, self.checked)
            self.r = torch.where(failed[:, None], true, self.r)
            self.norm = norms(self.r)
            if self.shadow is not None:
                self._start_shadow()

    def _check_null(self, columns: Tensor) -> None:
        """A residual that A maps to zero is out of its range: no x makes it smaller."""
        image = norms(self.operator.apply(self.r))
        self.counts.operator += len(self.r)
        scale = self.stretch
        for step in self.stored[-1:]:
            scale = torch.maximum(scale, norms(step.image) / norms(step.p).clamp_min(torch.finfo(scale.dtype).tiny))
        self._finish(columns & (self.norm > 0) & (image <= _NULL * scale * self.norm), Reason.SINGULAR_INCONSISTENT)

    # -- bookkeeping

    def _record(self) -> None:
        values = self.norm / self.scale
        self.history.append(
            (
                self.columns,
                values if self.all_active else torch.where(self.done, torch.full_like(values, math.nan), values),
            )
        )

    def _assemble(self) -> None:
        """The history as one tensor, and how many iterations each column was active."""
        rows = torch.full((len(self.history), len(self.outcome.reasons)), math.nan, dtype=torch.float64)
        for row, (columns, values) in zip(rows, self.history, strict=True):
            row[columns.cpu()] = values.double().cpu()
        self.outcome.history = rows
        self.outcome.iterations = (rows.isfinite().sum(0) - 1).clamp_min(0)

    def _finish(self, which: Tensor, reason: Reason) -> None:
        which = which & self.active
        if not bool(which.any()):
            return
        columns = self.columns[which]
        self.outcome.x[columns] = self.x[which]
        for column in columns.tolist():
            self.outcome.reasons[column] = reason
        self.done = self.done | which
        self.active, self.all_active = ~self.done, False

    def _compress(self) -> None:
        """Let finished columns go once they are a quarter of the batch: then the cost falls with them."""
        if 4 * int(self.done.sum()) < len(self.done):
            return
        index = torch.nonzero(self.active)[:, 0]
        if self.operator.systems > 1:
            self.operator = self.operator.select(index)
            self.direction = select_prepared(self.direction, index, len(self.done))
            if self.fallback is not None:
                self.fallback = select_prepared(self.fallback, index, len(self.done))
        for shadow in (self.shadow, None if self.reference is None else self.reference.shadow):
            if shadow is not None:
                shadow.select(index, self.fallback)
        for name in (
            "b",
            "x",
            "r",
            "tolerance",
            "columns",
            "stretch",
            "norm",
            "scale",
            "checked",
            "best",
            "stale",
            "last_x",
            "last_r",
            "done",
            "active",
        ):
            setattr(self, name, getattr(self, name)[index])
        self.all_active = True
        self.stored = [Step(*(part[index] for part in step)) for step in self.stored]
        self.past = [norm[index] for norm in self.past]
