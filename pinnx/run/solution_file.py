"""`solution.h5`: the field that a run's figures show, and a sample of residuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np

from pinnx.errors import InputError
from pinnx.run.files import write_bytes
from pinnx.views.fields import Field


def write_solution(
    path: Path,
    field: Field,
    residuals: np.ndarray,
    step: int,
    collocation: Mapping[str, np.ndarray] = MappingProxyType({}),
    labels: Sequence[str] = (),
) -> None:
    """Write `solution.h5`.

    Args:
        path: of the file.
        field: what is plotted.
        residuals: a sample of them.
        step: that they are from.
        collocation: points and weights that the residual has chosen (see `pinnx.views.points`), if it has.
        labels: of the coordinates of these points.
    """
    extra: dict[str, np.ndarray | int] = {**collocation, "residuals": residuals, "step": step}
    if collocation:
        extra["collocation_labels"] = np.array(labels, dtype="S")
    write_bytes(path, field.to_bytes(**extra))


def read_solution(path: Path) -> tuple[Field, np.ndarray, int]:
    """What `write_solution` wrote.

    Raises:
        InputError: the file holds something else.
    """
    try:
        with h5py.File(path, "r") as file:
            names = [str(name) for name in np.atleast_1d(np.asarray(file.attrs["unknowns"]))]
            axes = [str(name) for name in np.atleast_1d(np.asarray(file[names[0]].attrs["axes"]))]
            field = Field(
                {name: read_array(file, f"axes/{name}") for name in axes},
                str(file.attrs["fixed"]),
                {name: read_array(file, name) for name in names},
                {name: read_array(file, f"{name}_exact") for name in names if f"{name}_exact" in file},
            )
            return field, read_array(file, "residuals"), int(np.asarray(file.attrs["step"]))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"not a solution file of pinnx ({error}); remove it, and it is made again", file=path
        ) from None


def read_collocation(path: Path) -> tuple[np.ndarray, np.ndarray | None, tuple[str, str]] | None:
    """Points (n, 2), weights (n,) if they have any, and the names of the two coordinates; None if none are kept."""
    with h5py.File(path, "r") as file:
        if "collocation" not in file:
            return None
        first, second = (str(name, "utf-8") for name in read_array(file, "collocation_labels"))
        weights = read_array(file, "collocation_weights") if "collocation_weights" in file else None
        return read_array(file, "collocation"), weights, (first, second)


def read_array(file: h5py.File, name: str) -> np.ndarray:
    """A dataset of an HDF5 file; raises KeyError if there is none of this name."""
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise KeyError(f"no dataset {name!r}")
    return np.asarray(dataset[()])
