"""A case: everything that decides a run, from a case file or from Python."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from pinnx import registry
from pinnx.case.decode import decode
from pinnx.case.document import Document, override, parse_document, read_document
from pinnx.case.encode import encode
from pinnx.case.writer import to_toml
from pinnx.loggers.base import Logger
from pinnx.networks.base import NetworkSpec
from pinnx.options import at_least, check_limits, option
from pinnx.problem import Equation
from pinnx.solvers.base import Solver, SystemSolver, Training

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def _needs_equation(table: Mapping[str, Any]) -> bool:
    """Whether the solver that a case file names is for equations."""
    solver = table.get("solver")
    kind = solver.get("kind") if isinstance(solver, Mapping) else None
    if kind not in registry.names("solvers"):
        return True
    return not issubclass(registry.resolve("solvers", kind), SystemSolver)


def _is_device(name: str) -> str | None:
    return (
        None if _DEVICE.fullmatch(name) else 'must be "auto", "cpu", "mps", "cuda" or "cuda:N" with a device number N'
    )


@final
@dataclass(frozen=True)
class Output:
    """Where a run is written, and how often."""

    directory: Path | None = option(None, 'the run directory; "none" stands for runs/ and the name of the case file')
    every: int = option(10, "steps between two rows of metrics", at_least(1))
    checkpoint_every: int = option(1000, "steps between two checkpoints", at_least(1))
    keep: int = option(2, "checkpoints that are kept, the newest ones", at_least(1))
    loggers: tuple[Logger, ...] = option((), "programs that are shown the metrics, too")

    def __post_init__(self) -> None:
        check_limits(self)


@final
@dataclass(frozen=True)
class Case:
    """An equation, a network, a solver, and what else decides a run.

    Example:
        >>> from pinnx.equations.poisson import Poisson
        >>> Case(Poisson(dimension=3), seed=7129).run_directory.as_posix()
        'runs/poisson'
    """

    equation: Equation | None = dataclasses.field(
        default=None,
        metadata={
            "doc": "the equation and its parameters; only linear systems that are none of an equation's go without",
            "needed": _needs_equation,
        },
    )
    network: NetworkSpec = option(
        lambda: registry.resolve("networks", "mlp")(), "the network that stands for the unknown"
    )
    solver: Solver = option(lambda: registry.resolve("solvers", "pinn")(), "the method and its options")
    title: str = option("", "heading of the report; empty for the name of the equation")
    seed: int = option(20931, "of all random numbers: the same seed gives the same run", at_least(0))
    device: str = option("auto", '"auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps"', _is_device)
    threads: int | None = option(None, 'CPU threads; "none" leaves the choice to PyTorch', at_least(1))
    output: Output = option(Output, "where the run is written, and how often")
    source: Path | None = dataclasses.field(default=None, compare=False, metadata={"internal": True})

    def __post_init__(self) -> None:
        check_limits(self)
        if self.equation is None and not isinstance(self.solver, SystemSolver):
            raise ValueError("equation is missing: this solver is for equations")

    @property
    def name(self) -> str:
        """A short name for files: that of the case file, or of the equation."""
        return self.equation_name if self.source is None else self.source.stem

    @property
    def equation_name(self) -> str:
        """The registered name of the equation, or the name of the user's class; of the solver where there is none."""
        if self.equation is None:
            return str(self.solver.kind)
        _, reference = registry.identify(type(self.equation)) or ("", type(self.equation).__name__)
        return reference.rpartition(":")[2]

    @property
    def heading(self) -> str:
        """The title, or what stands for it."""
        return self.title or self.equation_name

    @property
    def run_directory(self) -> Path:
        """Where the run is written, relative to the current folder."""
        return self.output.directory or Path("runs") / self.name

    @property
    def equation_file(self) -> Path | None:
        """The user's Python file that the equation comes from: a complete run directory holds a copy of it."""
        return None if self.equation is None else registry.user_file(type(self.equation))

    def start(self, device: torch.device) -> Training:
        """The training of this case, at step 0.

        Raises:
            UnsupportedError: the solver, the network and the equation do not fit together.
        """
        if self.equation is None:
            assert isinstance(self.solver, SystemSolver)
            return self.solver.start(None, self.network, seed=self.seed, device=device)
        return self.solver.start(self.equation.problem(), self.network, seed=self.seed, device=device)

    def resolved(self, folder: Path | None = None) -> dict[str, Any]:
        """The case as the tables of a case file, with every default filled in.

        Args:
            folder: name the user's equation file relative to this folder, if it lies in it; else by its full path.
        """
        return encode(self, folder=folder)

    def to_toml(self, folder: Path | None = None) -> str:
        """The resolved case as the text of a case file, which `parse_case` reads back as an equal case."""
        return to_toml(self.resolved(folder))


def load_case(path: Path | str, overrides: Iterable[str] = (), *, flag: str = "--set") -> Case:
    """Read a case file.

    Args:
        path: a TOML file.
        overrides: settings "key.path=value" that replace values of the file.
        flag: what the user wrote these settings after, for messages.

    Raises:
        InputError: the file cannot be read or holds a mistake; if several, all of them (`InputErrors`).
    """
    path = Path(path)
    return case_of(override(read_document(path), overrides, flag))


def parse_case(text: str, *, folder: Path | None = None) -> Case:
    """A case from the text of a case file.

    Args:
        text: TOML.
        folder: what paths of user-written equations are relative to; by default the current folder.

    Raises:
        InputError: the text holds a mistake.
    """
    return case_of(parse_document(text), folder=folder)


def case_of(document: Document, *, folder: Path | None = None) -> Case:
    """A case from a document; raises InputError or InputErrors for what is wrong with it."""
    case = decode(Case, document, folder=folder)
    return dataclasses.replace(case, source=document.file)
