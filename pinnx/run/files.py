"""Writing files so that whoever reads them, after whatever crash, finds the old content or the new, never a part."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinnx.errors import InputError, PinnxError

_TEMPORARY = re.compile(r"\..*\.writing")


class WriteError(PinnxError):
    """A file could not be written, most often because the disk is full; what was written before is intact."""

    exit_code = 4

    def __init__(self, path: Path, error: OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = "free some space" if full else "mend that"
        super().__init__(
            f"cannot write {path}: {error.strerror or error}; what was written before is intact: {advice}, then resume "
            "the run or repeat the command"
        )


def temporary(path: Path) -> Path:
    """Where the content of a file is written before it takes the file's place."""
    return path.with_name(f".{path.name}.writing")


def is_temporary(path: Path) -> bool:
    """Whether a file is the rest of a write that a crash cut short."""
    return _TEMPORARY.fullmatch(path.name) is not None


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Replace a file as a whole, durably: once this returns, not even a power failure loses it.

    Raises:
        WriteError: the disk is full, or the file cannot be written for another reason.
    """
    part = temporary(path)
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WriteError(path, error) from error


def write_text(path: Path, content: str) -> None:
    """Replace a text file as a whole; as `write_bytes`."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file as a whole; numbers that are not finite, which JSON lacks, become null."""
    write_text(path, json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None
    except ValueError as error:
        line = getattr(error, "lineno", None)
        raise InputError(f"expected JSON, found something else ({error})", file=path, line=line) from None
    if not isinstance(content, dict):
        raise InputError(f"expected a JSON object, found {type(content).__name__}", file=path)
    return content


def make_folder(path: Path) -> None:
    """Make a folder and those above it; raises InputError where that is impossible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError("is a file, or lies below one; expected a folder", file=path) from None
    except OSError as error:
        raise InputError(f"the folder cannot be made: {error.strerror}", file=path) from None


def _sync_folder(folder: Path) -> None:
    """Make the new name durable, too. Windows cannot open a folder, and needs no such thing."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
