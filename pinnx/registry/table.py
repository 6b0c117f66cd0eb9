"""The table of everything that pinnx ships and a case file can name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final


@final
@dataclass(frozen=True)
class Entry:
    """One name of a family.

    Attributes:
        target: where the class is, "package.module:Class".
        summary: what it is, in one line.
    """

    target: str
    summary: str


BASES: Final[Mapping[str, str]] = {
    "equations": "pinnx.problem:Equation",
    "networks": "pinnx.networks.base:NetworkSpec",
    "solvers": "pinnx.solvers.base:Solver",
    "derivatives": "pinnx.solvers.derivatives.base:DerivativeEstimator",
    "optimizers": "pinnx.solvers.training.base:Optimizer",
    "schedules": "pinnx.solvers.training.schedules:Schedule",
    "couplings": "pinnx.solvers.experts.couplings.base:Coupling",
    "resampling": "pinnx.solvers.sampling.base:Resampling",
    "weighting": "pinnx.solvers.weighting.base:Weighting",
    "systems": "pinnx.solvers.linear.systems:SystemSource",
    "directions": "pinnx.solvers.linear.base:Direction",
    "direction-networks": "pinnx.solvers.linear.directions.learned:DirectionSpec",
    "samples": "pinnx.solvers.linear.directions.samples:SampleSource",
    "loggers": "pinnx.loggers.base:Logger",
}
"""The abstract class of each family: an option of this type takes a table that names a member."""

REGISTRY: Final[Mapping[str, Mapping[str, Entry]]] = {
    "equations": {
        "allen-cahn": Entry(
            "pinnx.equations.allen_cahn:AllenCahn", "Δu + u − u³ = g in the unit ball, zero on the sphere"
        ),
        "burgers": Entry(
            "pinnx.equations.burgers:Burgers", "u_t + u Σ ∂_i u − νΔu = 0: a front that moves along the diagonal"
        ),
        "burgers-1d": Entry(
            "pinnx.equations.burgers_1d:ClassicalBurgers",
            "u_t + u u_x − ν u_xx = 0: the classical steepening sine, with its Cole–Hopf solution",
        ),
        "darcy": Entry(
            "pinnx.equations.darcy:Darcy", "−∇·(a∇u) = 1 in the unit square: a family of permeabilities, on a grid"
        ),
        "diffusion-sorption": Entry(
            "pinnx.equations.diffusion_sorption:DiffusionSorption",
            "R(u) u_t = D u_xx with Freundlich sorption: a family of initial values, on a grid",
        ),
        "fokker-planck": Entry(
            "pinnx.equations.fokker_planck:FokkerPlanck", "u_t = ½Δu − μ·∇u with u = |x|² at the start"
        ),
        "gaussian-peak": Entry(
            "pinnx.equations.gaussian_peak:GaussianPeak", "−Δu = f with a narrow peak in the middle of a cube"
        ),
        "heat": Entry("pinnx.equations.heat:Heat", "u_t = ¼Δu in the unit cube"),
        "hjb-lqg": Entry(
            "pinnx.equations.hjb:HamiltonJacobiBellman",
            "u_t + Δu − |∇u|² = 0: optimal control, with a quadratic or a Rosenbrock cost",
        ),
        "log-fokker-planck": Entry(
            "pinnx.equations.log_fokker_planck:LogFokkerPlanck",
            "the logarithm of the density of an Ornstein–Uhlenbeck process",
        ),
        "navier-stokes": Entry(
            "pinnx.equations.navier_stokes:NavierStokes",
            "w_t + v·∇w = νΔw on the torus: a family of initial vorticities, on a grid",
        ),
        "poisson": Entry("pinnx.equations.poisson:Poisson", "−Δu = f in the unit cube, for one of three solutions"),
        "random-burgers": Entry(
            "pinnx.equations.random_burgers:RandomBurgers",
            "u_t + u u_x − ν u_xx = 0: a family of random initial values, on a grid",
        ),
        "sine-gordon": Entry(
            "pinnx.equations.sine_gordon:SineGordon", "Δu + sin u = g in the unit ball, zero on the sphere"
        ),
        "two-peaks": Entry("pinnx.equations.two_peaks:TwoPeaks", "−∇·(u∇v) + Δu = f with two narrow peaks in a square"),
    },
    "networks": {
        "mlp": Entry("pinnx.networks.mlp:Mlp", "multilayer perceptron"),
        "fourier": Entry("pinnx.networks.fourier:FourierMlp", "multilayer perceptron on random Fourier features"),
        "residual": Entry("pinnx.networks.residual:ResidualMlp", "perceptron whose blocks add to their input"),
        "modified": Entry("pinnx.networks.modified:ModifiedMlp", "perceptron gated by two encodings of its input"),
        "fno": Entry("pinnx.networks.fno:Fno", "Fourier neural operator on the grid of a family of instances"),
        "encoded-mlp": Entry(
            "pinnx.networks.encoded:EncodedMlp", "perceptron of the coordinates and a code of the instance"
        ),
    },
    "solvers": {
        "pinn": Entry(
            "pinnx.solvers.pinn:Pinn", "physics-informed network: least squares of the residual at random points"
        ),
        "hard-constraint": Entry(
            "pinnx.solvers.hard_constraint:HardConstraint",
            "a learned basis with coefficients that make the equation hold: one constraint, or a mixture of experts",
        ),
        "linear-system": Entry(
            "pinnx.solvers.linear_system:LinearSystem",
            "a linear system by conjugate directions, classical or learned: train them, or solve A x = b",
        ),
    },
    "derivatives": {
        "auto": Entry(
            "pinnx.solvers.derivatives.auto:Auto", "the fastest exact way that the network and the equation allow"
        ),
        "autodiff": Entry(
            "pinnx.solvers.derivatives.autodiff:Autodiff", "automatic differentiation: any network, any order"
        ),
        "taylor": Entry(
            "pinnx.solvers.derivatives.taylor:Taylor",
            "Taylor mode in the first layer's row space: its cost hardly grows with the dimension",
        ),
        "smoothing": Entry(
            "pinnx.solvers.derivatives.smoothing:Smoothing", "randomized smoothing: values of the network alone"
        ),
        "hutchinson": Entry(
            "pinnx.solvers.derivatives.stochastic:Hutchinson", "second derivatives along random directions"
        ),
        "sdgd": Entry("pinnx.solvers.derivatives.stochastic:Sdgd", "second derivatives along random coordinates"),
    },
    "optimizers": {
        "auto": Entry(
            "pinnx.solvers.training.auto:AutoOptimizer", "the most accurate that size, points and precision allow"
        ),
        "adam": Entry("pinnx.solvers.training.adam:Adam", "Adam: robust, cheap per step"),
        "lbfgs": Entry(
            "pinnx.solvers.training.lbfgs:Lbfgs", "L-BFGS with a line search: for small problems, on fixed points"
        ),
        "soap": Entry("pinnx.solvers.training.soap:Soap", "SOAP: Adam in the eigenbasis of Shampoo's preconditioner"),
        "engd": Entry(
            "pinnx.solvers.training.natural_gradient:Engd",
            "energy natural gradient: Gauss–Newton steps by the residuals' Gram matrix",
        ),
        "spring": Entry(
            "pinnx.solvers.training.natural_gradient:Spring", "natural gradient with momentum, on fresh points"
        ),
        "ssbroyden": Entry(
            "pinnx.solvers.training.quasi_newton:SelfScaled",
            "dense self-scaled quasi-Newton: for small networks, on fixed points",
        ),
    },
    "schedules": {
        "constant": Entry("pinnx.solvers.training.schedules:Constant", "the learning rate stays as it is"),
        "exponential": Entry("pinnx.solvers.training.schedules:Exponential", "a constant factor per step"),
        "cosine": Entry("pinnx.solvers.training.schedules:Cosine", "falls along half a cosine"),
        "linear": Entry("pinnx.solvers.training.schedules:Linear", "falls linearly"),
        "geometric": Entry("pinnx.solvers.training.schedules:Geometric", "a constant factor, by its end"),
    },
    "couplings": {
        "independent": Entry(
            "pinnx.solvers.experts.couplings.independent:Independent", "experts that know nothing of each other"
        ),
        "interface": Entry(
            "pinnx.solvers.experts.couplings.interface:Interface",
            "experts on blocks, tied at the faces, solved jointly",
        ),
        "windows": Entry(
            "pinnx.solvers.experts.couplings.windows:Windows",
            "experts that blend by a smooth partition of unity, solved jointly",
        ),
        "gated": Entry(
            "pinnx.solvers.experts.couplings.gated:Gated", "soft top-k gating by the distance of blocks, solved jointly"
        ),
    },
    "resampling": {
        "uniform": Entry("pinnx.solvers.sampling.uniform:Uniform", "fresh points from the domain's own law"),
        "rad": Entry("pinnx.solvers.sampling.rad:Rad", "all points anew, more where the residual is large"),
        "rar-d": Entry("pinnx.solvers.sampling.rar_d:RarD", "points are added where the residual is large"),
        "r3": Entry("pinnx.solvers.sampling.r3:R3", "points with large residuals stay, the others are drawn anew"),
        "importance": Entry(
            "pinnx.solvers.sampling.importance:Importance",
            "more points where the residual is large, with weights that keep the loss unbiased",
        ),
        "aas": Entry(
            "pinnx.solvers.sampling.generative:Aas", "a normalizing flow moves the points against the network (min-max)"
        ),
        "das": Entry(
            "pinnx.solvers.sampling.generative:Das", "a normalizing flow fitted to the density of the squared residual"
        ),
    },
    "weighting": {
        "causal": Entry("pinnx.solvers.weighting.causal:Causal", "earlier times first"),
        "gradient-norm": Entry(
            "pinnx.solvers.weighting.gradient_norm:GradientNorm",
            "soft conditions whose gradients are as long as the equation's",
        ),
        "self-adaptive": Entry(
            "pinnx.solvers.weighting.self_adaptive:SelfAdaptive", "weights of soft conditions that climb the loss"
        ),
    },
    "systems": {
        "equation": Entry("pinnx.solvers.linear.systems:EquationSystem", "the case's linear equation on a grid"),
        "files": Entry("pinnx.solvers.linear.systems:FileSystem", "a matrix and right-hand sides from files"),
        "random-systems": Entry(
            "pinnx.solvers.linear.directions.problems:RandomSystems",
            "random systems on a grid: obstacles, mixed walls, jumps of the coefficient",
        ),
    },
    "directions": {
        "identity": Entry("pinnx.solvers.linear.preconditioners.simple:Identity", "the residual: conjugate gradients"),
        "jacobi": Entry("pinnx.solvers.linear.preconditioners.simple:Jacobi", "the residual over the diagonal"),
        "incomplete-cholesky": Entry(
            "pinnx.solvers.linear.preconditioners.incomplete_cholesky:IncompleteCholesky",
            "incomplete Cholesky factorization without fill-in, by ilupp",
        ),
        "multigrid": Entry(
            "pinnx.solvers.linear.preconditioners.multigrid:Multigrid", "a geometric multigrid cycle, on grids"
        ),
        "algebraic-multigrid": Entry(
            "pinnx.solvers.linear.preconditioners.algebraic_multigrid:AlgebraicMultigrid",
            "an algebraic multigrid cycle, by PyAMG",
        ),
        "sine-transform": Entry(
            "pinnx.solvers.linear.preconditioners.sine_transform:SineTransform",
            "the exact inverse of a box with a constant coefficient",
        ),
        "petsc": Entry("pinnx.solvers.linear.preconditioners.petsc:PetscPreconditioner", "a preconditioner of PETSc"),
        "trained": Entry("pinnx.solvers.linear.directions.trained:Trained", "a trained direction, from its file"),
    },
    "direction-networks": {
        "v-cycle": Entry(
            "pinnx.solvers.linear.directions.vcycle:VCycle",
            "learned symmetric V-cycle: sees obstacles and coefficients, any grid",
        ),
        "dcdm": Entry(
            "pinnx.solvers.linear.directions.dcdm:Dcdm", "the published network of deep conjugate directions"
        ),
        "u-net": Entry("pinnx.solvers.linear.directions.unet:UNet", "U-Net with ReLU and without biases"),
        "linear-u-net": Entry("pinnx.solvers.linear.directions.unet:LinearUNet", "U-Net without ReLU: a linear map"),
    },
    "samples": {
        "random-systems": Entry(
            "pinnx.solvers.linear.directions.random_samples:RandomSamples",
            "many random systems, with errors of every wavelength",
        ),
        "ritz": Entry(
            "pinnx.solvers.linear.directions.ritz:RitzSamples",
            "combinations of the Ritz vectors of one matrix, as published",
        ),
    },
    "loggers": {
        "tensorboard": Entry("pinnx.loggers.tensorboard:TensorBoard", "TensorBoard: event files in the run directory"),
        "mlflow": Entry("pinnx.loggers.mlflow:Mlflow", "MLflow: a database in the run directory, or a server"),
        "wandb": Entry("pinnx.loggers.wandb:Wandb", "Weights & Biases: offline, to be sent later, or online"),
    },
}
"""family -> name -> entry, for what pinnx ships; `entries` adds what other packages register."""
