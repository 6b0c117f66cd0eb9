"""The solution on a grid, for other programs."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import meshio
import numpy as np

from pinnx.errors import InputError, did_you_mean
from pinnx.run.directory import RunDirectory
from pinnx.run.files import make_folder, write_bytes
from pinnx.run.point_files import write_mesh
from pinnx.run.running import function_of
from pinnx.views.fields import Field, field_of

FORMATS = ("vtu", "xdmf", "h5", "csv")
#: Kind of cell by number of axes, and its corners as steps along the axes in the order that VTK wants.
_CELLS = {
    1: ("line", [(0,), (1,)]),
    2: ("quad", [(0, 0), (1, 0), (1, 1), (0, 1)]),
    3: ("hexahedron", [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]),
}


def export(directory: Path | str, format: str, output: Path | str | None = None) -> Path:
    """Write the solution of a run on a grid: whole up to three coordinates, else on a plane through the center.

    Args:
        directory: of the run.
        format: "vtu", "xdmf", "h5" or "csv".
        output: the file; by default `export/solution.<format>` in the run directory.

    Returns:
        The file that was written. Meshes and tables leave out points outside the domain; HDF5 holds NaN there.

    Raises:
        InputError: something is wrong with the run directory, the format or the output.
    """
    run = RunDirectory(directory)
    if format not in FORMATS:
        raise InputError(f"no format {format!r}; {did_you_mean(format, FORMATS)}", key="format")
    case = run.read_case()
    target = run.path / "export" / f"solution.{format}" if output is None else Path(output)
    if target.is_dir():
        raise InputError("is a folder; expected the name of a file", file=target)
    solution, step = function_of(run, case)
    field = field_of(solution, dimensions=3)
    make_folder(target.parent)
    if format == "h5":
        write_bytes(target, field.to_bytes(step=step))
    elif format == "csv":
        write_bytes(target, _csv(field).encode())
    else:
        write_mesh(target, mesh_of(field), format)
    return target


def mesh_of(field: Field) -> meshio.Mesh:
    """The field as a mesh: cells of which a corner lies outside the domain are left out."""
    axes = len(field.axes)
    kind, corners = _CELLS[axes]
    number = np.arange(math.prod(field.shape)).reshape(field.shape)
    columns = []
    for corner in corners:
        span = tuple(slice(step, step + size - 1) for step, size in zip(corner, field.shape, strict=True))
        columns.append(number[span].ravel())
    cells = np.stack(columns, axis=1)
    data = field.columns()
    inside = np.asarray(np.isfinite(np.stack(list(data.values()))).all(axis=0))
    cells = cells[inside[cells].all(axis=1)]
    used = np.unique(cells)
    renumbered = np.zeros(inside.size, dtype=np.int64)
    renumbered[used] = np.arange(len(used))
    points = np.zeros((len(used), 3))
    points[:, :axes] = field.points()[used]
    return meshio.Mesh(points, [(kind, renumbered[cells])], {name: column[used] for name, column in data.items()})


def _csv(field: Field) -> str:
    data = field.columns()
    table = np.column_stack([field.points(), *data.values()])
    memory = io.StringIO()
    writer = csv.writer(memory, lineterminator="\n")
    writer.writerow([*field.axes, *data])
    writer.writerows([[repr(value) for value in row] for row in table[np.isfinite(table).all(axis=1)].tolist()])
    return memory.getvalue()
