"""What the small cases of several rooms have in common."""

#: Tables of a case; further keys of the solver may follow.
POISSON = """\
[equation]
name = "poisson"
dimension = 2
[network]
kind = "mlp"
width = 6
depth = 2
[solver]
kind = "pinn"
points = 8
condition_points = 8
"""
