"""Files of solved instances, read as they are asked for: `pinnx data make` writes them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np
import torch
from torch import Tensor

from pinnx.errors import InputError
from pinnx.family.base import Family, Instances

FORMAT = "pinnx instances 1"
"""What a file of this kind says of itself."""
HELD_OUT = 1_000_003
"""What is added to the seed of a case for the instances that errors are measured on."""


def identity(equation: Any, family: Family) -> dict[str, Any]:
    """What decides about the instances of an equation and their references: its name and its parameters."""
    fields = [field.name for field in dataclasses.fields(equation) if field.name not in family.indifferent]
    table = {"equation": type(equation).__qualname__, **{name: getattr(equation, name) for name in fields}}
    return json.loads(json.dumps(table))  # as it comes back from a file


def open_data(path: Path | str) -> FamilyData:
    """The solved instances in a file.

    Raises:
        InputError: there is no such file, or it is damaged or of another kind; the message says which.
    """
    return FamilyData(Path(path))


@final
class FamilyData:
    """Solved instances in an HDF5 file; nothing but their parameters is kept in memory.

    Args:
        path: of the file.

    Attributes:
        path: of the file.
        identity: the equation's name and the parameters that decide about the solutions.
        seed: of the instances, which are those numbered 0, 1, …
        unknowns: names of the unknowns.
        axes: the nodes along each axis, by label.
        parameters: of all instances, (count, p), float64.

    Raises:
        InputError: there is no such file, or it is damaged or of another kind.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.is_file():
            raise InputError("is a folder; expected a file" if path.is_dir() else "no such file", file=path)
        try:
            with h5py.File(path, "r") as file:
                found = file.attrs.get("format")
                if found != FORMAT:
                    raise self._bad(f"expected a file of solved instances ({FORMAT!r}), found format {found!r}")
                self.identity: dict[str, Any] = json.loads(str(file.attrs["identity"]))
                self.seed = int(np.asarray(file.attrs["seed"]))
                self.unknowns = tuple(str(name) for name in np.atleast_1d(np.asarray(file.attrs["unknowns"])))
                labels = [str(label) for label in np.atleast_1d(np.asarray(file.attrs["axes"]))]
                self.axes = {label: np.asarray(file[f"axes/{label}"]) for label in labels}
                self.parameters = torch.from_numpy(np.asarray(file["parameters"], dtype=np.float64))
                shape = tuple(file["solutions"].shape)  # pyright: ignore[reportAttributeAccessIssue]
        except (OSError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise self._bad(f"not a file of solved instances, or a damaged one ({error})") from None
        expected = (len(self.parameters), len(self.unknowns), *map(len, self.axes.values()))
        if shape != expected:
            raise self._bad(f"solutions must have shape {expected}, found {shape}")

    def __len__(self) -> int:
        return len(self.parameters)

    def require(self, equation: Any, family: Family) -> None:
        """Raise InputError, naming what differs, unless the file is of this equation with these parameters."""
        differing(self.identity, identity(equation, family), self.path)

    def solutions(self, index: slice | Sequence[int]) -> Tensor:
        """The solutions of some instances, (B, m, *grid), float64.

        Raises:
            InputError: the file holds no such instances, is damaged there or holds numbers that are not finite.
        """
        rows = range(len(self))[index] if isinstance(index, slice) else list(index)
        if any(not 0 <= row < len(self) for row in rows):
            raise self._bad(f"holds the instances 0 … {len(self) - 1}, and {max(rows)} was asked for")
        ordered = sorted(set(rows))  # HDF5 reads rows in ascending order only
        try:
            with h5py.File(self.path, "r") as file:
                found = np.asarray(file["solutions"][ordered], dtype=np.float64)  # pyright: ignore[reportIndexIssue]
        except (OSError, KeyError) as error:
            raise self._bad(f"damaged: the solutions cannot be read ({error})") from None
        if not np.isfinite(found).all():
            bad = ordered[int(np.argwhere(~np.isfinite(found))[0, 0])]
            raise self._bad(f"damaged: the solution of the instance {bad} has numbers that are not finite")
        places = {row: place for place, row in enumerate(ordered)}
        return torch.from_numpy(found[[places[row] for row in rows]])

    def batches(
        self, family: Family, size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Instances, Tensor]]:
        """All instances with their solutions, so many at a time.

        Args:
            family: makes the instances of the parameters.
            size: of a batch; the last one may be smaller.
            generator: draws their order; by default they come by their numbers.
        """
        order = torch.arange(len(self)) if generator is None else torch.randperm(len(self), generator=generator)
        for rows in order.split(size):
            yield family.realize(self.parameters[rows]), self.solutions(rows.tolist())

    def _bad(self, message: str) -> InputError:
        return InputError(message, file=self.path)


def differing(found: Mapping[str, Any], expected: Mapping[str, Any], path: Path) -> None:
    """Raise InputError, naming the first things that differ, unless a file is of the expected identity."""
    names = [name for name in {**expected, **found} if found.get(name) != expected.get(name)]
    if names:
        shown = "; ".join(
            f"{name} is {found.get(name, 'missing')!r} there, {expected.get(name, 'missing')!r} here"
            for name in names[:4]
        )
        raise InputError(f"holds other instances: {shown}", file=path)
