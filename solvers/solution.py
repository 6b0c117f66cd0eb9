"""A solution: the trial function of a trained network, callable on NumPy arrays and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from torch import Tensor

from pinnx.errors import InputError, ShapeError
from pinnx.expr import Points
from pinnx.networks.base import Network, NetworkSpec
from pinnx.problem import Equation, Problem
from pinnx.solvers.derivatives.auto import Auto
from pinnx.solvers.errors import CHUNK_ELEMENTS, Errors, TestSet, baselines
from pinnx.solvers.system import ResidualSystem, trial_values
from pinnx.status import Status
from pinnx.views.fields import field_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Seed of the test points, the same for every run, so that errors of different runs compare.
TEST_SEED = 715_203_871


class Answer:
    """What a training comes to: a `Solution`, or what another kind of solver makes.

    Attributes:
        status: how the training ended, where it came from one.
        history: metrics by name, one value per row, where the training kept them.
    """

    status: Status | None = None
    history: Mapping[str, np.ndarray] = MappingProxyType({})


@final
class Solution(Answer):
    """The approximate solution of a problem.

    Args:
        problem: the problem that it solves.
        network: the trained network.
        spec: the options that the network was built from, for `save`.

    Attributes:
        status: how the training ended, where it came from one.
        history: metrics by name, one value per row, where the training kept them.
        collocation: the last points of the training (n, D), where these were chosen by the residual or weighed.
        collocation_weights: their weights (n,), where they have any.
    """

    collocation: np.ndarray | None = None
    collocation_weights: np.ndarray | None = None

    def __init__(self, problem: Problem, network: Network, spec: NetworkSpec | None = None):
        self.problem, self.network, self.spec = problem, network, spec
        parameter = next(network.parameters())
        self.dtype, self.device = parameter.dtype, parameter.device

    def __call__(self, points: Any) -> Any:
        """Values at points (n, D), columns in the order of `problem.domain.coordinates`.

        Args:
            points: NumPy array, tensor or `Points`; one point (D,) is accepted too.

        Returns:
            (n,), or (n, m) for m unknowns; an array for an array, else a tensor.

        Raises:
            ShapeError: the points have another number of columns than the problem has coordinates.
        """
        tensor = points.tensor if isinstance(points, Points) else torch.as_tensor(points)
        single = tensor.ndim == 1
        values = self.values(self._points(tensor[None] if single else tensor))
        values = values[:, 0] if values.shape[1] == 1 else values
        values = values[0] if single else values
        return values.cpu().numpy() if isinstance(points, np.ndarray) else values

    @torch.no_grad()
    def values(self, points: Points) -> Tensor:
        """Values (n, m) at points, in chunks that fit in memory."""
        points = points.to(device=self.device, dtype=self.dtype)
        size = max(1, CHUNK_ELEMENTS // points.tensor.shape[1])
        parts = [
            trial_values(self.problem, self.network, points.rows(slice(start, start + size)))
            for start in range(0, len(points), size)
        ]
        return torch.cat(parts)

    def residual(self, points: Any) -> Any:
        """The equation's residual, with exact derivatives: (n,), or (n, e) for a system of e equations."""
        tensor = points.tensor if isinstance(points, Points) else torch.as_tensor(points)
        system = ResidualSystem(self.problem, self.network, Auto())
        batch = self._points(tensor).to(device=self.device, dtype=self.dtype)
        with torch.no_grad():
            columns = system.residual_values(batch, torch.Generator(self.device))
        values = torch.stack([column.detach() for column in columns], dim=1)
        values = values[:, 0] if values.shape[1] == 1 else values
        return values.cpu().numpy() if isinstance(points, np.ndarray) else values

    def error(self, count: int | None = None, seed: int = TEST_SEED) -> Errors | None:
        """Errors against the exact solution on test points, or None where none is known.

        Args:
            count: number of test points, if not the problem's.
            seed: of the test points; the default is the one that runs report.
        """
        return TestSet(self.problem, seed, self.device, count).errors(self.values)

    def baselines(self, count: int | None = None, seed: int = TEST_SEED) -> dict[str, Errors | None]:
        """Errors of the trivial answers f = 0, best constant and best affine f, on the same points as `error`."""
        return baselines(TestSet(self.problem, seed, self.device, count))

    def plot(self, path: Path | str | None = None) -> Figure:
        """The solution, the reference where one is known, and their difference.

        A domain of at most two coordinates is shown whole, another one on the plane of its first two through its
        center; a domain of one coordinate as a line.

        Args:
            path: where to write the figure, as PNG, PDF or SVG by its ending; by default nowhere.

        Returns:
            A matplotlib figure; notebooks show it.

        Raises:
            InputError: the file cannot be written in that format.
        """
        from pinnx.views.figures import solution_figure, style  # matplotlib is slow to import, and rarely needed

        with style():
            figure = solution_figure(field_of(self))
            if path is not None:
                try:
                    figure.savefig(path, dpi=200)
                except (ValueError, OSError) as error:
                    raise InputError(f"cannot write the figure ({error})", file=path) from None
        return figure

    def save(self, path: Path | str) -> None:
        """Write the solution to one file: equation, network options and parameters.

        Raises:
            InputError: the network was not built from options.
        """
        if self.spec is None:
            raise InputError("this solution's network was not built from a network spec and cannot be saved")
        content = {"equation": self.problem.equation, "spec": self.spec, "dtype": self.dtype}
        torch.save({**content, "network": self.network.state_dict()}, path)

    @classmethod
    def load(cls, path: Path | str) -> Solution:
        """Read a solution written by `save`. The file may run code when it is loaded: load only files you trust.

        Raises:
            InputError: the file is missing or holds something else.
        """
        try:
            content: Mapping[str, Any] = torch.load(path, weights_only=False, map_location="cpu")
            equation: Equation = content["equation"]
            spec: NetworkSpec = content["spec"]
            state = content["network"]
        except FileNotFoundError:
            raise InputError("no such file", file=path) from None
        except Exception as error:
            raise InputError(f"not a solution written by Solution.save ({error})", file=path) from error
        problem = equation.problem()
        network = build_network(problem, spec, seed=0, dtype=content["dtype"], device=torch.device("cpu"))
        network.load_state_dict(state)
        return cls(problem, network, spec)

    def _points(self, tensor: Tensor) -> Points:
        coordinates = self.problem.domain.coordinates
        if tensor.ndim != 2 or tensor.shape[1] != coordinates.total:
            shown = ", ".join(coordinates.labels()[:6]) + (", …" if coordinates.total > 6 else "")
            raise ShapeError(
                f"points must have shape (n, {coordinates.total}), columns {shown}; got {tuple(tensor.shape)}"
            )
        return Points(tensor, coordinates)


def build_network(
    problem: Problem, spec: NetworkSpec, *, seed: int, dtype: torch.dtype, device: torch.device
) -> Network:
    """The freshly initialised network of a problem; the same seed gives the same one."""
    generator = torch.Generator(device).manual_seed(seed)
    inputs, outputs = problem.domain.coordinates.total, len(problem.equation.unknowns)
    return spec.build(inputs, outputs, generator=generator, dtype=dtype).to(device)
