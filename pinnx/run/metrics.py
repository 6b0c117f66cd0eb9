"""The metrics of a run: a table that grows, in an HDF5 file that is readable at any moment."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import final

import h5py
import numpy as np

from pinnx.errors import InputError
from pinnx.run.files import write_bytes

STEP = "step"
SECONDS = "seconds"
#: Columns that depend on the clock; all others are the same, bit for bit, whenever the run is repeated or resumed.
CLOCK_COLUMNS = frozenset({SECONDS})

# HDF5 takes "/" for a folder, and "loss" cannot be both a dataset and the folder of "loss/boundary".
_SEPARATOR = {"/": "."}


@final
class Metrics:
    """Rows of metrics in memory, written as a whole.

    A file that HDF5 holds open can be left half written by a kill, so the rows stay in memory and each write replaces
    the file. Columns appear when they come; what a row lacks is NaN.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {STEP: []}

    def __len__(self) -> int:
        return len(self._columns[STEP])

    def append(self, row: Mapping[str, float]) -> None:
        """Add a row; it must have a step."""
        count = len(self)
        for name in row:
            self._columns.setdefault(name, [float("nan")] * count)
        for name, column in self._columns.items():
            column.append(float(row.get(name, float("nan"))))

    def drop_after(self, step: int) -> None:
        """Forget the rows after a step, and columns that are empty then."""
        keep = sum(value <= step for value in self._columns[STEP])
        columns = {name: column[:keep] for name, column in self._columns.items()}
        self._columns = {
            name: column
            for name, column in columns.items()
            if name == STEP or not all(value != value for value in column)
        }

    def table(self) -> dict[str, np.ndarray]:
        """The columns, float64."""
        return {name: np.array(column, dtype=np.float64) for name, column in self._columns.items()}

    def write(self, path: Path) -> None:
        """Replace the file; raises WriteError if that fails, and the old file stays."""
        memory = io.BytesIO()
        with h5py.File(memory, "w", track_order=True) as file:
            file.attrs["columns"] = "one dataset per column, float64; NaN where a row has no value"
            for name, values in self.table().items():
                dataset = file.create_dataset(name.translate(str.maketrans(_SEPARATOR)), data=values)
                dataset.attrs["name"] = name
        write_bytes(path, memory.getbuffer())

    @classmethod
    def read(cls, path: Path) -> Metrics:
        """The metrics of a file; empty if there is none yet."""
        metrics = cls()
        if path.exists():
            metrics._columns = {name: column.tolist() for name, column in read_metrics(path).items()}
        return metrics


def read_metrics(path: Path | str) -> dict[str, np.ndarray]:
    """The columns of a metrics file, also of a run that is going on.

    Raises:
        InputError: the file is missing or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such file: this run has no metrics yet", file=path)
    try:
        with h5py.File(path, "r") as file:
            table = {
                str(dataset.attrs.get("name", key)): np.asarray(dataset[()], float) for key, dataset in file.items()
            }
    except (OSError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"not a metrics file of pinnx ({error})", file=path) from None
    lengths = {len(column) if column.ndim == 1 else -1 for column in table.values()}
    if STEP not in table or len(lengths) != 1 or -1 in lengths:
        raise InputError(f"not a metrics file of pinnx: expected columns of one length, {STEP!r} among them", file=path)
    return table
