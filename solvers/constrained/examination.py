"""A trained operator on held-out instances, as the report shows it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from pinnx.family import Instances, relative_l2
from pinnx.solvers.constrained.family_solution import FamilySolution
from pinnx.views.operators import OperatorView, median_and_worst, root_mean_squares


def examine(
    solution: FamilySolution, instances: Instances, reference: Tensor, answers: Mapping[str, Tensor]
) -> OperatorView:
    """The errors of all instances beside those of other answers, and the fields of two.

    Args:
        solution: solves the instances.
        instances: B of them, held out.
        reference: (B, m, *grid).
        answers: of the baselines by name, (B, m, *grid) each.
    """
    operator = solution.operator()
    family, measure = operator.family, operator.grid.measure()
    found = solution.solve(instances)
    errors = {
        name: relative_l2(values, reference, measure).numpy()
        for name, values in {"solution": found.values, **answers}.items()
    }
    shown = median_and_worst(errors["solution"])
    rows, blocks = list(shown), found.blocks.numpy()
    residual = found.pointwise.numpy()
    experts = int(blocks.max()) + 1
    made = slice(0, family.outputs)
    return OperatorView(
        axes={axis.label: axis.positions().numpy() for axis in family.grid.axes},
        unknowns=family.unknowns[made],
        shown=shown,
        values=found.values[rows, made].numpy(),
        reference=reference[rows, made].numpy(),
        residual=residual[rows],
        blocks=blocks.astype(np.int32),
        errors=errors,
        block_residuals=root_mean_squares(residual, blocks, family.weight.numpy() != 0, experts),
        messages=tuple(status.message for status in found.statuses),
    )
