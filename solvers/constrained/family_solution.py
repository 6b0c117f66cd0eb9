"""What a training on a family comes to: an operator from instances to solutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from pinnx.errors import InputError, did_you_mean
from pinnx.family import Family, Instances, relative_l2
from pinnx.networks.grid import GridNetwork
from pinnx.solvers.constrained.operator import Fields, Operator, Setting
from pinnx.solvers.errors import Errors
from pinnx.solvers.solution import Answer
from pinnx.views.operators import OperatorView

#: Instances that are solved together.
CHUNK = 8


@final
class FamilySolution(Answer):
    """A trained basis, which solves any instance of the family on any grid.

    Attributes:
        network: gives the basis.
        setting: how its coefficients are solved for.
        examine: what it does on held-out instances, where it comes from a training.
    """

    examine: Callable[[], OperatorView] | None = None

    def __init__(
        self, network: GridNetwork, setting: Setting, frame: tuple[tuple[float, float], ...], size: int, seed: int
    ):
        self.network, self.setting, self.frame, self.size, self.seed = network, setting, frame, size, seed
        self._operators: dict[Setting, Operator] = {}

    @property
    def family(self) -> Family:
        """The family on the grid of the setting."""
        return self.operator().family

    def operator(self, **changes: Any) -> Operator:
        """What solves instances.

        Args:
            **changes: to the setting: `equation` (the same one with another grid), `blocks`, `coupling`, `method`
                ("single" or "mixture"), `constraint`, `points`, `time` and the other fields of `Setting`.

        Raises:
            InputError: there is no such part of a setting.
        """
        names = tuple(Setting.__dataclass_fields__)
        for name in changes:
            if name not in names:
                raise InputError(f"unknown change; {did_you_mean(name, names)}", key=name)
        # what was not trained is solved for all the same
        setting = replace(self.setting, **{"until": None, **changes})
        if (setting.method == "soft") != (self.setting.method == "soft"):
            raise InputError(
                f'a network that was trained with method = "{self.setting.method}" cannot serve "{setting.method}"',
                key="method",
            )
        if setting not in self._operators:
            self._operators[setting] = Operator(setting, self.frame)
        return self._operators[setting]

    def solve(self, instances: Instances | Tensor, **changes: Any) -> Fields:
        """The solutions of instances.

        Args:
            instances: of the family, on its grid; or their parameters (B, p), which serve on any grid.
            **changes: to the setting, as in `operator`.
        """
        operator = self.operator(**changes)
        known = instances if isinstance(instances, Instances) else operator.family.realize(instances)
        generator = torch.Generator().manual_seed(self.seed)
        parts = [
            operator.fields(self.network, known.rows(slice(start, start + CHUNK)), self.size, generator)
            for start in range(0, len(known), CHUNK)
        ]
        return _joined(parts)


def errors_of(values: Tensor, reference: Tensor, measure: Tensor) -> Errors:
    """Means over the instances of their relative errors, and the largest error of all.

    Args:
        values: (B, m, *grid).
        reference: of the same shape.
        measure: what each node counts, (*grid).
    """
    difference = (values - reference).abs()
    absolute = (difference * measure).flatten(1).sum(1) / (reference.abs() * measure).flatten(1).sum(1)
    relative = relative_l2(values, reference, measure)
    return Errors(float(relative.mean()), float(absolute.mean()), float(difference.max()))


def _joined(parts: Sequence[Fields]) -> Fields:
    first = parts[0]
    return Fields(
        values=torch.cat([part.values for part in parts]),
        residuals={name: torch.cat([part.residuals[name] for part in parts]) for name in first.residuals},
        pointwise=torch.cat([part.pointwise for part in parts]),
        statuses=tuple(status for part in parts for status in part.statuses),
        omega=None if first.omega is None else torch.cat([part.omega for part in parts if part.omega is not None]),
        blocks=first.blocks,
    )
