"""What a trained operator does on held-out instances: what is plotted of it, as arrays, and as a file."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import h5py
import numpy as np

from pinnx.errors import InputError


@final
@dataclass(frozen=True)
class OperatorView:
    """Held-out instances: errors and residuals of all of them, fields of a few.

    Attributes:
        axes: the nodes along each axis, by label, time last.
        unknowns: names of the unknowns that are shown.
        shown: numbers of the instances with fields, and what is special of each, such as "median error".
        values: of the solution, (shown, m, *grid).
        reference: of the same shape.
        residual: the weighted residual of the equation, (shown, *grid).
        blocks: the expert of each node, (*grid).
        errors: relative L2 error of each instance, by what it is the error of: `solution` and the baselines; (B,) each.
        block_residuals: root mean square of the weighted residual on each block, (B, experts).
        messages: how the solve of each instance ended; empty without a constraint.
    """

    axes: dict[str, np.ndarray]
    unknowns: tuple[str, ...]
    shown: dict[int, str]
    values: np.ndarray
    reference: np.ndarray
    residual: np.ndarray
    blocks: np.ndarray
    errors: dict[str, np.ndarray]
    block_residuals: np.ndarray
    messages: tuple[str, ...]

    @property
    def experts(self) -> int:
        """How many blocks there are."""
        return self.block_residuals.shape[1]

    def to_bytes(self, step: int) -> bytes:
        """The view as an HDF5 file, with the step that it is of."""
        memory = io.BytesIO()
        with h5py.File(memory, "w", track_order=True) as file:
            file.attrs.update({"step": step, "unknowns": list(self.unknowns)})
            file.attrs["shown"] = json.dumps({str(number): words for number, words in self.shown.items()})
            file.attrs["messages"] = json.dumps(list(self.messages), ensure_ascii=False)
            for group, arrays in (("axes", self.axes), ("errors", self.errors)):
                target = file.create_group(group, track_order=True)
                for name, array in arrays.items():
                    target[name] = array
            for name in ("values", "reference", "residual", "blocks", "block_residuals"):
                file[name] = getattr(self, name)
        return memory.getvalue()


def read_view(path: Path) -> tuple[OperatorView, int]:
    """A view and its step, from a file with the content of `to_bytes`.

    Raises:
        InputError: the file holds something else.
    """
    try:
        with h5py.File(path, "r") as file:

            def array(name: str) -> np.ndarray:
                return np.asarray(file[name][()])  # pyright: ignore[reportIndexIssue]

            view = OperatorView(
                axes={name: array(f"axes/{name}") for name in file["axes"]},  # pyright: ignore[reportGeneralTypeIssues]
                unknowns=tuple(str(name) for name in np.atleast_1d(np.asarray(file.attrs["unknowns"]))),
                shown={int(number): words for number, words in json.loads(str(file.attrs["shown"])).items()},
                values=array("values"),
                reference=array("reference"),
                residual=array("residual"),
                blocks=array("blocks"),
                errors={name: array(f"errors/{name}") for name in file["errors"]},  # pyright: ignore[reportGeneralTypeIssues]
                block_residuals=array("block_residuals"),
                messages=tuple(json.loads(str(file.attrs["messages"]))),
            )
            return view, int(np.asarray(file.attrs["step"]))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"not a file of held-out instances of pinnx ({error}); remove it, and it is made again", file=path
        ) from None


def median_and_worst(errors: np.ndarray) -> dict[int, str]:
    """The numbers of the two instances that are shown, and what they are; one if there is but one."""
    order = np.argsort(errors)
    chosen = {int(order[(len(order) - 1) // 2]): "median error"}
    if len(order) > 1:
        chosen[int(order[-1])] = "largest error"
    return chosen


def root_mean_squares(residual: np.ndarray, blocks: np.ndarray, counted: np.ndarray, experts: int) -> np.ndarray:
    """The root mean square of residuals on each block, (B, experts); NaN where a block has no node that counts.

    Args:
        residual: (B, *grid).
        blocks: the expert of each node, (*grid).
        counted: which nodes count, (*grid).
        experts: number of blocks.
    """
    result = np.full((len(residual), experts), np.nan)
    for expert in range(experts):
        here = (blocks == expert) & counted
        if here.any():
            result[:, expert] = np.sqrt(np.mean(residual[:, here] ** 2, axis=1))
    return result


def block_table(blocks: np.ndarray) -> np.ndarray:
    """The experts of a partition by products of intervals, as a table with one axis per axis of the grid.

    Args:
        blocks: the expert of each node, (*grid).
    """
    table = blocks
    for axis in range(blocks.ndim):
        moved = np.moveaxis(table, axis, 0)
        starts = [0, *(i for i in range(1, len(moved)) if (moved[i] != moved[i - 1]).any())]
        table = np.moveaxis(moved[starts], 0, axis)
    return table


def median_errors(errors: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The median over the instances, by what it is the error of."""
    return {name: float(np.median(values)) for name, values in errors.items()}
