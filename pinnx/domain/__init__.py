"""Domains: where a problem is posed, and from which law its points are drawn."""

from __future__ import annotations

from pinnx.domain.ball import Ball, Sphere
from pinnx.domain.base import Domain
from pinnx.domain.box import Box, BoxBoundary
from pinnx.domain.draws import METHODS, Draws, MappedDomain
from pinnx.domain.gaussian import DriftingGaussian, Gaussian
from pinnx.domain.interval import Interval, IntervalEnds
from pinnx.domain.product import AtTime, Product
from pinnx.domain.user import UserBoundary, UserDomain

__all__ = [
    "METHODS",
    "AtTime",
    "Ball",
    "Box",
    "BoxBoundary",
    "Domain",
    "DriftingGaussian",
    "Draws",
    "Gaussian",
    "Interval",
    "IntervalEnds",
    "MappedDomain",
    "Product",
    "Sphere",
    "UserBoundary",
    "UserDomain",
]
