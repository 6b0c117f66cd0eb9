"""The user's own Python files that an equation comes from: a complete run directory holds copies of them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pinnx.errors import InputError
from pinnx.run.files import make_folder, write_bytes

if TYPE_CHECKING:
    from pinnx.case import Case


def sources_of(case: Case) -> list[Path]:
    """The user's files that the equation of a case needs; raises InputError for one that no case file can name."""
    if case.equation is None:
        return []
    require_nameable(type(case.equation))
    return user_sources(type(case.equation), case.source.parent if case.source else None)


def user_sources(equation: type, folder: Path | None) -> list[Path]:
    """The file that defines an equation, if it is the user's own, and the files beside it that it imports.

    Args:
        equation: the class.
        folder: of the case file; modules that lie in it are the user's, too.

    Returns:
        Absolute paths, that of the equation first; empty for equations of installed packages.
    """
    file = getattr(sys.modules.get(equation.__module__), "__file__", None)
    if file is None or equation.__module__ == "__main__":
        return []
    own = Path(file).resolve()
    loaded_by_path = equation.__module__ not in sys.modules or equation.__module__.startswith("pinnx_user_")
    beside_case = folder is not None and own.is_relative_to(folder.resolve()) and "site-packages" not in own.parts
    if not (loaded_by_path or beside_case) or equation.__module__.startswith("pinnx."):
        return []
    return list(with_imports(own, set()))


def require_nameable(equation: type) -> None:
    """Raise InputError for a class that a case file cannot name, since it lives inside a function or another class."""
    if not equation.__qualname__.isidentifier():
        raise InputError(
            f"the class {equation.__qualname__} must stand at the top level of a module, so that the case file of the "
            "run can name it"
        )


def copy_sources(files: list[Path], target: Path) -> None:
    """Copy files into a folder, flat: modules that lay beside each other still find each other there."""
    if files:
        make_folder(target)
    for file in files:
        write_bytes(target / file.name, file.read_bytes())


def with_imports(file: Path, seen: set[Path]) -> Iterator[Path]:
    """A Python file and those beside it that it imports, found in its text: nothing is run.

    Args:
        file: absolute path.
        seen: files that are known already and left out; those that are found are added.
    """
    if file in seen:
        return
    seen.add(file)
    yield file
    for name in _imported(file):
        module = file.parent / f"{name}.py"
        if module.is_file():
            yield from with_imports(module, seen)


def _imported(file: Path) -> Iterator[str]:
    """Names of the top-level modules that a file imports."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
