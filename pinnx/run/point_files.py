"""Points that come from a file and values that go back into one of the same kind: CSV, NPY, HDF5, VTU."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import h5py
import meshio
import numpy as np

from pinnx.errors import InputError, did_you_mean
from pinnx.run.files import temporary, write_bytes
from pinnx.run.solution_file import read_array


class PointFile(ABC):
    """A file of points.

    Args:
        path: of the file.
        labels: names of the coordinates that are expected, in order.
    """

    def __init__(self, path: Path, labels: Sequence[str]):
        self.path, self.labels = path, tuple(labels)

    @abstractmethod
    def read(self) -> np.ndarray:
        """The points, (n, coordinates); raises InputError for whatever is wrong with the file."""

    @abstractmethod
    def write(self, path: Path, points: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        """Write points and values to a file of the same kind."""

    def expected(self) -> str:
        """The columns, in words."""
        shown = self.labels if len(self.labels) <= 6 else (*self.labels[:3], "…", self.labels[-1])
        count = "1 column" if len(self.labels) == 1 else f"{len(self.labels)} columns"
        return f"{count}: {', '.join(shown)}"

    def bad(self, message: str, line: int | None = None) -> InputError:
        """The error that points to this file."""
        return InputError(message, file=self.path, line=line)

    def checked(self, points: Any) -> np.ndarray:
        """The points, if they have the right shape and are finite numbers."""
        try:
            array = np.asarray(points)
            if array.dtype.kind not in "iuf":
                raise self.bad(f"expected real numbers, {self.expected()}; found an array of type {array.dtype}")
            array = array.astype(np.float64)
        except InputError:
            raise
        except (ValueError, TypeError) as error:
            raise self.bad(f"expected numbers, found something else ({error})") from None
        if array.ndim == 1:
            array = array[:, None] if len(self.labels) == 1 else array[None]
        if array.ndim != 2 or array.shape[1] != len(self.labels):
            raise self.bad(
                f"expected points of shape (n, {len(self.labels)}), {self.expected()}; found {np.shape(points)}"
            )
        if not len(array):
            raise self.bad(f"holds no points; expected one row per point, {self.expected()}")
        if not np.isfinite(array).all():
            row, column = np.argwhere(~np.isfinite(array))[0]
            raise self.bad(
                f"expected finite numbers, found {array[row, column]} for {self.labels[column]} of point {row + 1}"
            )
        return array


@final
class CsvFile(PointFile):
    """Comma-separated text, with or without a line of names; named columns may come in any order."""

    def read(self) -> np.ndarray:
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise self.bad("expected text in UTF-8, found something else") from None
        rows = [(number, row) for number, row in self._rows(text) if any(cell.strip() for cell in row)]
        order = list(range(len(self.labels)))
        if rows and not all(map(_is_number, rows[0][1])):
            order = self._order(rows[0][0], [cell.strip() for cell in rows[0][1]])
            rows = rows[1:]
        for number, row in rows:
            if len(row) != len(self.labels):
                raise self.bad(f"expected {self.expected()}; found {len(row)}", number)
            for cell in row:
                if not _is_number(cell):
                    raise self.bad(f"expected a number, found {cell.strip()!r}", number)
                if not np.isfinite(float(cell)):
                    raise self.bad(f"expected a finite number, found {cell.strip()}", number)
        return self.checked(
            np.array([[float(row[i]) for i in order] for _, row in rows]).reshape(len(rows), len(self.labels))
        )

    def write(self, path: Path, points: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        table = np.column_stack([points, *values.values()])
        memory = io.StringIO()
        writer = csv.writer(memory, lineterminator="\n")
        writer.writerow([*self.labels, *values])
        writer.writerows([[repr(value) for value in row] for row in table.tolist()])
        write_bytes(path, memory.getvalue().encode())

    def _rows(self, text: str) -> list[tuple[int, list[str]]]:
        reader = csv.reader(io.StringIO(text))
        try:
            return [(reader.line_num, row) for row in reader if not (row and row[0].lstrip().startswith("#"))]
        except csv.Error as error:
            raise self.bad(f"not comma-separated text: {error}", reader.line_num) from None

    def _order(self, line: int, names: list[str]) -> list[int]:
        single = {
            label[:-1]: label for label in self.labels if label[-1] == "1" and f"{label[:-1]}2" not in self.labels
        }
        names = [
            name if name in self.labels else single.get(name, name) for name in names
        ]  # the only coordinate of space may be called x
        unknown = [name for name in names if name not in self.labels]
        missing = [label for label in self.labels if label not in names]
        if unknown:
            hint = did_you_mean(unknown[0], self.labels) if len(self.labels) <= 20 else f"expected {self.expected()}"
            raise self.bad(f"no coordinate {unknown[0]!r}; {hint}", line)
        if missing:
            raise self.bad(f"no column for the coordinate {missing[0]!r}; expected {self.expected()}", line)
        if len(names) != len(self.labels):
            raise self.bad(f"expected {self.expected()}; found {len(names)}, some of them twice", line)
        return [names.index(label) for label in self.labels]


@final
class NpyFile(PointFile):
    """A NumPy array (n, coordinates); the values become further columns, in the order of the CSV file."""

    def read(self) -> np.ndarray:
        try:
            return self.checked(np.load(self.path, allow_pickle=False))
        except (ValueError, EOFError, OSError) as error:
            if isinstance(error, InputError):
                raise
            raise self.bad(f"expected a NumPy array (n, {len(self.labels)}), found something else ({error})") from None

    def write(self, path: Path, points: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        memory = io.BytesIO()
        np.save(memory, np.column_stack([points, *values.values()]))
        write_bytes(path, memory.getbuffer())


@final
class Hdf5File(PointFile):
    """An HDF5 file with a dataset `points` (n, coordinates), or with one dataset only."""

    def read(self) -> np.ndarray:
        try:
            with h5py.File(self.path, "r") as file:
                found = [key for key, item in file.items() if isinstance(item, h5py.Dataset)]
                name = "points" if "points" in found else found[0] if len(found) == 1 else None
                if name is None:
                    shown = ", ".join(found[:6]) or "none"
                    raise self.bad(
                        f"expected a dataset 'points' of shape (n, {len(self.labels)}); the datasets are: {shown}"
                    )
                points = read_array(file, name)
        except OSError as error:
            raise self.bad(f"not an HDF5 file ({error})") from None
        return self.checked(points)

    def write(self, path: Path, points: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        memory = io.BytesIO()
        with h5py.File(memory, "w", track_order=True) as file:
            file["points"] = points
            file["points"].attrs["columns"] = (
                list(self.labels) if len(self.labels) <= 1000 else ", ".join(self.labels[:3])
            )
            for name, column in values.items():
                file[name] = column
        write_bytes(path, memory.getbuffer())


@final
class VtuFile(PointFile):
    """The nodes of a mesh (VTU of VTK, ParaView); the values become data of its nodes."""

    def read(self) -> np.ndarray:
        if len(self.labels) > 3:
            raise self.bad(
                f"the nodes of a mesh have 3 coordinates, and this problem has {self.expected()}; use CSV, NPY or HDF5"
            )
        points = self._mesh().points
        rest = points[:, len(self.labels) :]
        if rest.size and not (rest == rest[0]).all():
            raise self.bad(
                f"expected nodes on a line or plane, {self.expected()}; found nodes with {points.shape[1]} coordinates"
            )
        return self.checked(points[:, : len(self.labels)])

    def write(self, path: Path, points: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        mesh = self._mesh()
        mesh.point_data.update({name: np.ascontiguousarray(column) for name, column in values.items()})
        write_mesh(path, mesh, "vtu")

    def _mesh(self) -> meshio.Mesh:
        try:
            return meshio.vtu.read(self.path)  # meshio.read would end the process when it fails
        except Exception as error:
            raise self.bad(f"not a VTU file that meshio can read ({type(error).__name__}: {error})") from None


FORMATS: dict[str, type[PointFile]] = {
    ".csv": CsvFile,
    ".txt": CsvFile,
    ".npy": NpyFile,
    ".h5": Hdf5File,
    ".hdf5": Hdf5File,
    ".vtu": VtuFile,
}


def open_points(path: Path, labels: Sequence[str]) -> PointFile:
    """The file of points, by the ending of its name; raises InputError if there is none or its kind is unknown."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise InputError(
            f"unknown kind of points file {path.suffix or 'without an ending'!r}; known: {', '.join(FORMATS)}",
            file=path,
        )
    if not path.is_file():
        raise InputError("is a folder; expected a file" if path.is_dir() else "no such file", file=path)
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None
    return kind(path, labels)


def write_mesh(path: Path, mesh: meshio.Mesh, kind: str) -> None:
    """Write a mesh as a whole file, "vtu" or "xdmf"; the latter with its numbers inside."""
    part = temporary(path)
    try:
        options = {"data_format": "XML"} if kind == "xdmf" else {}
        meshio.write(part, mesh, file_format=kind, **options)
        content = part.read_bytes()
    finally:
        part.unlink(missing_ok=True)
    write_bytes(path, content)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
