"""How many experts there are, and which of them depend on each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pinnx.solvers.experts.tables import Table


@final
@dataclass(frozen=True)
class Structure:
    """Sizes and connections of a mixture.

    Attributes:
        experts: number E.
        coefficients: number N of each.
        component: which experts depend on each other, (E,) integers from 0.
        parts: number C of components.
    """

    experts: int
    coefficients: int
    component: Tensor
    parts: int

    @classmethod
    def of(cls, tables: Sequence[Table], experts: int, coefficients: int) -> Structure:
        """The structure of some tables."""
        component = torch.tensor(
            components([table.part.experts for table in tables], experts), device=tables[0].weight.device
        )
        return cls(experts, coefficients, component, int(component.max()) + 1)

    def per_part(self, values: Tensor) -> Tensor:
        """Sums over the experts of each component: (B, E, …) -> (B, C, …)."""
        result = values.new_zeros(values.shape[0], self.parts, *values.shape[2:])
        return result.index_add(1, self.component, values)

    def largest(self, values: Tensor) -> Tensor:
        """The largest over the coefficients of each component: (B, E, N) -> (B, C)."""
        every = values.amax(-1)
        index = self.component.expand(len(values), -1)
        return values.new_full((len(values), self.parts), -torch.inf).scatter_reduce(1, index, every, "amax")

    def of_groups(self, table: Table, values: Tensor) -> Tensor:
        """Sums over the groups of a table, for each component: (B, G) -> (B, C)."""
        result = values.new_zeros(values.shape[0], self.parts)
        return result.index_add(1, self.component[table.experts[:, 0]], values)


def components(tables_experts: Sequence[Tensor], count: int) -> list[int]:
    """Which experts depend on each other: the number of its connected component for each expert.

    Args:
        tables_experts: (G, m) each, experts that share rows.
        count: number of experts.
    """
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for experts in tables_experts:
        for group in experts.tolist():
            for other in group[1:]:
                parent[root(other)] = root(group[0])
    roots = [root(expert) for expert in range(count)]
    numbers = {found: number for number, found in enumerate(dict.fromkeys(roots))}
    return [numbers[found] for found in roots]
