"""Copies of case files and of the user's Python files that they name. Nothing is imported: no torch, no user code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pinnx.case import Document, override, read_document
from pinnx.case.document import dotted
from pinnx.case.lines import Key
from pinnx.errors import InputError
from pinnx.registry.references import is_path
from pinnx.run.files import make_folder, write_bytes
from pinnx.run.sources import with_imports


def copy_case(case: Path, target: Path, settings: Sequence[str]) -> list[str]:
    """Copy a case file, and into the same folder the user's Python files that it needs.

    Args:
        case: the case file.
        target: its copy.
        settings: "key=value" that will be set in it; they may name files, too.

    Returns:
        Settings that let the copy find the copied files, where their paths differ.

    Raises:
        InputError: a file cannot be read, two files have one name, or the target holds another content.
    """
    document = override(read_document(case), settings)
    files: dict[str, Path] = {}
    renamed = []
    for key, reference in _references(document):
        place, _, name = reference.rpartition(":")
        source = _source(place, case.parent)
        if source is None:
            continue
        for file in with_imports(source, set()):
            if files.setdefault(file.name, file) != file:
                raise InputError(f"two files have the name {file.name}: {files[file.name]} and {file}", file=case)
        short = f"./{source.name}:{name}"
        renamed += [f"{dotted(key)}={short}"] if short != reference else []
    make_folder(target.parent)
    _copy(case, target)
    for file in files.values():
        _copy(file, target.parent / file.name)
    return renamed


def _references(document: Document) -> Iterator[tuple[Key, str]]:
    """Where a case names a class by its place: "./file.py:Class", "module:Class"."""
    for key, value in _leaves(document.values, ()):
        if key[-1] in ("name", "kind") and isinstance(value, str) and ":" in value:
            yield key, value


def _source(place: str, folder: Path) -> Path | None:
    """The user's file that a reference names, or None for what is installed."""
    file = folder / (place if is_path(place + ":") else f"{place}.py")
    if file.is_file():
        return file.resolve()
    if is_path(place + ":"):
        raise InputError(f"no such file: {file}")
    return None


def _copy(source: Path, target: Path) -> None:
    content = source.read_bytes()
    if target.is_file() and target.read_bytes() != content:
        raise InputError(
            f"{source.name} has changed since this directory was made, and its runs must be of one case; choose "
            "another directory with --output, or bring the old file back",
            file=target.parent,
        )
    if not target.is_file():
        write_bytes(target, content)


def _leaves(value: Any, key: Key) -> Iterator[tuple[Key, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, (*key, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*key, index))
    else:
        yield key, value
