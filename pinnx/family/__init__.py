"""Families of problems on grids: one equation, many instances, each with a reference solution."""

from pinnx.family.base import Family, GridCondition, Instances, relative_l2
from pinnx.family.data import HELD_OUT, FamilyData, open_data
from pinnx.family.grid import Axis, End, Grid, space_axis, time_axis

__all__ = [
    "HELD_OUT",
    "Axis",
    "End",
    "Family",
    "FamilyData",
    "Grid",
    "GridCondition",
    "Instances",
    "open_data",
    "relative_l2",
    "space_axis",
    "time_axis",
]
