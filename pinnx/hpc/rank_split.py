"""How a step's work is split over the processes of a job.

Every process holds the whole training, draws the same points from the same seed and moves its parameters alike; only
the evaluation of the loss, of its gradient and of the residuals' Jacobian is divided.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import Parameter

from pinnx.errors import InputError, UnsupportedError
from pinnx.expr import Points
from pinnx.hpc.gram import whole
from pinnx.hpc.meeting import Meeting
from pinnx.hpc.ranks import Ranks
from pinnx.hpc.samples import SharedDraw, smallest_share
from pinnx.solvers.base import Training
from pinnx.solvers.constrained.outer import OuterTraining
from pinnx.solvers.loss import SampledLoss
from pinnx.solvers.natural import Linearization
from pinnx.solvers.pinn import PinnTraining
from pinnx.solvers.split import Split
from pinnx.solvers.training.stages import Leg

Divisible = PinnTraining | OuterTraining
"""The trainings whose steps can be shared."""


@final
class RankSplit(Split):
    """This process's share of each step.

    Args:
        ranks: this process among the others, with which it has joined.

    Attributes:
        meeting: of this process with the others.
    """

    def __init__(self, ranks: Ranks):
        self.ranks, self.meeting = ranks, Meeting(ranks)
        self._own_noise: torch.Generator | None = None
        self._own_samples = self._samples = False
        self._unit = "points"

    def begin(self, training: Divisible, state: dict[str, Any] | None = None) -> bytes:
        """Meet the others before the first step; see `Meeting.begin`."""
        return self.meeting.begin(state, gpu=_gpu(training.device))

    def adopt(self, training: Training) -> Divisible:
        """Take over the steps of a training.

        Raises:
            UnsupportedError: it cannot be split.
            InputError: it has too few points.
        """
        if isinstance(training, OuterTraining):
            self._share_batch(training)
        elif isinstance(training, PinnTraining):
            self._share_steps(training)
        else:
            raise UnsupportedError(
                f"{type(training).__name__} cannot be split over processes; start it on one, or use the solver 'pinn' "
                "or 'hard-constraint'"
            )
        if training.device.type == "cuda":
            torch.cuda.set_device(training.device)
        training.split = self
        return training

    def _share_batch(self, training: OuterTraining) -> None:
        """Raises InputError where there is too little to share."""
        for unit, size in training.batch_sizes.items():
            if size < self.ranks.count:
                raise InputError(
                    f"{self.ranks.count} processes cannot share {size} {unit.replace('_', ' ')} of a step; use more of "
                    "them, or fewer processes"
                )
        self._unit = " and ".join(unit.replace("_", " ") for unit in training.batch_sizes)
        self.meeting.announces = True
        self.meeting.blank = training.trainable[0].new_zeros(training.parameters + 1)

    def _share_steps(self, training: PinnTraining) -> None:
        conditions, estimator, parameters = training.problem.conditions, training.system.estimator, training.trainable
        natural = any(leg.optimizer.needs == "residuals" for leg in training.legs)
        if not self._shares_points(training.legs, soft=bool(conditions)):
            self._split_samples(training, natural=natural)
        per_point = getattr(estimator, "noise", "shared") == "per-point"
        self._own_samples = per_point or self._samples or (natural and estimator.stochastic)
        self.meeting.announces = natural or self._samples
        terms = len(training.loss.names) + len(conditions)
        # gradients, terms of the loss, number of processes that leave
        self.meeting.blank = parameters[0].new_zeros(sum(p.numel() for p in parameters) + terms + 1)

    def _shares_points(self, legs: Sequence[Leg], *, soft: bool) -> bool:
        """Whether every process gets points; two for natural gradients, which tells inputs that all points share."""
        return all(
            (min(leg.points, leg.condition_points) if soft else leg.points)
            >= self.ranks.count * (2 if leg.optimizer.needs == "residuals" else 1)
            for leg in legs
        )

    def _split_samples(self, training: PinnTraining, *, natural: bool) -> None:
        """Split samples instead of points; raises InputError where that is impossible, too."""
        loss, count = training.loss, self.ranks.count
        least = min(min(leg.points, leg.condition_points) for leg in training.legs)
        each = ", two for each with natural gradients" if natural else ""
        sentence = f"{count} processes cannot share {least} points{each}; use more points or fewer processes"
        if natural or not isinstance(loss, SampledLoss):
            raise InputError(sentence)
        for squared in loss.drawing:
            sizes = [squared.groups(phase, training.network) for phase in loss.phases]
            if min(smallest_share(each, self.meeting) for each in sizes) < loss.estimator.smallest_group:
                raise InputError(f"{sentence}, or more samples: of these each process needs some, too")
            squared.draw, squared.joint = SharedDraw(squared.draw, self.meeting), False
        self._samples = True

    @property
    def note(self) -> str:
        """A sentence for the user."""
        if self._samples:
            return f"{self.ranks.count} processes ({self.ranks.launcher}) share the samples of each step"
        each = "; each draws samples of its own, unlike a run on one" if self._own_samples else ""
        return f"{self.ranks.count} processes ({self.ranks.launcher}) share the {self._unit} of each step{each}"

    def rows(self, count: int) -> slice:
        return self.meeting.share(count)

    def share(self, batch: Sequence[Points]) -> Sequence[Points]:
        if self._samples:
            return batch
        return [points.rows(self.rows(len(points))) for points in batch]

    def noise(self, generator: torch.Generator) -> torch.Generator:
        if not self._own_samples:
            return generator
        shared = torch.randint(2**62, (), generator=generator, device=generator.device)
        if self._own_noise is None:
            self._own_noise = torch.Generator(generator.device)
        return self._own_noise.manual_seed(int(shared) + self.ranks.rank)

    def weighted(self, terms: dict[str, Tensor], batch: Sequence[Points]) -> dict[str, Tensor]:
        if self._samples:  # everybody has the whole value, and the gradient of his samples
            return {name: term - term.detach() * (1 - 1 / self.ranks.count) for name, term in terms.items()}
        equations = len(terms) - len(batch) + 1
        result = {}
        for index, (name, term) in enumerate(terms.items()):
            count = len(batch[max(0, index - equations + 1)])
            rows = self.meeting.share(count)
            result[name] = term * ((rows.stop - rows.start) / count)
        return result

    def total(self, terms: dict[str, Tensor], parameters: Sequence[Parameter]) -> dict[str, Tensor]:
        some, place = next(iter(terms.values())), sum(parameter.numel() for parameter in parameters)
        flat, start = some.new_zeros(place + len(terms) + 1), 0
        for parameter in parameters:
            if parameter.grad is not None:  # the loss does not depend on all of them, on no rank
                flat[start : start + parameter.numel()] = parameter.grad.reshape(-1)
            start += parameter.numel()
        flat[place : place + len(terms)] = torch.stack(list(terms.values()))
        flat, start = self.meeting.sum(flat), 0
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.copy_(flat[start : start + parameter.numel()].view_as(parameter))
            start += parameter.numel()
        return dict(zip(terms, flat[place:], strict=False))

    def linear(self, share: Linearization, batch: Sequence[Points]) -> Linearization:
        return whole(share, self.meeting, [len(points) for points in batch])

    @torch.no_grad()
    def align(self, parameters: Sequence[Parameter]) -> None:
        """Take over the parameters of rank 0."""
        flat, sizes = self.meeting.blank.clone(), [parameter.numel() for parameter in parameters]
        if self.ranks.leads:
            flat[: sum(sizes)] = torch.cat([parameter.reshape(-1) for parameter in parameters])
        flat = self.meeting.sum(flat)  # a sum like all others, so that a process may leave here, too
        for parameter, piece in zip(parameters, flat[: sum(sizes)].split(sizes), strict=True):
            parameter.copy_(piece.view_as(parameter))


def _gpu(device: torch.device) -> str | None:
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    return f"{socket.gethostname()} {getattr(properties, 'uuid', device.index)}"
