"""The constraint layer: coefficients for which the residuals are as small as the basis allows, with exact gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pinnx.errors import ShapeError
from pinnx.solvers.experts.hessian import Curvature, Preconditioner, solve_hessian
from pinnx.solvers.experts.implicit import NewtonStep
from pinnx.solvers.experts.minimize import Minimizer, Minimum, minimize
from pinnx.solvers.experts.options import LeastSquaresOptions
from pinnx.solvers.experts.rows import Rows
from pinnx.solvers.experts.sharing import Sharing
from pinnx.solvers.experts.solved import Ending, InstanceStatus, Solved
from pinnx.solvers.experts.structure import Structure
from pinnx.solvers.experts.tables import Table, scatter


def common_sizes(rows: Sequence[Rows]) -> tuple[int, int]:
    """Instances B and coefficients N; raises ShapeError where the rows differ in them."""
    sizes = {(each.batch, each.coefficients) for each in rows}
    if len(sizes) != 1:
        found = ", ".join(f"{batch} × {count}" for batch, count in sorted(sizes)) or "no rows"
        raise ShapeError(f"all rows must have the same instances × coefficients, got {found}")
    return sizes.pop()


def solve_tables(
    tables: Sequence[Table], experts: int, options: LeastSquaresOptions, start: Tensor, sharing: Sharing
) -> Solved:
    """The coefficients of all experts, (B, E, N).

    Args:
        tables: the rows, in float64, with their history.
        experts: number E.
        options: of the solve.
        start: first coefficients, (B, E, N).
        sharing: this process among those that solve together; the tables are its share.
    """
    first = start.detach().double()
    structure = Structure.of(tables, experts, start.shape[-1])
    problem = Minimizer([table.detached() for table in tables], structure, options, first, sharing)
    minimum = minimize(problem, first)
    statuses = [_status(minimum, problem, instance) for instance in range(len(first))]
    bad = torch.tensor([s.ending in (Ending.NOT_FINITE, Ending.RANK_DEFICIENT) for s in statuses], device=first.device)
    omega = torch.nan_to_num(minimum.omega, nan=0.0, posinf=0.0, neginf=0.0)
    if torch.is_grad_enabled() and any(_differentiable(table) for table in tables):  # alike for all processes
        omega = omega + _step(tables, problem, minimum, omega, first, bad)
    return Solved(
        omega=omega,
        statuses=tuple(statuses),
        iterations=minimum.iterations,
        residual_norm=(2 * minimum.cost.sum(1)).sqrt(),
        smallest_singular=minimum.singular.amin(1),
    )


def _step(
    tables: Sequence[Table], problem: Minimizer, minimum: Minimum, omega: Tensor, start: Tensor, bad: Tensor
) -> Tensor:
    """A Newton step of zero length that carries the gradient; instances that failed have none."""
    good = (~bad).nonzero()[:, 0]
    if not len(good):
        return torch.zeros_like(omega)
    # forms that are not finite would turn even a zero cotangent into NaN: failed instances are left out, not masked
    sound = [table for table in tables if not table.empty]
    if len(good) < len(bad):
        sound = [table.instances(good) for table in sound]
    gradient = torch.zeros_like(omega[good])
    for table in sound:
        gradient = gradient + scatter(table.gradient(omega[good]), table.experts, omega.shape[1])
    if problem.options.ridge:
        for table in sound:
            squares = scatter(table.column_squares(start[good]), table.experts, omega.shape[1])
            gradient = gradient + problem.options.ridge * squares * omega[good]
    curvature: list[Curvature] = []

    def solve(cotangent: Tensor) -> Tensor:
        if not curvature:
            curvature.append(problem.curvature(omega, minimum.pieces))
        right = torch.zeros_like(omega)
        right[good] = problem.sharing.total(cotangent)
        near = Preconditioner(minimum.factor, minimum.scale, problem.structure)
        return solve_hessian(curvature[0], near, right)[0][good]

    step = NewtonStep.apply(gradient, solve)
    assert isinstance(step, Tensor)
    return torch.zeros_like(omega).index_copy(0, good, step)


def _differentiable(table: Table) -> bool:
    tensors = [*table.forms.values(), *table.offsets.values(), *table.given.values(), table.weight]
    return any(tensor.requires_grad for tensor in tensors)


def _status(minimum: Minimum, problem: Minimizer, instance: int) -> InstanceStatus:
    """The worst of the instance's components, and what to do about it."""
    options, structure = problem.options, problem.structure
    failed = ~minimum.finite[instance]
    if bool(failed.any()):
        return InstanceStatus(
            Ending.NOT_FINITE,
            f"the residual or its derivatives are not finite{_where(failed, structure)}: the basis, the data or the "
            "start lie outside of what the equation allows",
        )
    weak = minimum.singular[instance] < 2 * options.least_singular
    if bool(weak.any()):
        return InstanceStatus(
            Ending.RANK_DEFICIENT,
            f"the rows do not determine the {structure.coefficients} coefficients{_where(weak, structure)} (smallest "
            f"singular value {float(minimum.singular[instance].min()):.0e} of columns of length 1): use more points, "
            "fewer basis functions, ridge > 0, or a coupling that gives every block data at its edges",
        )
    open_ = ~minimum.converged[instance]
    if bool(open_.any()):
        return InstanceStatus(
            Ending.NOT_CONVERGED,
            f"not converged after {int(minimum.iterations[instance])} iterations{_where(open_, structure)}: raise "
            "max_iterations or tolerance, or give a better start; the best coefficients met are used",
        )
    return InstanceStatus(Ending.CONVERGED, f"converged in {int(minimum.iterations[instance])} iterations")


def _where(parts: Tensor, structure: Structure) -> str:
    """Which experts a failure concerns, as the end of a clause; empty where they all stand or fall together."""
    if structure.parts == 1:
        return ""
    experts = [str(e) for e, part in enumerate(structure.component.tolist()) if bool(parts[part])]
    shown = ", ".join(experts if len(experts) <= 6 else [*experts[:6], "…"])
    return f" of expert{'s' if len(experts) > 1 else ''} {shown}"
