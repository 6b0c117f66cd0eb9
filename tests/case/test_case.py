"""Cases: what is read, what is filled in, and that writing and reading again gives the same case."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnx import case as cases
from pinnx.case import Case, Output, load_case, override, parse_case, parse_document, read_document, torch_device
from pinnx.errors import InputError, InputErrors
from pinnx.networks.fourier import FourierMlp
from pinnx.networks.mlp import Mlp
from pinnx.registry import resolve
from pinnx.solvers.derivatives import Auto, Autodiff, Taylor
from pinnx.solvers.pinn import Pinn
from pinnx.solvers.training import Adam, Constant, Cosine, Exponential, Lbfgs, Linear, Soap

MINE = """\
from __future__ import annotations
from dataclasses import dataclass
from pinnx.expr import laplacian
from pinnx.options import at_least, option
from pinnx.problem import Equation, Problem

@dataclass(frozen=True)
class Mine(Equation):
    dimension: int = option(3, "dimension of space", at_least(1))
    rate: float = 2.5
    label: str = ""
    flags: tuple[bool, ...] = ()
    limit: float | None = None

    def residual(self, u):
        return laplacian(u) - self.rate

    def problem(self):
        raise NotImplementedError

@dataclass(frozen=True)
class Needy(Mine):
    needed: float = option(0.5, "what it needs")

    def __post_init__(self):
        if self.dimension > 3:
            raise ValueError("dimension must be at most 3")
"""

TEXT = """\
title = "Mine"
seed = 7129

[equation]
name = "./mine.py:Mine"
dimension = 7

[solver]
kind = "pinn"
steps = 300

[solver.optimizer]
learning_rate = 1e-4
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    (folder / "mine.py").write_text(MINE)
    (folder / "mine.toml").write_text(TEXT)
    return folder


def test_what_the_file_says_and_what_is_filled_in(folder: Path) -> None:
    case = load_case(folder / "mine.toml")
    assert (case.title, case.seed, case.device, case.threads) == ("Mine", 7129, "auto", None)
    assert dataclasses.asdict(case.equation)["dimension"] == 7  # type: ignore[call-overload]
    assert case.network == Mlp()
    assert case.solver == Pinn(steps=300, optimizer=Adam(learning_rate=1e-4))
    assert case.source == folder / "mine.toml"
    assert case.run_directory == Path("runs/mine")
    assert case.equation_file == folder / "mine.py"
    assert (case.name, case.equation_name, case.heading) == ("mine", "Mine", "Mine")


def test_the_resolved_case_holds_every_default(folder: Path) -> None:
    case = load_case(folder / "mine.toml")
    tables = case.resolved(folder)
    assert tables["equation"]["name"] == "./mine.py:Mine"
    assert tables["solver"]["optimizer"]["schedule"] == {"kind": "linear", "final": 0.0, "warmup": 0}
    assert tables["threads"] == "none"
    assert set(tables["solver"]) == {"kind", *(field.name for field in dataclasses.fields(Pinn))}
    assert tomllib.loads(case.to_toml(folder)) == tables
    assert parse_case(case.to_toml(folder), folder=folder) == case
    assert parse_case(case.to_toml()) == case  # with the full path of the user's file


FACTORS = st.floats(0, 1)
STEPS = st.integers(1, 2**40)
RATES = st.floats(1e-300, 1e300)
SCHEDULES = st.one_of(
    st.builds(Constant, warmup=STEPS),
    st.builds(Linear, final=FACTORS),
    st.builds(Cosine, final=FACTORS, warmup=STEPS),
    st.builds(Exponential, rate=st.floats(1e-9, 1)),
)
OPTIMIZERS = st.one_of(
    st.builds(Adam, learning_rate=RATES, schedule=SCHEDULES, beta1=FACTORS),
    st.builds(Lbfgs, schedule=SCHEDULES, history=STEPS),
    st.builds(Soap, learning_rate=RATES, schedule=SCHEDULES),
)
SOLVERS = st.builds(
    Pinn,
    steps=STEPS,
    precision=st.sampled_from(["float32", "float64"]),
    resample_every=st.one_of(st.none(), STEPS),
    clip_gradient=st.one_of(st.none(), RATES),
    derivatives=st.sampled_from([Auto(), Autodiff(), Taylor()]),
    optimizer=OPTIMIZERS,
    compile=st.booleans(),
)
NETWORKS = st.one_of(st.builds(Mlp, width=STEPS), st.just(FourierMlp()))
TITLES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PARAMETERS = st.fixed_dictionaries(
    {
        "dimension": STEPS,
        "rate": st.floats(allow_nan=False),
        "label": TITLES,
        "flags": st.lists(st.booleans(), max_size=3).map(tuple),
        "limit": st.one_of(st.none(), st.floats(allow_nan=False)),
    }
)


@given(
    parameters=PARAMETERS,
    network=NETWORKS,
    solver=SOLVERS,
    title=TITLES,
    seed=st.integers(0, 2**63 - 1),
    device=st.sampled_from(["auto", "cpu", "cuda", "cuda:3"]),
    threads=st.one_of(st.none(), STEPS),
    directory=st.one_of(st.none(), st.sampled_from([Path("a b/ü"), Path("/elsewhere/x"), Path("..")])),
)
@settings(max_examples=60, deadline=None)
def test_writing_and_reading_again_gives_the_same_case(folder: Path, parameters, directory, **parts) -> None:
    equation = resolve("equations", "./mine.py:Mine", folder)(**parameters)
    case = Case(equation, output=Output(directory=directory), **parts)
    assert parse_case(case.to_toml()) == case


def test_a_case_from_python_has_names_too(folder: Path) -> None:
    case = Case(resolve("equations", "./mine.py:Mine", folder)())
    assert (case.name, case.heading, case.run_directory) == ("Mine", "Mine", Path("runs/Mine"))
    with pytest.raises(ValueError, match="device must be"):
        dataclasses.replace(case, device="gpu")


def test_settings_replace_values(folder: Path) -> None:
    settings = [
        "solver.steps=2_000",
        "network.kind=fourier",
        "title=two words",
        'solver.optimizer={ kind = "adam", beta1 = 0.5 }',
        "solver.optimizer.schedule.kind=constant",
        "equation.flags=[true, false]",
        "equation.flags[0]=false",
    ]
    case = load_case(folder / "mine.toml", settings)
    assert case.solver == Pinn(steps=2000, optimizer=Adam(beta1=0.5, schedule=Constant()))
    assert isinstance(case.network, FourierMlp)
    assert case.title == "two words"
    assert case.resolved()["equation"]["flags"] == [False, False]


BAD_SETTINGS = {
    "solver.steps": ["--set", "expected key=value, such as solver.steps=2000; found 'solver.steps'"],
    "=3": ["--set", "expected key=value"],
    "solver..steps=3": ["--set", "expected key=value"],
    "solver.steps=many": ['--set solver.steps=many: solver.steps: expected an integer, found the string "many"'],
    "solver.steps=": ["--set solver.steps=: expected a TOML value or a bare word, found ''"],
    "solver.steps=[1": ["--set solver.steps=[1: expected a TOML value"],
    "solver.steps=1\nx=2": ["expected a TOML value"],
    "solver.stepz=1": ["--set solver.stepz=1: solver.stepz: unknown key; did you mean 'steps' or 'stage'?"],
    "seed.x=1": ["--set seed.x=1: seed: is a value, not a table"],
    "threads.x=1": ["--set threads.x=1: threads: expected an integer"],
    "solver.steps=0": ["--set solver.steps=0: solver.steps: must be at least 1, found the integer 0"],
    "network.kind=cnn": ["--set network.kind=cnn: network.kind: no network 'cnn'; known: "],
    "solver=3": ['--set solver=3: solver: expected a table with "kind", found the integer 3'],
}


@pytest.mark.parametrize("setting", BAD_SETTINGS)
def test_a_bad_setting_names_its_flag(folder: Path, setting: str) -> None:
    with pytest.raises(InputError) as error:
        load_case(folder / "mine.toml", [setting])
    for sentence in BAD_SETTINGS[setting]:
        assert sentence in str(error.value)


def test_a_setting_inside_an_array_must_exist() -> None:
    document = parse_document("a = [1, 2]")
    assert override(document, ["a.1=5"]).values == {"a": [1, 5]}
    assert document.values == {"a": [1, 2]}
    with pytest.raises(InputError, match=r"--set a\[2\]=5: a: expected an index from 0 to 1, found 2"):
        override(document, ["a[2]=5"])


def test_a_check_of_the_users_class_is_reported_at_its_key(folder: Path) -> None:
    with pytest.raises(InputError) as error:
        load_case(folder / "mine.toml", ["equation.name=./mine.py:Needy"])
    assert str(error.value) == f"{folder}/mine.toml:6: equation.dimension: must be at most 3"


def test_windows_files_and_byte_order_marks_are_read(folder: Path) -> None:
    path = folder / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    document = read_document(path)
    assert document.lines["solver", "steps"] == 10
    assert load_case(path) == load_case(folder / "mine.toml")


def test_several_mistakes_are_one_error(folder: Path) -> None:
    with pytest.raises(InputErrors) as error:
        load_case(folder / "mine.toml", ["seed=-1", "network.depht=3"])
    assert len(error.value.errors) == 2


@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_devices_that_are_there(name: str) -> None:
    assert torch_device(name).type in ("cpu", "cuda")


@pytest.mark.parametrize(
    ("name", "gpus", "sentence"),
    [
        ("cuda", 0, "asks for 'cuda', but "),
        ("cuda:1", 1, "the GPUs of this machine are cuda:0; use"),
        ("cuda:7", 4, "the GPUs of this machine are cuda:0 to cuda:3; use"),
    ],
)
def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch, name: str, gpus: int, sentence: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(InputError) as error:
        torch_device(name)
    assert sentence in str(error.value)
    assert error.value.key == "device"


def test_everything_that_is_exported_exists() -> None:
    assert all(hasattr(cases, name) for name in cases.__all__)
