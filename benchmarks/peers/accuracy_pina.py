"""A row of the accuracy table in PINA: Adam on mini-batches, then L-BFGS on a set that stays, in float64."""

from __future__ import annotations

import contextlib
import sys
import warnings

import accuracy_task
import lightning
import torch
from pina import Condition, LabelTensor, Trainer
from pina.equation import Equation
from pina.model import FeedForward
from pina.operator import grad, laplacian
from pina.optim import TorchOptimizer
from pina.problem import BaseProblem
from pina.solver import PhysicsInformedSingleModelSolver

ACTIVATIONS = {"tanh": torch.nn.Tanh, "swish": torch.nn.SiLU, "gelu": torch.nn.GELU}
#: Points that mini-batches are taken from, as a multiple of a batch.
POOL = 20


class Watch(lightning.pytorch.callbacks.Callback):
    """Tells the clock when a step is done, and stops training when its time is spent."""

    def __init__(self, clock: accuracy_task.Clock, share: float):
        self.clock, self.share = clock, share

    def on_train_start(self, trainer, solver) -> None:
        """Setting up is over."""
        self.clock.start()

    def on_train_batch_end(self, trainer, solver, outputs, batch, index) -> None:
        """A step is done."""
        self.clock.tick()
        trainer.should_stop = self.clock.over(self.share)

    def on_train_end(self, trainer, solver) -> None:
        """Do not count what comes after."""
        self.clock.stop()


class Trial(torch.nn.Module):
    """The trial solution around PINA's own network."""

    def __init__(self, task: accuracy_task.Task):
        super().__init__()
        spec = task.row.network
        layers = [spec.width] * spec.depth
        self.task, self.scale = task, spec.input_scale
        self.network = FeedForward(task.columns, 1, layers=layers, func=ACTIVATIONS[spec.activation])
        for layer in self.network.model:
            if isinstance(layer, torch.nn.Linear):  # as everybody else starts
                torch.nn.init.xavier_normal_(layer.weight)
                torch.nn.init.zeros_(layer.bias)

    def forward(self, x):
        """U at points (n, D), labelled."""
        plain = x.as_subclass(torch.Tensor)
        u = self.task.trial(plain, self.network(self.scale * plain))
        return LabelTensor(u, ["u"])


def main() -> None:
    task = accuracy_task.ask()
    network = Trial(task).double()

    def predict(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return network(LabelTensor(x, _names(task))).as_subclass(torch.Tensor)

    clock = accuracy_task.Clock(task.budget, lambda: task.error(predict))
    adam = TorchOptimizer(torch.optim.Adam, lr=accuracy_task.ADAM_RATE)
    row = task.row
    batch = row.first_order_points + len(task.problem.conditions) * row.first_order_condition_points
    _train(task, network, adam, clock, accuracy_task.ADAM_SHARE, POOL, batch)
    options = {"max_iter": 20, "history_size": accuracy_task.HISTORY, "tolerance_grad": 0.0, "tolerance_change": 0.0}
    lbfgs = TorchOptimizer(torch.optim.LBFGS, lr=1.0, line_search_fn="strong_wolfe", **options)
    _train(task, network, lbfgs, clock, 1.0, accuracy_task.FIXED_FACTOR, None)
    parameters = sum(each.numel() for each in network.parameters())
    accuracy_task.report("pina-mathlab", clock, task.error(predict), parameters, "done")


def _names(task: accuracy_task.Task) -> list[str]:
    return [f"x{i}" for i in range(task.dimension)] + ["t"] * task.timed


def _train(
    task: accuracy_task.Task,
    network: Trial,
    optimizer: TorchOptimizer,
    clock: accuracy_task.Clock,
    share: float,
    factor: int,
    batch_size: int | None,
) -> None:
    names = _names(task)

    def equation(points, output):
        plain, u = points.as_subclass(torch.Tensor), output.as_subclass(torch.Tensor)
        return accuracy_task.residual(
            task,
            plain,
            u,
            lambda: laplacian(output, points, components=["u"], d=names[: task.dimension]).as_subclass(torch.Tensor),
            lambda: grad(output, points).as_subclass(torch.Tensor),
        )

    stated = {"residual": Condition(input=LabelTensor(task.interior(factor), names), equation=Equation(equation))}
    for index, (points, values) in enumerate(task.boundary(factor)):
        target = LabelTensor(values, ["u"])
        stated[f"condition{index}"] = Condition(input=LabelTensor(points, names), target=target)

    class Problem(BaseProblem):
        output_variables = ["u"]
        input_variables = names
        conditions = stated

    solver = PhysicsInformedSingleModelSolver(Problem(), network, optimizer=optimizer)
    trainer = Trainer(
        solver,
        batch_size=batch_size,
        batching_mode="proportional" if batch_size else "common_batch_size",
        accelerator="cpu",
        callbacks=[Watch(clock, share)],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=False,
        max_epochs=-1,
        min_epochs=0,
    )
    trainer.train()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(sys.stderr):
        import logging

        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    main()
