"""Making a file of solved instances: part by part, so that whatever ends it loses one part at most."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np

from pinnx.errors import InputError
from pinnx.family import Family, FamilyData, open_data
from pinnx.family.data import FORMAT, differing, identity
from pinnx.problem import Equation
from pinnx.run.files import WriteError, make_folder, read_json, temporary, write_bytes, write_json
from pinnx.run.locks import lock
from pinnx.run.progress import duration

#: Values of a part, at most; and its instances.
PART_VALUES, PART_INSTANCES = 1 << 24, 16

Say = Callable[[str], None]


def make_data(equation: Equation, path: Path, count: int, seed: int, say: Say = lambda sentence: None) -> FamilyData:
    """Solve the instances numbered 0 … count - 1 of a seed and write them to a file.

    What an earlier call for the same instances left, a file or the parts of one, is taken over, so a call that was
    killed is simply repeated.

    Args:
        equation: one with a family of instances.
        path: of the file.
        count: number of instances.
        seed: of the instances.
        say: told how it goes.

    Raises:
        InputError: the equation has no family, or the file holds other instances.
        WriteError: the disk is full.
    """
    family = equation.problem().instances
    if family is None:
        raise InputError(
            f"{type(equation).__name__} is a single problem, without instances; those with instances are listed as "
            "families by `pinnx list equations`",
            key="equation.name",
        )
    if count < 1:
        raise InputError(f"must be at least 1, got {count}", key="--count")
    plan = _Plan(equation, family, path, count, seed)
    new = not plan.folder.exists()
    make_folder(plan.folder)
    with lock(plan.folder / "lock", "is making this file"):
        try:
            before = plan.before()
        except InputError:
            if new:
                shutil.rmtree(plan.folder, ignore_errors=True)
            raise
        if before is not None and len(before) >= count:
            say(f"{path} holds {len(before)} of these instances already")
        else:
            _solve(plan, before, say)
            _assemble(plan, before)
        shutil.rmtree(plan.folder, ignore_errors=True)
    return open_data(path)


@final
@dataclass(frozen=True)
class _Plan:
    """What is made."""

    equation: Equation
    family: Family
    path: Path
    count: int
    seed: int

    @property
    def folder(self) -> Path:
        """Where the parts are kept meanwhile."""
        return self.path.with_name(f"{self.path.name}.parts")

    @property
    def stamp(self) -> dict[str, Any]:
        """What the parts and the file must agree in."""
        return {**identity(self.equation, self.family), "seed": self.seed}

    @property
    def size(self) -> int:
        """Instances of a part."""
        values = self.family.grid.size * len(self.family.unknowns)
        return max(1, min(PART_INSTANCES, PART_VALUES // values))

    def before(self) -> FamilyData | None:
        """The file of an earlier call; raises InputError if it, or its parts, are of other instances."""
        found = open_data(self.path) if self.path.exists() else None
        if found is not None:
            differing({**found.identity, "seed": found.seed}, self.stamp, self.path)
        note = self.folder / "plan.json"
        if note.is_file():
            differing(read_json(note), self.stamp, self.folder)
        write_json(note, self.stamp)
        return found

    def parts(self, first: int) -> Iterator[tuple[range, Path]]:
        """The numbers of each part from `first` on, and its file."""
        for start in range(first, self.count, self.size):
            numbers = range(start, min(start + self.size, self.count))
            yield numbers, self.folder / f"{numbers.start:08}-{numbers.stop:08}.npy"


def _solve(plan: _Plan, before: FamilyData | None, say: Say) -> None:
    """Make every part that is missing."""
    first = 0 if before is None else len(before)
    parts = list(plan.parts(first))
    missing = [(numbers, file) for numbers, file in parts if _read(file, plan, len(numbers)) is None]
    there = plan.count - sum(len(numbers) for numbers, _ in missing)
    say(f"{plan.path}: {plan.count} instances" + (f", {there} of them solved before" if there else ""))
    started, done, shown = time.monotonic(), 0, time.monotonic()
    for numbers, file in missing:
        solutions = plan.family.reference(plan.family.numbered(list(numbers), plan.seed))
        memory = io.BytesIO()
        np.save(memory, solutions.numpy())
        write_bytes(file, memory.getbuffer())
        done += len(numbers)
        now = time.monotonic()
        if now - shown >= 2 or numbers.stop == plan.count:
            shown, left = now, plan.count - there - done
            ahead = f", {duration((now - started) / done * left)} left" if left else f" in {duration(now - started)}"
            say(f"  {there + done}/{plan.count} solved{ahead}")


def _read(file: Path, plan: _Plan, count: int) -> np.ndarray | None:
    """A part that is whole, or None."""
    try:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (count, len(plan.family.unknowns), *plan.family.grid.shape) else None


def _assemble(plan: _Plan, before: FamilyData | None) -> None:
    """Write the file from the earlier one and the parts, in one step as others see it."""
    writing = temporary(plan.path)
    try:
        with h5py.File(writing, "w", track_order=True) as file:
            _describe(file, plan)
            shape = (plan.count, len(plan.family.unknowns), *plan.family.grid.shape)
            # a checksum for each instance: damage is found when it is read
            target = file.create_dataset("solutions", shape, "f8", chunks=(1, *shape[1:]), fletcher32=True)
            first = 0 if before is None else len(before)
            for row in range(first):
                assert before is not None
                target[row] = before.solutions([row])[0].numpy()
            for numbers, part in plan.parts(first):
                found = _read(part, plan, len(numbers))
                assert found is not None
                target[numbers.start : numbers.stop] = found
        with open(writing, "rb") as whole:
            os.fsync(whole.fileno())
        os.replace(writing, plan.path)
    except OSError as error:
        writing.unlink(missing_ok=True)
        raise WriteError(plan.path, error) from error


def _describe(file: h5py.File, plan: _Plan) -> None:
    file.attrs["format"] = FORMAT
    file.attrs["identity"] = json.dumps(identity(plan.equation, plan.family), ensure_ascii=False)
    file.attrs["seed"] = plan.seed
    file.attrs["unknowns"] = list(plan.family.unknowns)
    axes = plan.family.grid.axes
    file.attrs["axes"] = [axis.label for axis in axes]
    for axis in axes:
        file[f"axes/{axis.label}"] = axis.positions().numpy()
    instances = plan.family.numbered(list(range(plan.count)), plan.seed)
    file["parameters"] = instances.parameters.numpy()
    if instances.initial is not None:  # for other programs; pinnx makes them of the parameters
        file["initial"] = instances.initial.numpy()
    for name, field in instances.inputs.items():
        file[f"inputs/{name}"] = field.numpy()
