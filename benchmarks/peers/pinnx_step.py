"""The step in pinnx; besides, the work on its first layer alone, and the cost of drawing fresh points."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import task
import torch

from pinnx.domain import Ball, UserDomain
from pinnx.expr import Coordinates, Unknown, laplacian
from pinnx.networks import Mlp, MlpNetwork
from pinnx.problem import Equation, Problem
from pinnx.solvers.derivatives import Taylor
from pinnx.solvers.pinn import Pinn
from pinnx.solvers.training import Adam


@dataclass(frozen=True)
class AllenCahnAtPoints(Equation):
    """Δu + u − u³ at the common points."""

    dimension: int

    def residual(self, u: Unknown):
        return laplacian(u) + u - u**3

    def problem(self) -> Problem:
        points, bounds = task.draw_points(self.dimension), (1.0,) * self.dimension
        coordinates = Coordinates.of(x=self.dimension)
        return Problem(self, UserDomain(coordinates, lambda n, g: points, tuple(-b for b in bounds), bounds))


class FirstLayer:
    """What a step does with the first layer's weight W and the points X, and nothing else.

    Forward X Wᵀ and, for the Laplacian, W Wᵀ (without it where the dimension is below the width); backward their
    products; the norm of the gradient; Adam on W. Its size does not depend on the equation.
    """

    def __init__(self, dimension: int):
        (weight, bias), *_ = task.draw_layers(dimension)
        self.points, self.bias = task.draw_points(dimension), bias
        self.weight = torch.nn.Parameter(weight)
        self.upstream = torch.ones(task.POINTS, task.WIDTH)
        self.adam = torch.optim.AdamW([self.weight], lr=task.LEARNING_RATE, fused=True)
        self.gram = dimension > task.WIDTH

    @cached_property
    def upstream_gram(self) -> torch.Tensor:
        """Stands for the gradient with respect to the factor of W Wᵀ."""
        return torch.ones(task.WIDTH, task.WIDTH)

    @torch.no_grad()
    def step(self) -> None:
        """The work of one step."""
        torch.nn.functional.linear(self.points, self.weight, self.bias)
        gradient = self.upstream.T @ self.points
        if self.gram:
            self.weight @ self.weight.T
            gradient += self.upstream_gram @ self.weight
        torch.nn.utils.get_total_norm([gradient])
        self.weight.grad = gradient
        self.adam.step()


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    asked = task.arguments()
    solver = Pinn(
        points=task.POINTS,
        resample_every=0,  # the common points, in every step
        derivatives=Taylor(),
        optimizer=Adam(learning_rate=task.LEARNING_RATE),
    )
    network = Mlp(width=task.WIDTH, depth=task.DEPTH)
    problem = AllenCahnAtPoints(asked.dimension).problem()
    training = solver.start(problem, network, seed=task.SEED, device=torch.device("cpu"))
    assert isinstance(training.network, MlpNetwork)
    task.fill([training.network.first, *training.network.hidden, training.network.last], asked.dimension)

    first_layer = FirstLayer(asked.dimension)
    generator = torch.Generator().manual_seed(task.SEED)
    losses, alone, drawing = [], [], []
    clock = task.Clock(asked.seconds)
    while not clock.over:
        clock.start()
        losses.append(training.step()["loss"])
        clock.stop()
        alone.append(timed(first_layer.step))
        drawing.append(timed(lambda: Ball(asked.dimension).sample(task.POINTS, generator, dtype=torch.float32)))
    count = len(clock.seconds)  # the others were taken beside these steps
    task.report(
        "pinnx",
        asked.dimension,
        losses[0],
        clock,
        first_layer_seconds=task.rounded(alone[-count:]),
        drawing_seconds=task.rounded(drawing[-count:]),
    )


if __name__ == "__main__":
    main()
