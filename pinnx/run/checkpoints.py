"""Checkpoints: the whole state of a training, each in a file of its own, written as a whole."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from pinnx.errors import InputError
from pinnx.run.files import make_folder, write_bytes

FORMAT = 1
_NAME = re.compile(r"step-(\d+)\.pt")


@final
@dataclass(frozen=True)
class Checkpoint:
    """A state to go on from.

    Attributes:
        step: steps done.
        seconds: spent in steps so far.
        wall_seconds: spent altogether so far.
        training: the state of the training.
    """

    step: int
    seconds: float
    wall_seconds: float
    training: dict[str, Any]


@final
class Checkpoints:
    """The checkpoints in a folder.

    Args:
        folder: where they are.
        keep: how many are kept, the newest ones.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = folder, keep

    def files(self) -> list[Path]:
        """The files, newest first."""
        if not self.folder.is_dir():
            return []
        found = [(int(match[1]), file) for file in self.folder.iterdir() if (match := _NAME.fullmatch(file.name))]
        return [file for _, file in sorted(found, reverse=True)]

    @property
    def newest_step(self) -> int | None:
        """Step of the newest checkpoint, or None if there is none."""
        return next((int(_NAME.fullmatch(file.name)[1]) for file in self.files()), None)  # type: ignore[index]

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, then remove those that are not kept.

        Raises:
            WriteError: the disk is full; the older checkpoints are intact.
        """
        make_folder(self.folder)
        content = {"format": FORMAT, **vars(checkpoint)}
        memory = io.BytesIO()  # torch hides the operating system's reason when it fails to write a file
        torch.save(content, memory)
        path = self.folder / f"step-{checkpoint.step:08d}.pt"
        write_bytes(path, memory.getbuffer())
        for old in self.files()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that can be read, or None if there is none at all.

        Raises:
            InputError: there are checkpoints, and none can be read.
        """
        problems = []
        for file in self.files():
            try:
                return read_checkpoint(file)
            except InputError as error:
                problems.append(error)
        if problems:
            raise problems[0]
        return None


def read_checkpoint(file: Path) -> Checkpoint:
    """The checkpoint in a file; it holds tensors and plain values only, and reading it runs no code.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise InputError(f"has format {content['format']}, expected {FORMAT}: use the pinnx it was written by")
        return Checkpoint(content["step"], content["seconds"], content["wall_seconds"], content["training"])
    except InputError as error:
        raise InputError(error.message, file=file) from None
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"not a checkpoint of pinnx, or damaged ({type(error).__name__}: {reason})", file=file
        ) from None
