"""Model files: what is written comes back, and nothing else is taken for one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from pinnx.errors import InputError
from pinnx.solvers.linear.directions import Dcdm, DirectionSpec, LinearUNet, UNet, VCycle, box, files, load_direction

SEED = 9_105_227
SPECS: list[DirectionSpec] = [Dcdm(channels=3), UNet(channels=3), LinearUNet(levels=2, channels=3), VCycle(hidden=3)]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_there_and_back(spec: DirectionSpec, tmp_path: Path) -> None:
    direction = spec.build(generator())
    for parameter in direction.module.parameters():
        parameter.data += 0.1
    direction.record = {"steps": 12, "samples": "boxes", "losses": [0.5, None]}
    direction.save(tmp_path / "model.pt")
    loaded = load_direction(tmp_path / "model.pt")
    residual = torch.randn(1, 256, generator=generator(), dtype=torch.float64)
    operator = box((16, 16))
    assert loaded.spec == spec
    assert loaded.record == direction.record
    assert torch.equal(loaded.prepare(operator)(residual), direction.prepare(operator)(residual))
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


class Trap:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("trapped",)


def test_nothing_in_a_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": files.FORMAT, "kind": Trap()}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="no model file"):
        load_direction(tmp_path / "model.pt")
    assert not (tmp_path / "trapped").exists()
    torch.load(tmp_path / "model.pt", weights_only=False)  # the trap is a real one
    assert (tmp_path / "trapped").exists()


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such model file"):
        load_direction(tmp_path / "model.pt")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 no archive", b"\x80\x02."])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(InputError, match="no model file of pinnx, or a damaged one"):
        load_direction(tmp_path / "model.pt")


def test_a_damaged_file(tmp_path: Path) -> None:
    VCycle().build(generator()).save(tmp_path / "model.pt")
    content = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged"):
        load_direction(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "expected a model file of format 'pinnx direction, version 1', found 'other'"),
        ({"kind": "v-cicle"}, "unknown kind of direction network 'v-cicle'; did you mean 'v-cycle'"),
        ({"options": {"degre": 2}}, "do not fit together"),
        ({"options": {"hidden": 0}}, "hidden must be at least 1"),
        ({"options": {"hidden": 7}}, "do not fit together"),
    ],
)
def test_content_that_does_not_fit(change: dict[str, object], message: str, tmp_path: Path) -> None:
    VCycle().build(generator()).save(tmp_path / "model.pt")
    content = {**torch.load(tmp_path / "model.pt", weights_only=True), **change}
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=message):
        load_direction(tmp_path / "model.pt")


def test_missing_parts(tmp_path: Path) -> None:
    torch.save({"format": files.FORMAT, "kind": "v-cycle"}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="the model file lacks options, parameters, record"):
        load_direction(tmp_path / "model.pt")
    torch.save([1, 2], tmp_path / "model.pt")
    with pytest.raises(InputError, match="found None"):
        load_direction(tmp_path / "model.pt")


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    direction = VCycle().build(generator())
    with pytest.raises(InputError, match="folder of the model file does not exist"):
        direction.save(tmp_path / "missing" / "model.pt")
    direction.record = {"samples": [Path("x")]}
    with pytest.raises(InputError, match="holds plain values only, got a PosixPath|got a WindowsPath"):
        direction.save(tmp_path / "model.pt")
    assert not list(tmp_path.iterdir())
