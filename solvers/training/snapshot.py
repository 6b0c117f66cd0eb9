"""Parameters and the memory of their optimizer, as they are now."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def snapshot(parameters: Sequence[Tensor], optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """A function that undoes what happens to them until it is called, such as a step that moves and then fails."""
    before = [parameter.detach().clone() for parameter in parameters]
    memory = copy.deepcopy(optimizer.state_dict())

    def undo() -> None:
        with torch.no_grad():
            for parameter, old in zip(parameters, before, strict=True):
                parameter.copy_(old)
        optimizer.load_state_dict(memory)

    return undo
