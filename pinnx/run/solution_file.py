"""`solution.h5`: the field that a run's figures show, and a sample of residuals."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from pinnx.errors import InputError
from pinnx.run.files import write_bytes
from pinnx.views.fields import Field


def write_solution(path: Path, field: Field, residuals: np.ndarray, step: int) -> None:
    """Write `solution.h5`: the field, a sample of residuals and the step that they are from."""
    write_bytes(path, field.to_bytes(residuals=residuals, step=step))


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


def read_array(file: h5py.File, name: str) -> np.ndarray:
    """A dataset of an HDF5 file; raises KeyError if there is none of this name."""
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise KeyError(f"no dataset {name!r}")
    return np.asarray(dataset[()])
