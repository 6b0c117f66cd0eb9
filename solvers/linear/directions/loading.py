"""Reading a trained direction back."""

from __future__ import annotations

from pathlib import Path

import torch

from pinnx.errors import InputError, did_you_mean
from pinnx.solvers.linear.directions import files
from pinnx.solvers.linear.directions.dcdm import Dcdm
from pinnx.solvers.linear.directions.learned import DirectionSpec, LearnedDirection
from pinnx.solvers.linear.directions.unet import LinearUNet, UNet
from pinnx.solvers.linear.directions.vcycle import VCycle

#: Kinds of direction networks by name.
NETWORKS: dict[str, type[DirectionSpec]] = {spec.kind: spec for spec in (Dcdm, UNet, LinearUNet, VCycle)}


def load_direction(path: str | Path) -> LearnedDirection:
    """A trained direction from its file; nothing in the file is executed.

    Args:
        path: of a file written by `LearnedDirection.save`.

    Raises:
        InputError: there is no such file, it is not a model file, or its content does not fit together.
    """
    content = files.read(path)
    if content["kind"] not in NETWORKS:
        hint = did_you_mean(str(content["kind"]), NETWORKS)
        raise InputError(f"unknown kind of direction network {content['kind']!r}; {hint}", file=path)
    try:
        spec = NETWORKS[content["kind"]](**content["options"])
        module = spec.build_module(torch.Generator().manual_seed(0))
        module.load_state_dict(content["parameters"])
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"options and parameters of the model file do not fit together: {error}", file=path) from error
    return LearnedDirection(spec, module, content["record"])
