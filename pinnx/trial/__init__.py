"""Trial solutions: how the unknown is built from a network, so that conditions hold exactly where they can."""

from pinnx.trial.affine import Affine
from pinnx.trial.base import TrialSolution
from pinnx.trial.plain import Plain

__all__ = ["Affine", "Plain", "TrialSolution"]
