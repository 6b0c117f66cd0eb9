"""Hard constraints: a network gives basis functions, least squares the coefficients for which the equation holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, final

import torch

from pinnx.errors import UnsupportedError
from pinnx.networks.base import NetworkSpec
from pinnx.options import at_least, check_limits, option, positive
from pinnx.problem import Problem
from pinnx.solvers.base import Solver, Training
from pinnx.solvers.constrained.family_training import FamilyTraining
from pinnx.solvers.constrained.point_training import PointTraining
from pinnx.solvers.derivatives.auto import Auto
from pinnx.solvers.derivatives.base import DerivativeEstimator
from pinnx.solvers.experts import Coupling, LeastSquaresOptions, Windows
from pinnx.solvers.experts.grid_atoms import SpaceScheme, TimeScheme
from pinnx.solvers.training.adam import Adam
from pinnx.solvers.training.base import Optimizer

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@final
@dataclass(frozen=True)
class HardConstraint(Solver):
    """Solves for coefficients of a learned basis, so that the equation holds at its constraint points by construction.

    On one problem the basis is a coordinate network. On a family of instances it is a network on a grid, trained on
    the residual alone, never on solutions; `method` and `coupling` say how many constraints there are, and how they
    hang together.

    References:
        N. Chalapathi, Y. Du, A. Krishnapriyan. Scaling physics-informed hard constraints with mixture-of-experts. ICLR
        2024. arXiv 2402.13412
        G. Négiar, M. Mahoney, A. Krishnapriyan. Learning differentiable solvers for systems with hard constraints. ICLR
        2023. arXiv 2207.08675
    """

    kind: ClassVar[str] = "hard-constraint"
    method: Literal["soft", "single", "mixture"] = option(
        "single", "no constraint, one for the whole domain, or one per block (the last two of instances only)"
    )
    basis: int = option(32, "basis functions per unknown", at_least(1))
    steps: int = option(2000, "training steps", at_least(1))
    constraint: LeastSquaresOptions = option(LeastSquaresOptions, "how the coefficients are solved for")
    precision: Literal["float32", "float64"] = option("float64", "floating-point format of the network")
    optimizer: Optimizer = option(Adam, "how the parameters of the basis move")
    clip_gradient: float | None = option(None, "largest norm of the gradient; longer ones are shortened", positive)
    warm_up: int = option(
        0,
        "instances: first steps without a constraint, on the mean of the basis functions, with a schedule of their own",
        at_least(0),
    )
    rate_after_warm_up: float = option(
        1.0, "instances: factor of the learning rate in the steps with a constraint after a warm-up", positive
    )
    evaluate_every: int = option(200, "steps between measurements of the error", at_least(1))
    blocks: int | tuple[int, ...] = option(2, "instances: blocks of a mixture along each axis, space first, then time")
    coupling: Coupling = option(Windows, "instances: how the blocks of a mixture hang together")
    known_values: Literal["exact", "rows"] = option(
        "exact", "instances: initial and Dirichlet values hold by the trial solution, or are rows of the least squares"
    )
    sees_residual: bool = option(
        False, "instances: the network sees the residual of the trial solution of f = 0, besides what instances bring"
    )
    instances: int | None = option(None, 'instances: how many are trained on; "none" for fresh ones', at_least(1))
    instances_per_step: int = option(4, "instances: how many per step", at_least(1))
    test_instances: int = option(8, "instances: held-out ones, on which errors are measured", at_least(1))
    test_data: Path | None = option(
        None, 'instances: file of `pinnx data make` with the held-out ones; "none": they are solved when needed'
    )
    known_instances: int = option(32, "instances: solved ones that baselines know", at_least(2))
    constraint_nodes: int | None = option(
        None, 'instances: nodes of the grid that are drawn for each solve; "none" for all', at_least(1)
    )
    train_until: float | None = option(None, "instances: last trained time; later ones are solved for", positive)
    time: TimeScheme = option("bdf2", "instances: derivatives in time: of first order (backward), else of second")
    space: SpaceScheme = option(
        "auto", "instances: derivatives along periodic axes: spectral (auto), or three-point differences (compact)"
    )
    basis_derivatives: Literal["grid", "exact"] = option(
        "grid", "instances: derivatives of the basis: on the grid, or exact ones of a network of the coordinates"
    )
    points: int = option(512, "one problem: points where the equation must hold, drawn once", at_least(1))
    loss_points: int = option(512, "one problem: fresh points of the loss, per step", at_least(1))
    condition_points: int = option(
        128, "one problem: points of each soft condition, in the constraint and in the loss", at_least(1)
    )
    sampling: Literal["uniform", "sobol"] = option("uniform", "one problem: how points are drawn")
    derivatives: DerivativeEstimator = option(
        Auto, "how derivatives of the basis are obtained, of instances where they are exact"
    )

    def __post_init__(self) -> None:
        check_limits(self)

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point format of the network."""
        return _DTYPES[self.precision]

    def start(self, problem: Problem, network: NetworkSpec, *, seed: int, device: torch.device) -> Training:
        if problem.instances is not None:
            return FamilyTraining(self, problem, network, seed=seed, device=device)
        if self.warm_up:
            raise UnsupportedError("solver.warm_up is for families of instances, and the equation has none")
        if self.method != "single":
            raise UnsupportedError(
                f'the equation has no instances, so solver.method must be "single", not {self.method!r}: '
                + ("the solver pinn is the one without a constraint" if self.method == "soft" else "blocks need a grid")
            )
        return PointTraining(self, problem, network, seed=seed, device=device)
