"""A row of the accuracy table in DeepXDE with its PyTorch backend: Adam, then its L-BFGS, in float64."""

from __future__ import annotations

import contextlib
import os
import sys

os.environ["DDE_BACKEND"] = "pytorch"

import accuracy_task
import numpy as np
import torch

with contextlib.redirect_stdout(sys.stderr):  # it announces its backend
    import deepxde as dde


class Cloud(dde.geometry.geometry.Geometry):
    """A domain that is known by the law of its points."""

    def __init__(self, task: accuracy_task.Task):
        self.task, self.factor = task, 1
        sample = task.interior().numpy()
        super().__init__(task.columns, (sample.min(0), sample.max(0)), 1.0)

    def inside(self, x):
        """DeepXDE asks for points of its own only."""
        return np.ones(len(x), dtype=bool)

    def on_boundary(self, x):
        """Conditions have point sets of their own."""
        return np.zeros(len(x), dtype=bool)

    def random_points(self, n, random="pseudo"):
        """Points of the law; `n` is what this domain was told."""
        return self.task.interior(self.factor).numpy()

    def random_boundary_points(self, n, random="pseudo"):
        """None."""
        return np.empty((0, self.task.columns))


class Watch(dde.callbacks.Callback):
    """Tells the clock when a step is done, and stops training when its time is spent."""

    def __init__(self, clock: accuracy_task.Clock, share: float):
        super().__init__()
        self.clock, self.share = clock, share

    def on_train_begin(self) -> None:
        """Compiling and setting up do not count."""
        self.clock.start()

    def on_batch_end(self) -> None:
        """A step is done."""
        self.clock.tick()
        self.model.stop_training = self.clock.over(self.share)

    def on_train_end(self) -> None:
        """Do not count what comes after."""
        self.clock.stop()


def main() -> None:
    task = accuracy_task.ask()
    dde.config.set_default_float("float64")
    dde.config.set_random_seed(task.seed)
    network = _network(task)

    def predict(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return network(x)

    clock = accuracy_task.Clock(task.budget, lambda: task.error(predict))
    end = "done"
    for phase in ("adam", "lbfgs"):
        data = _data(task, 1 if phase == "adam" else accuracy_task.FIXED_FACTOR)
        model = dde.Model(data, network)
        if phase == "adam":
            watches = [Watch(clock, accuracy_task.ADAM_SHARE)]
            watches.append(dde.callbacks.PDEPointResampler(accuracy_task.RESAMPLE_EVERY, bc_points=True))
            model.compile("adam", lr=accuracy_task.ADAM_RATE)
            model.train(10**9, display_every=10**9, callbacks=watches, verbose=0)
        else:
            dde.optimizers.set_LBFGS_options(maxcor=accuracy_task.HISTORY, ftol=0, gtol=0, maxiter=10**6)
            dde.optimizers.config.LBFGS_options["iter_per_step"] = 20
            model.compile("L-BFGS")
            model.train(display_every=10**9, callbacks=[Watch(clock, 1.0)], verbose=0)
            if not clock.over():
                end = f"L-BFGS ended after {clock.spent:.0f} s"
    parameters = sum(each.numel() for each in network.parameters())
    accuracy_task.report("deepxde", clock, task.error(predict), parameters, end)


def _network(task: accuracy_task.Task):
    spec = task.row.network
    layers = [task.columns, *[spec.width] * spec.depth, 1]
    network = dde.nn.FNN(layers, spec.activation, "Glorot normal")
    network.apply_feature_transform(lambda x: spec.input_scale * x)
    network.apply_output_transform(task.trial)
    return network


def _data(task: accuracy_task.Task, factor: int):
    geometry = Cloud(task)
    geometry.factor = factor

    def equation(x, u):
        return accuracy_task.residual(
            task,
            x,
            u,
            lambda: sum(dde.grad.hessian(u, x, i=i, j=i) for i in range(task.dimension)),
            lambda: dde.grad.jacobian(u, x, i=0),
        )

    conditions = []
    for points, values in task.boundary(factor if factor > 1 else 20):
        batch = None if factor > 1 else task.row.first_order_condition_points
        conditions.append(dde.icbc.PointSetBC(points.numpy(), values.numpy(), batch_size=batch))
    return dde.data.PDE(geometry, equation, conditions, num_domain=factor * task.row.first_order_points)


if __name__ == "__main__":
    main()
