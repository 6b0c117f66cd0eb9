"""The step in PINA, written as its documentation writes a problem with one equation."""

from __future__ import annotations

import contextlib
import sys
import warnings

import lightning
import task
import torch
from pina import Condition, LabelTensor, Trainer
from pina.equation import Equation
from pina.model import FeedForward
from pina.operator import laplacian
from pina.optim import TorchOptimizer
from pina.problem import BaseProblem
from pina.solver import PhysicsInformedSingleModelSolver


class Watch(lightning.pytorch.callbacks.Callback):
    """Tells the clock where a step begins and ends; what Lightning does around it does not count."""

    def __init__(self, clock: task.Clock):
        self.clock, self.first_loss = clock, float("nan")

    def on_train_start(self, trainer, solver) -> None:
        """Setting up is over."""
        self.clock.reset()

    def on_train_batch_start(self, trainer, solver, batch, index) -> None:
        """A step begins."""
        self.clock.start()

    def on_train_batch_end(self, trainer, solver, outputs, batch, index) -> None:
        """A step is done."""
        self.clock.stop()
        if self.first_loss != self.first_loss:
            self.first_loss = float(outputs["loss"])
        trainer.should_stop = self.clock.over


def residual(points, output):
    return laplacian(output, points, components=["u"]) + output - output**3


def main() -> None:
    asked = task.arguments()
    names = [f"x{i}" for i in range(asked.dimension)]

    class Problem(BaseProblem):
        output_variables = ["u"]
        input_variables = names
        conditions = {
            "residual": Condition(
                input=LabelTensor(task.draw_points(asked.dimension), names), equation=Equation(residual)
            )
        }

    network = FeedForward(asked.dimension, 1, layers=[task.WIDTH] * task.DEPTH, func=torch.nn.Tanh)
    task.fill([layer for layer in network.layers if isinstance(layer, torch.nn.Linear)], asked.dimension)
    adam = TorchOptimizer(torch.optim.Adam, lr=task.LEARNING_RATE)
    solver = PhysicsInformedSingleModelSolver(Problem(), network, optimizer=adam)
    watch = Watch(task.Clock(asked.seconds))
    with contextlib.redirect_stdout(sys.stderr):
        trainer = Trainer(
            solver,
            accelerator="cpu",
            callbacks=[watch],
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            logger=False,
            max_epochs=-1,
            min_epochs=0,
        )
        trainer.train()
    task.report("pina-mathlab", asked.dimension, watch.first_loss, watch.clock)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
