"""Rows in another order: values and gradients are those of plain indexing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pinnx.solvers.experts.gathering import taken
from pinnx.solvers.experts.grouping import Groups, Sorted, everywhere, group


def random(*shape: int, seed: int = 90_217) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def part(groups: Groups, points: slice) -> Groups:
    return Groups(groups.experts, groups.index[:, points], groups.real[:, points], groups.slots[:, points])


MEMBERS = torch.tensor([[0, -1], [1, -1], [0, 1], [0, -1], [-1, -1], [1, -1], [1, -1], [0, 1], [1, -1], [1, -1]])
WHOLE = everywhere(10, 3, torch.device("cpu"))


@pytest.mark.parametrize(
    "groups", [group(MEMBERS), (WHOLE,), (part(WHOLE, slice(2, 7)),)], ids=["sorted", "everywhere", "share"]
)
@pytest.mark.parametrize("more", [(), (4,), (2, 3)])
def test_sorted_rows_are_the_rows(groups: tuple[Groups, ...], more: tuple[int, ...]) -> None:
    placed, values = Sorted(groups, 10), random(2, 10, *more).requires_grad_()
    found = placed.split(values)
    loss, expected = torch.zeros(()).double(), torch.zeros(()).double()
    for number, (each, own) in enumerate(zip(found, groups, strict=True)):
        plain = values[:, own.index]
        torch.testing.assert_close(each, plain, rtol=0, atol=0)
        # a repeated point only fills up: it counts nothing in what is made of the rows
        weights = random(*plain.shape, seed=number) * own.real.view(1, *own.real.shape, *(1,) * len(more))
        loss, expected = loss + (each * weights).sum(), expected + (plain * weights).sum()
    slopes = [torch.autograd.grad(each, values, retain_graph=True)[0] for each in (loss, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-14, atol=1e-14)


def test_joined_rows_are_in_the_first_order() -> None:
    placed, values = Sorted(group(MEMBERS), 10), random(2, 10, 3).requires_grad_()
    again = placed.join(placed.split(values))
    expected = values * torch.tensor([1.0, 1, 1, 1, 0, 1, 1, 1, 1, 1])[:, None]
    torch.testing.assert_close(again, expected.double(), rtol=0, atol=0)
    weights = random(2, 10, 3, seed=3)
    slopes = [torch.autograd.grad((each * weights).sum(), values, retain_graph=True)[0] for each in (again, expected)]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0, atol=0)


def test_what_is_not_finite_stays_with_its_row() -> None:
    values = torch.tensor([[1.0, torch.nan, 3.0]])
    index, back = torch.tensor([2, -1, 0]), torch.tensor([2, -1, 0])
    assert taken(values, index, back).tolist() == [[3.0, 0.0, 1.0]]
