"""Look-ups in the registry: what a family holds, the class of a name, the name of a class."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pinnx.errors import InputError, did_you_mean
from pinnx.registry.references import load_reference, user_file
from pinnx.registry.table import BASES, REGISTRY, Entry

_SINGULAR = {"derivatives": "derivatives", "samples": "samples"}


def selector(family: str) -> str:
    """The key of a case file that names the member of a family: "name" for equations, "kind" for all others."""
    return "name" if family == "equations" else "kind"


def entries(family: str) -> dict[str, Entry]:
    """The members of a family, by name: pinnx's own, then those that installed packages register.

    A package registers a member in the entry-point group `pinnx.<family>`; it cannot replace one of pinnx's own.
    """
    plugins = {
        point.name: Entry(point.value, f"from the package {point.dist.name if point.dist else '?'}")
        for point in _plugins(family)
    }
    own = _own(family)
    return {**own, **{name: entry for name, entry in plugins.items() if name not in own}}


def names(family: str) -> tuple[str, ...]:
    """The names of a family's members."""
    return tuple(entries(family))


def families_of(name: str) -> tuple[str, ...]:
    """The families that have a member of this name."""
    return tuple(family for family in REGISTRY if name in entries(family))


def resolve(family: str, reference: str, folder: Path | str | None = None) -> type[Any]:
    """The class that a name or reference stands for.

    Args:
        family: one of the registry's families.
        reference: a registered name; for equations also "package.module:Class" and "./file.py:Class".
        folder: what relative paths are relative to; by default the current folder.

    Raises:
        InputError: there is no such member; the message says what there is.
    """
    known = entries(family)
    if reference in _own(family):
        return _load(known[reference].target)
    if reference in known:
        return _load_plugin(family, reference, known[reference])
    if family == "equations" and (":" in reference or reference.endswith(".py")):
        return load_reference(reference, _load(BASES[family]), Path(folder or "."))
    hint = did_you_mean(reference, known)
    own = " (an equation of your own is named like './my_equation.py:MyEquation')" if family == "equations" else ""
    raise InputError(f"no {_SINGULAR.get(family, family.rstrip('s'))} {reference!r}; {hint}{own}")


def family_of(hint: object) -> str | None:
    """The family whose abstract class a type is, or None."""
    place = _place(hint)
    return next((family for family, base in BASES.items() if base == place), None)


def identify(cls: type, folder: Path | None = None) -> tuple[str, str] | None:
    """The family of a class, and the reference that `resolve` would turn into it; None outside of all families.

    Args:
        cls: the class.
        folder: write the path of a user's file relative to this folder, if it lies in it; else absolute.
    """
    family = next((found for base in cls.__mro__ if (found := family_of(base))), None)
    if family is None:
        return None
    for name, entry in entries(family).items():
        if entry.target.replace(" ", "") == _place(cls):
            return family, name
    file = user_file(cls)
    if file is None:
        return family, _place(cls)
    inside = folder is not None and file.is_relative_to(folder.resolve())
    path = f"./{file.relative_to(folder.resolve()).as_posix()}" if folder and inside else file.as_posix()
    return family, f"{path}:{cls.__qualname__}"


def _own(family: str) -> dict[str, Entry]:
    if family not in REGISTRY:
        raise InputError(f"no family {family!r}; {did_you_mean(family, REGISTRY)}")
    return dict(REGISTRY[family])


def _plugins(family: str) -> Iterator[EntryPoint]:
    yield from entry_points(group=f"pinnx.{family}")


def _load(target: str) -> type[Any]:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _load_plugin(family: str, name: str, entry: Entry) -> type[Any]:
    try:
        cls = _load(entry.target)
    except Exception as error:
        raise InputError(f"{name!r}, {entry.summary}, cannot be imported: {type(error).__name__}: {error}") from error
    base = _load(BASES[family])
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise InputError(f"{name!r}, {entry.summary}, is not a subclass of {_place(base)}")
    return cls


def _place(cls: object) -> str:
    return f"{getattr(cls, '__module__', '')}:{getattr(cls, '__qualname__', '')}"
