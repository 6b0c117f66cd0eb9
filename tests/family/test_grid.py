"""Grids: where the nodes are, what is known there, and that fields and points have one order."""

from __future__ import annotations

import pytest
import torch

from pinnx.errors import InputError, ShapeError
from pinnx.family import Axis, Grid, space_axis, time_axis

GRID = Grid((space_axis(0, -1.0, 1.0, 5, ("dirichlet", "free")), time_axis(2.0, 3)))


def test_positions() -> None:
    assert space_axis(0, 0.0, 1.0, 5).positions().tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert space_axis(0, 0.0, 1.0, 4, ("periodic", "periodic")).positions().tolist() == [0.0, 0.25, 0.5, 0.75]
    assert space_axis(0, 0.0, 1.0, 4, ("free", "free"), "cell").positions().tolist() == [0.125, 0.375, 0.625, 0.875]
    assert time_axis(4.0, 3, grading=2.0).positions().tolist() == [0.0, 1.0, 4.0]


def test_points_and_fields_have_one_order() -> None:
    x, t = torch.meshgrid(*(axis.positions() for axis in GRID.axes), indexing="ij")
    points = GRID.points()
    assert torch.equal(points.x[:, 0], GRID.flat(x))
    assert torch.equal(GRID.unflat(points.t), t)
    assert torch.equal(GRID.unflat(GRID.flat(x[None].expand(4, 5, 3)))[2], x)


def test_known_nodes_are_the_dirichlet_and_initial_ones() -> None:
    points = GRID.points()
    assert torch.equal(GRID.flat(GRID.known()), (points.x[:, 0] == -1) | (points.t == 0))
    assert torch.equal(GRID.flat(GRID.end(("x", 0), upper=True)), points.x[:, 0] == 1)
    ends = ("dirichlet", "dirichlet")
    assert not Grid((space_axis(0, 0.0, 1.0, 4, ends, "cell"),)).known().any(), "no node lies on an end of cells"


def test_measure_is_the_share_of_each_node() -> None:
    assert torch.equal(GRID.measure(), torch.ones(5, 3).double())
    graded = Grid((space_axis(0, 0.0, 1.0, 4), time_axis(1.0, 201, grading=2.0)))
    time = graded.axes[1].positions()
    mean = (graded.measure() * time).mean()
    assert mean == pytest.approx(0.5, rel=1e-2), "the mean of t, where the nodes themselves have the mean 1/3"
    assert graded.with_nodes((4, 11)).shape == (4, 11)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: space_axis(0, 1.0, 0.0, 5), "needs low < high"),
        (lambda: space_axis(0, 0.0, 1.0, 2), "at least 3 nodes, got 2"),
        (lambda: space_axis(0, 0.0, 1.0, 5, ("periodic", "free")), "periodic ones in pairs"),
        (lambda: space_axis(0, 0.0, 1.0, 5, ("dirichlet", "robin")), "must be of the kinds"),  # type: ignore[arg-type]
        (lambda: Axis("x", 0, 0.0, 1.0, 5, ("periodic", "periodic"), grading=2.0), "grading"),
        (lambda: Grid((time_axis(1.0, 3), space_axis(0, 0.0, 1.0, 3))), "x1, x2, … and, last, t"),
        (lambda: Grid(()), "got none"),
        (lambda: GRID.with_nodes((3,)), "expected 2 numbers of nodes"),
        (lambda: GRID.end(("x", 1)), "the grid has no coordinate"),
    ],
)
def test_what_makes_no_grid_is_refused(make, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()


def test_fields_of_other_sizes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(…, 5, 3\), got \(3, 5\)"):
        GRID.flat(torch.zeros(3, 5))
    with pytest.raises(ShapeError, match=r"\(…, 15\), got \(14,\)"):
        GRID.unflat(torch.zeros(14))
