"""A trained direction is one file: options, parameters and a record of its training; tensors and plain values only."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from pinnx.errors import InputError

#: The first thing in a file, so that other files are told apart; the number rises when the format changes.
FORMAT = "pinnx direction, version 1"


def save(path: str | Path, spec: Any, parameters: dict[str, torch.Tensor], record: dict[str, Any]) -> None:
    """Write a model file, at once or not at all.

    Args:
        path: of the file; its folder must exist.
        spec: the options of the network, a dataclass with a `kind`.
        parameters: the state dict of the network.
        record: plain values about the training.

    Raises:
        InputError: the folder does not exist, or the record holds something else than plain values.
    """
    path = Path(path)
    if (found := _not_plain(record)) is not None:
        raise InputError(f"the record of a model file holds plain values only, got a {type(found).__name__}", file=path)
    if not path.parent.is_dir():
        raise InputError("the folder of the model file does not exist", file=path)
    content = {
        "format": FORMAT,
        "kind": spec.kind,
        "options": {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)},
        "parameters": {name: value.detach().cpu() for name, value in parameters.items()},
        "record": record,
    }
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read(path: str | Path) -> dict[str, Any]:
    """The content of a model file; nothing in it is executed (torch.load with weights_only=True).

    Raises:
        InputError: there is no such file, or it is not a model file of this version.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("there is no such model file", file=path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader fails on foreign bytes in too many ways to name
        raise InputError(
            "this is no model file of pinnx, or a damaged one; save a trained direction with `direction.save(path)`",
            file=path,
        ) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise InputError(f"expected a model file of format {FORMAT!r}, found {found!r}", file=path)
    missing = {"kind", "options", "parameters", "record"} - content.keys()
    if missing:
        raise InputError(f"the model file lacks {', '.join(sorted(missing))}", file=path)
    return content


def _not_plain(value: Any) -> Any:
    """The first part of a value that is no number, string, None, or list or dict of such; None if there is none."""
    if isinstance(value, dict):
        return next((bad for item in (*value.keys(), *value.values()) if (bad := _not_plain(item)) is not None), None)
    if isinstance(value, (list, tuple)):
        return next((bad for item in value if (bad := _not_plain(item)) is not None), None)
    return None if value is None or type(value) in (bool, int, float, str) else value
