"""Points from files, values into files; and every way in which a points file can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import meshio
import numpy as np
import pytest

from pinnx.errors import InputError
from pinnx.run import evaluate, export, load_solution
from pinnx.run.point_files import CsvFile

POINTS = np.array([[0.1, 0.2, 0.5], [0.9, 0.4, 1.0], [0.3, 0.3, 0.0]])


def exact(points: np.ndarray) -> np.ndarray:
    return np.exp(-0.75 * points[:, 2]) * points[:, :2].sum(axis=1)


def write_vtu(path: Path, points: np.ndarray) -> None:
    meshio.vtu.write(path, meshio.Mesh(points, [("triangle", np.array([[0, 1, 2]]))]))


def write_h5(path: Path, **datasets: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values


def read_csv(path: Path) -> dict[str, np.ndarray]:
    names, *rows = [line.split(",") for line in path.read_text().splitlines()]
    return dict(zip(names, np.array(rows, dtype=float).T, strict=True))


def test_csv_without_names(finished: Path, tmp_path: Path) -> None:
    np.savetxt(tmp_path / "p.csv", POINTS, delimiter=",")
    written = evaluate(finished, tmp_path / "p.csv", tmp_path / "values.csv")
    assert written == tmp_path / "values.csv"
    table = read_csv(written)
    assert list(table) == ["x1", "x2", "t", "u", "u_exact", "u_error"]
    np.testing.assert_array_equal(table["u"], load_solution(finished)(POINTS))
    np.testing.assert_allclose(table["u_exact"], exact(POINTS), rtol=1e-14)
    np.testing.assert_array_equal(table["u_error"], table["u"] - table["u_exact"])


def test_csv_with_names_in_another_order(finished: Path, tmp_path: Path) -> None:
    rows = "\n".join(f"{t}, {a}, {b}" for a, b, t in POINTS)
    (tmp_path / "p.csv").write_text(f"\ufeff# probes\nt, x1, x2\n{rows}\n\n", encoding="utf-8")
    table = read_csv(evaluate(finished, tmp_path / "p.csv", tmp_path / "v.csv"))
    np.testing.assert_array_equal(np.column_stack([table["x1"], table["x2"], table["t"]]), POINTS)


def test_values_go_into_the_run_directory_by_default(run_copy: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "probes.npy", POINTS)
    written = evaluate(run_copy, tmp_path / "probes.npy")
    assert written == run_copy / "evaluations" / "probes.npy"
    table = np.load(written)
    assert table.shape == (3, 6)
    np.testing.assert_array_equal(table[:, :3], POINTS)
    np.testing.assert_array_equal(table[:, 3], load_solution(run_copy)(POINTS))


@pytest.mark.parametrize("name", ["points", "anything"])
def test_hdf5(finished: Path, tmp_path: Path, name: str) -> None:
    write_h5(tmp_path / "p.h5", **{name: POINTS.astype(np.float32)})
    with h5py.File(evaluate(finished, tmp_path / "p.h5", tmp_path / "v.h5")) as file:
        assert list(file) == ["points", "u", "u_exact", "u_error"]
        np.testing.assert_allclose(file["u_exact"], exact(POINTS), rtol=1e-6)


def test_vtu_keeps_its_mesh(finished: Path, tmp_path: Path) -> None:
    write_vtu(tmp_path / "p.vtu", POINTS)
    mesh = meshio.vtu.read(evaluate(finished, tmp_path / "p.vtu", tmp_path / "v.vtu"))
    assert mesh.cells[0].type == "triangle"
    np.testing.assert_allclose(mesh.point_data["u_exact"], exact(POINTS), rtol=1e-14)


Write = Callable[[Path], object]
MALFORMED: dict[str, tuple[str, Write, str]] = {
    "too few columns": ("p.csv", lambda p: p.write_text("1,2\n"), r"p\.csv:1: expected 3 columns: x1, x2, t; found 2"),
    "ragged": ("p.csv", lambda p: p.write_text("1,2,3\n1,2,3,4\n"), r"p\.csv:2: expected 3 columns: .*; found 4"),
    "a word": (
        "p.csv",
        lambda p: p.write_text("x1,x2,t\n1,2,3\n1,2,three\n"),
        r"p\.csv:3: expected a number, found 'three'",
    ),
    "an empty cell": ("p.csv", lambda p: p.write_text("1,2,3\n1,,3\n"), r"p\.csv:2: expected a number, found ''"),
    "NaN": ("p.csv", lambda p: p.write_text("1,2,3\n1,nan,3\n"), r"p\.csv:2: expected a finite number, found nan"),
    "a wrong name": ("p.csv", lambda p: p.write_text("x1,x3,t\n1,2,3\n"), r"p\.csv:1: no coordinate 'x3'; known: t"),
    "a missing name": ("p.csv", lambda p: p.write_text("x1,t\n1,2\n"), r"p\.csv:1: no column for the coordinate 'x2'"),
    "a name twice": (
        "p.csv",
        lambda p: p.write_text("x1,x2,t,t\n1,2,3,4\n"),
        r"p\.csv:1: .*found 4, some of them twice",
    ),
    "no points": ("p.csv", lambda p: p.write_text("x1,x2,t\n"), r"p\.csv: holds no points"),
    "an empty file": ("p.csv", lambda p: p.write_text(""), r"p\.csv: holds no points"),
    "no text": ("p.csv", lambda p: p.write_bytes(b"\xff\xfe\x00"), r"p\.csv: expected text in UTF-8"),
    "a long cell": ("p.csv", lambda p: p.write_text('"' + "1" * 200_000 + '"'), r"p\.csv:\d: not comma-separated text"),
    "a bad shape": (
        "p.npy",
        lambda p: np.save(p, POINTS[:, :2]),
        r"p\.npy: expected points of shape \(n, 3\).*found \(3, 2\)",
    ),
    "three axes": ("p.npy", lambda p: np.save(p, POINTS[None]), r"found \(1, 3, 3\)"),
    "complex": ("p.npy", lambda p: np.save(p, POINTS * 1j), r"p\.npy: expected real numbers, .*complex128"),
    "objects": ("p.npy", lambda p: np.save(p, np.array([{}]), allow_pickle=True), r"p\.npy: expected a NumPy array"),
    "no array": ("p.npy", lambda p: p.write_text("1,2,3"), r"p\.npy: expected a NumPy array \(n, 3\)"),
    "infinite": ("p.npy", lambda p: np.save(p, POINTS * [1, np.inf, 1]), r"found inf for x2 of point 1"),
    "no HDF5": ("p.h5", lambda p: p.write_text("x"), r"p\.h5: not an HDF5 file"),
    "which dataset": (
        "p.h5",
        lambda p: write_h5(p, a=POINTS, b=POINTS),
        r"p\.h5: expected a dataset 'points'.*are: a, b",
    ),
    "text dataset": ("p.h5", lambda p: write_h5(p, points=np.array([b"a"])), r"p\.h5: expected real numbers"),
    "no VTU": ("p.vtu", lambda p: p.write_text("<VTKFile>"), r"p\.vtu: not a VTU file that meshio can read"),
    "unknown kind": (
        "p.xlsx",
        lambda p: p.write_text(""),
        r"p\.xlsx: unknown kind of points file '\.xlsx'; known: \.csv",
    ),
    "no ending": ("p", lambda p: p.write_text(""), "unknown kind of points file"),
    "no file": ("p.csv", lambda p: None, r"p\.csv: no such file"),
    "a folder": ("p.csv", lambda p: p.mkdir(), r"p\.csv: is a folder"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(finished: Path, tmp_path: Path, case: str) -> None:
    name, write, message = MALFORMED[case]
    write(tmp_path / name)
    with pytest.raises(InputError, match=message):
        evaluate(finished, tmp_path / name, tmp_path / f"out{Path(name).suffix}")
    assert not (tmp_path / f"out{Path(name).suffix}").exists()


def test_output_of_another_kind_is_refused(finished: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", POINTS)
    with pytest.raises(InputError, match=r"expected a name that ends in \.npy"):
        evaluate(finished, tmp_path / "p.npy", tmp_path / "values.csv")


def test_a_mesh_cannot_hold_points_of_more_than_three_coordinates(load, tmp_path: Path) -> None:
    from pinnx.run import execute

    execute(load("equation.dimension=4", "solver.steps=1"), tmp_path / "run", quiet=True)
    write_vtu(tmp_path / "p.vtu", POINTS)
    with pytest.raises(InputError, match=r"the nodes of a mesh have 3 coordinates, .* 5 columns.* use CSV"):
        evaluate(tmp_path / "run", tmp_path / "p.vtu")


@pytest.mark.parametrize("kind", ["vtu", "xdmf"])
def test_exported_meshes(finished: Path, tmp_path: Path, kind: str) -> None:
    mesh = meshio.read(export(finished, kind, tmp_path / f"field.{kind}"))
    assert mesh.cells[0].type == "hexahedron"
    assert len(mesh.points) == 49**3
    assert len(mesh.cells[0].data) == 48**3
    np.testing.assert_allclose(mesh.point_data["u_exact"], exact(mesh.points), rtol=1e-12, atol=1e-14)
    corner = mesh.points[mesh.cells[0].data[0]]
    steps = np.rint((corner - corner[0]) * 48).astype(int).tolist()
    assert steps == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]
    assert [file.name for file in tmp_path.iterdir()] == [f"field.{kind}"]


def test_exported_tables(run_copy: Path) -> None:
    table = read_csv(export(run_copy, "csv"))
    assert list(table) == ["x1", "x2", "t", "u", "u_exact", "u_error"]
    points = np.column_stack([table[name] for name in ("x1", "x2", "t")])
    np.testing.assert_allclose(table["u"], load_solution(run_copy)(points), rtol=1e-13, atol=1e-15)
    with h5py.File(export(run_copy, "h5")) as file:
        assert file["u"].shape == (49, 49, 49)
        np.testing.assert_array_equal(file["u"][()].ravel(), table["u"])
        assert file["axes/t"][-1] == 1.0


def test_unknown_format_is_refused(finished: Path) -> None:
    with pytest.raises(InputError, match=r"no format 'stl'; known: csv, h5, vtu, xdmf"):
        export(finished, "stl")


def test_the_only_coordinate_of_space_may_be_called_x(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("t,x\n1,2\n")
    assert CsvFile(tmp_path / "p.csv", ("x1", "t")).read().tolist() == [[2.0, 1.0]]
    labels = [f"x{index}" for index in range(1, 12)]
    (tmp_path / "p.csv").write_text(",".join(labels) + "\n" + ",".join(map(str, range(11))))
    assert CsvFile(tmp_path / "p.csv", labels).read().tolist() == [list(range(11))]
