"""The step in DeepXDE with its PyTorch backend, written as its documentation writes high-dimensional problems."""

from __future__ import annotations

import contextlib
import os
import sys

os.environ["DDE_BACKEND"] = "pytorch"

import task

with contextlib.redirect_stdout(sys.stderr):  # it announces its backend
    import deepxde as dde


class Watch(dde.callbacks.Callback):
    """Tells the clock where DeepXDE's own training loop begins and ends a step."""

    def __init__(self, clock: task.Clock):
        super().__init__()
        self.clock = clock

    def on_train_begin(self) -> None:
        """The loss has been evaluated once by now: that does not count."""
        self.clock.reset()

    def on_batch_begin(self) -> None:
        """A step begins."""
        self.clock.start()

    def on_batch_end(self) -> None:
        """A step is done."""
        self.clock.stop()
        self.model.stop_training = self.clock.over


def main() -> None:
    asked = task.arguments()

    def residual(x, u):
        laplacian = sum(dde.grad.hessian(u, x, i=i, j=i) for i in range(asked.dimension))
        return laplacian + u - u**3

    geometry = dde.geometry.Hypersphere([0.0] * asked.dimension, 2.0)
    data = dde.data.PDE(geometry, residual, [], num_domain=0, anchors=task.draw_points(asked.dimension).numpy())
    network = dde.nn.FNN([asked.dimension, *[task.WIDTH] * task.DEPTH, 1], "tanh", "Glorot normal")
    task.fill(network.linears, asked.dimension)
    model = dde.Model(data, network)
    clock = task.Clock(asked.seconds)
    with contextlib.redirect_stdout(sys.stderr):
        model.compile("adam", lr=task.LEARNING_RATE)
        history, _ = model.train(10**9, display_every=10**9, callbacks=[Watch(clock)], verbose=0)
    task.report("deepxde", asked.dimension, float(history.loss_train[0][0]), clock)


if __name__ == "__main__":
    main()
