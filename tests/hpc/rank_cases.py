"""The cases that several processes train together and one alone, by name."""

from __future__ import annotations

CASE = """
seed = 52_361
device = "cpu"
[equation]
name = "{equation}"
dimension = 4
[network]
kind = "mlp"
width = 16
depth = 2
[solver]
kind = "pinn"
{steps}
points = 37
condition_points = 13
precision = "float64"
evaluate_every = 1000
{solver}
"""

SMOOTHING = '[solver.derivatives]\nkind = "smoothing"\nsamples = 8\nsigma = 0.05\n'
SPRING, ENGD = ('[solver.optimizer]\nkind = "' + kind + '"\n' for kind in ("spring", "engd"))
#: Scenarios with this in their names have 45 parameters and 97 points: fewer parameters than rows.
FEW = "few parameters"
STAGES = '[[solver.stage]]\nsteps = 20\n[[solver.stage]]\nsteps = 8\noptimizer.kind = "spring"'
SCENARIOS: dict[str, tuple[str, str, int]] = {
    "adam": ("allen-cahn", "", 60),
    "adam, soft conditions": ("poisson", "", 60),
    "clipped": ("allen-cahn", "clip_gradient = 0.5", 30),
    "sobol points": ("allen-cahn", 'sampling = "sobol"', 30),
    "lbfgs": ("allen-cahn", '[solver.optimizer]\nkind = "lbfgs"\niterations = 5', 4),
    "ssbroyden": ("allen-cahn", '[solver.optimizer]\nkind = "ssbroyden"', 10),
    "rad": ("allen-cahn", 'resample_every = 6\n[solver.resampling]\nkind = "rad"\npool = 4', 30),
    "importance, weights": (
        "poisson",
        '[solver.resampling]\nkind = "importance"\n[[solver.weighting]]\nkind = "gradient-norm"\nevery = 7',
        30,
    ),
    "smoothing, differences": ("allen-cahn", SMOOTHING + 'correction = "unbiased-loss"', 40),
    "smoothing, stein": ("allen-cahn", SMOOTHING + 'weights = "stein"\ncorrection = "biased"', 40),
    "smoothing, hybrid": ("allen-cahn", SMOOTHING + "switch_at = 15", 40),
    "hutchinson": ("allen-cahn", '[solver.derivatives]\nkind = "hutchinson"\nsamples = 4\ncorrection = "biased"', 40),
    "engd": ("allen-cahn", ENGD, 12),
    "spring": ("allen-cahn", SPRING, 20),
    "spring, soft conditions": ("poisson", SPRING, 12),
    "spring, no search": ("allen-cahn", SPRING + 'search = "none"\nlearning_rate = 0.05', 20),
    "spring, gradients": ("hjb-lqg", SPRING, 12),
    "spring, dense": ("allen-cahn", SPRING + '[solver.derivatives]\nkind = "autodiff"', 12),
    # what the parameters' normal equations leave undetermined drifts by rounding errors over the damping
    f"spring, {FEW}": ("allen-cahn", SPRING + "damping = 1e-6", 12),
    f"spring, soft conditions, {FEW}": ("poisson", SPRING + "damping = 1e-6", 12),
    f"spring, dense, {FEW}": (
        "allen-cahn",
        SPRING + 'damping = 1e-6\n[solver.derivatives]\nkind = "autodiff"',
        12,
    ),
    f"engd, {FEW}": ("allen-cahn", ENGD, 12),
    f"engd, trust, {FEW}": ("allen-cahn", ENGD + 'search = "trust"', 12),
    "adam, then spring": ("allen-cahn", STAGES, 28),
    "sdgd": ("allen-cahn", '[solver.derivatives]\nkind = "sdgd"\nsamples = 2\ncorrection = "biased"', 40),
}
FAMILY = """
seed = 52_361
device = "cpu"
[equation]
name = "tests.constrained.toy_family:Ring"
steepening = 0.4
[network]
kind = "fno"
width = 6
modes = 3
layers = 2
projection = 8
[solver]
kind = "hard-constraint"
basis = 5
steps = 10
blocks = [2, 1]
instances_per_step = 5
test_instances = 2
evaluate_every = 1000
"""
ONE_PROBLEM = """
seed = 52_361
device = "cpu"
[equation]
name = "burgers-1d"
viscosity = 0.1
constraints = "soft"
[network]
kind = "mlp"
width = 10
depth = 2
[solver]
kind = "hard-constraint"
basis = 8
steps = 10
points = 40
condition_points = 13
loss_points = 31
evaluate_every = 1000
"""
#: Hard constraints: the case, the instances of each step that nothing solves, and how many more evaluations of the
#: network a step has on two processes: of the constraint's points by both, and none again of a share with nothing bad.
CONSTRAINED: dict[str, tuple[str, list[int], int]] = {
    "instances, windows": (FAMILY + 'method = "mixture"', [], 0),
    "instances, interface": (FAMILY + 'method = "mixture"\ncoupling.kind = "interface"\nconstraint_nodes = 40', [], 0),
    "instances, soft": (FAMILY + 'method = "soft"', [], 0),
    # few steps: a search for the step length multiplies rounding errors
    "instances, lbfgs": (FAMILY.replace("steps = 10", "steps = 2") + 'optimizer.kind = "lbfgs"', [], 0),
    "instances, one left out": (FAMILY + "clip_gradient = 0.5", [3], -2),
    "instances, a whole share left out": (FAMILY, [0, 1], -3),
    "one problem": (ONE_PROBLEM, [], 40 + 2 * 13),
}
#: Options of smoothing with its samples split: one group, several, many, and Stein's weights in groups of two or more.
SAMPLES = {
    "biased": 'correction = "biased"',
    "two groups": 'correction = "unbiased-loss"',
    "many groups": 'law = "rademacher"\ncorrection = "unbiased"',
    "hybrid": "switch_at = 15",
    "stein": 'weights = "stein"\ncorrection = "biased"',
}
MISTAKES = (
    "means of means",
    "noise of its own",
    "a direction of its own",
    "normal equations of its own",
    "shares that overlap",
)
#: Equation, derivatives, width: layer by layer with and without the first layer's basis, and from the whole Jacobian.
PRODUCTS = (
    ("allen-cahn", "taylor", 8),
    ("allen-cahn", "taylor", 64),
    ("hjb-lqg", "taylor", 8),
    ("poisson", "taylor", 16),
    ("poisson", "autodiff", 8),
)
