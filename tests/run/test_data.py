"""Files of solved instances: made in parts, resumed after a kill, read as a stream, refused when damaged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import pinnx
from pinnx.cli.main import main
from pinnx.equations import Darcy, DiffusionSorption, Poisson
from pinnx.equations.diffusion_sorption import DiffusionSorptionFamily
from pinnx.errors import InputError
from pinnx.family import HELD_OUT, Family, open_data
from pinnx.run import making
from pinnx.run.making import make_data

SEED = 31_770_245
EQUATION = DiffusionSorption(nodes=17, times=6, law="rich")


def family_of(equation: DiffusionSorption | Darcy) -> Family:
    family = equation.problem().instances
    assert family is not None
    return family


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "PART_INSTANCES", 2)


def test_a_file_holds_the_numbered_instances_and_their_references(tmp_path: Path) -> None:
    data = make_data(EQUATION, tmp_path / "d.h5", 5, SEED)
    family = family_of(EQUATION)
    instances = family.numbered(range(5), SEED)
    assert (len(data), data.seed, data.unknowns, list(data.axes)) == (5, SEED, ("u",), ["x1", "t"])
    assert torch.equal(data.parameters, instances.parameters)
    assert torch.equal(data.solutions([3, 0, 3]), family.reference(instances.rows(torch.tensor([3, 0, 3]))))
    assert torch.equal(data.solutions(slice(1, 3)), data.solutions([1, 2]))
    data.require(replace(EQUATION, corner=0.0, offset="layers"), family)  # these change no reference
    assert not list(tmp_path.glob("*.parts"))
    with h5py.File(tmp_path / "d.h5") as file:  # enough for other programs
        assert np.array_equal(np.asarray(file["initial"]), instances.initial)


def test_inputs_are_written_too(tmp_path: Path) -> None:
    equation = Darcy(nodes=9)
    make_data(equation, tmp_path / "d.h5", 1, SEED)
    with h5py.File(tmp_path / "d.h5") as file:
        assert np.array_equal(np.asarray(file["inputs/a"]), family_of(equation).numbered([0], SEED).inputs["a"])


def test_batches_stream_through_all_instances_once(tmp_path: Path) -> None:
    data = make_data(EQUATION, tmp_path / "d.h5", 7, SEED)
    family, whole = family_of(EQUATION), data.solutions(slice(None))
    straight = list(data.batches(family, 3))
    assert [len(instances) for instances, _ in straight] == [3, 3, 1]
    assert torch.equal(torch.cat([solutions for _, solutions in straight]), whole)
    drawn = list(data.batches(family, 3, torch.Generator().manual_seed(SEED)))
    seen = torch.cat([instances.parameters for instances, _ in drawn])
    order = torch.cat([(data.parameters == row).all(1).nonzero()[0] for row in seen])
    assert not torch.equal(order, torch.arange(7))
    assert torch.equal(order.sort().values, torch.arange(7))
    assert torch.equal(torch.cat([solutions for _, solutions in drawn]), whole[order])


@pytest.mark.usefixtures("small_parts")
def test_parts_are_taken_over_and_files_extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solved: list[int] = []
    honest = DiffusionSorptionFamily.solve

    def counting(self, instance):
        solved.append(1)
        if sum(solved) > 4:
            raise KeyboardInterrupt
        return honest(self, instance)

    monkeypatch.setattr(DiffusionSorptionFamily, "solve", counting)
    path = tmp_path / "d.h5"
    with pytest.raises(KeyboardInterrupt):
        make_data(EQUATION, path, 7, SEED)
    assert not path.exists()
    said: list[str] = []
    part = next((tmp_path / "d.h5.parts").glob("*.npy"))
    part.write_bytes(part.read_bytes()[:-8])  # one of the two parts was cut short
    solved[:] = [-1]
    make_data(EQUATION, path, 7, SEED, said.append)
    assert sum(solved) + 1 == 5, "of seven instances two were whole"
    assert "2 of them solved before" in said[0]
    solved[:] = [0]
    data = make_data(EQUATION, path, 9, SEED)
    assert sum(solved) == 2
    monkeypatch.setattr(DiffusionSorptionFamily, "solve", honest)
    family = family_of(EQUATION)
    assert torch.equal(data.solutions(slice(None)), family.reference(family.numbered(range(9), SEED)))
    said.clear()
    make_data(EQUATION, path, 3, SEED, said.append)
    assert "holds 9 of these instances already" in said[0]


SLOW = """
import sys, time
from pathlib import Path
from pinnx.equations import DiffusionSorption
from pinnx.equations.diffusion_sorption import DiffusionSorptionFamily
from pinnx.run import making

making.PART_INSTANCES = 1
honest = DiffusionSorptionFamily.solve
def slow(self, instances):
    time.sleep(0.1)
    return honest(self, instances)
DiffusionSorptionFamily.solve = slow
making.make_data(DiffusionSorption(nodes=17, times=6, law="rich"), Path(sys.argv[1]), 40, int(sys.argv[2]))
"""


def test_a_kill_loses_one_part_at_most(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    place = {"PYTHONPATH": str(Path(pinnx.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(path), str(SEED)], env={**os.environ, **place})
    folder, deadline = tmp_path / "d.h5.parts", time.monotonic() + 60
    while len(list(folder.glob("*.npy"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(InputError, match="another process is making this file"):
        make_data(EQUATION, path, 40, SEED)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = sorted(file.name for file in folder.glob("*.npy"))
    assert len(kept) >= 3
    assert not path.exists()
    said: list[str] = []
    # The parts of the killed process hold one instance each.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "PART_INSTANCES", 1)
        data = make_data(EQUATION, path, 6, SEED, said.append)
    assert f"{min(len(kept), 6)} of them solved before" in said[0]
    family = family_of(EQUATION)
    assert torch.equal(data.solutions(slice(None)), family.reference(family.numbered(range(6), SEED)))


def test_other_instances_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    make_data(EQUATION, path, 2, SEED)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"d.h5: holds other instances: nodes is 17 there, 33 here"):
        make_data(replace(EQUATION, nodes=33), path, 2, SEED)
    with pytest.raises(InputError, match=f"seed is {SEED} there, {SEED + 1} here"):
        make_data(EQUATION, path, 2, SEED + 1)
    with pytest.raises(InputError, match="equation is 'DiffusionSorption' there, 'Darcy' here"):
        open_data(path).require(Darcy(), family_of(Darcy()))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["d.h5"]
    with pytest.raises(InputError, match="Poisson is a single problem"):
        make_data(Poisson(), tmp_path / "e.h5", 2, SEED)
    with pytest.raises(InputError, match="--count: must be at least 1, got 0"):
        make_data(EQUATION, tmp_path / "e.h5", 0, SEED)


def test_damage_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    make_data(EQUATION, path, 3, SEED)
    whole = path.read_bytes()
    place = whole.index(open_data(path).solutions([1]).numpy().tobytes()[:200])
    with pytest.raises(InputError, match="no such file"):
        open_data(tmp_path / "none.h5")
    with pytest.raises(InputError, match="is a folder"):
        open_data(tmp_path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"d.h5: not a file of solved instances, or a damaged one"):
        open_data(path)
    path.write_bytes(whole[:place] + b"\x55" + whole[place + 1 :])
    with pytest.raises(InputError, match="damaged: the solutions cannot be read"):
        open_data(path).solutions(slice(None))
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        file["solutions"][1, 0, 2, 3] = np.nan
    assert open_data(path).solutions([0, 2]).shape[0] == 2
    with pytest.raises(InputError, match="the solution of the instance 1 has numbers that are not finite"):
        open_data(path).solutions([0, 1])
    with pytest.raises(InputError, match="holds the instances 0 … 2, and 3 was asked for"):
        open_data(path).solutions([3])
    with h5py.File(path, "r+") as file:
        del file["parameters"]
        file["parameters"] = np.zeros((2, 8))
    with pytest.raises(InputError, match=r"solutions must have shape \(2, 1, 17, 6\), found \(3, 1, 17, 6\)"):
        open_data(path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["points"] = np.zeros(3)
    with pytest.raises(InputError, match="found format None"):
        open_data(tmp_path / "other.h5")


@dataclass
class Printed:
    """What a command came to."""

    code: int
    out: str
    err: str


def run(capsys: pytest.CaptureFixture[str], *words: str) -> Printed:
    code = main(list(words))
    printed = capsys.readouterr()
    return Printed(code, printed.out, printed.err)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("porous.toml").write_text('seed = 12\n[equation]\nname = "diffusion-sorption"\nnodes = 17\ntimes = 6\n')
    made = run(capsys, "data", "make", "porous.toml", "--count", "3")
    assert (made.code, made.err) == (0, "")
    assert "data/porous.h5: 3 instances" in made.out
    assert open_data("data/porous.h5").seed == 12 + HELD_OUT
    shown = run(capsys, "data", "show", "data/porous.h5")
    assert shown.code == 0
    for line in ("equation DiffusionSorption", "nodes 17", "axis t 6 nodes, 0 … 500", "unknown u"):
        assert line in " ".join(shown.out.split())
    changed = ["--set", "equation.law=rich", "--output", "rich.h5", "--seed", "4", "--count", "1"]
    quiet = run(capsys, "data", "make", "porous.toml", "-q", *changed)
    assert (quiet.code, quiet.out) == (0, "")
    assert open_data("rich.h5").identity["law"] == "rich"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["data", "show", "porous.toml"], "porous.toml: not a file of solved instances"),
        (["data", "show", "none.h5"], "none.h5: no such file"),
        (["data", "show", "none.h5", "--count", "3"], "--count: is for `pinnx data make`"),
        (["data", "show", "none.h5", "--set", "seed=3"], "--set: is for `pinnx data make`"),
        (["data", "make", "porous.toml", "--seed", "-1"], "--seed: must be at least 0, got -1"),
        (["data", "make", "porous.toml", "--set", "equation.name=heat"], "Heat is a single problem"),
        (["data", "mke", "porous.toml"], "did you mean 'make'"),
    ],
)
def test_mistakes_are_told(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("porous.toml").write_text(
        '[equation]\nname = "diffusion-sorption"\n' if "heat" not in words[-1] else "[equation]\n"
    )
    printed = run(capsys, *words)
    assert printed.code == 2
    assert says in printed.err
    assert len(printed.err.splitlines()) == 1
