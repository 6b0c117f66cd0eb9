"""Classes that the user names by place: `package.module:Class` and `./file.py:Class`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from pinnx.errors import InputError, PinnxError, did_you_mean

_MARK = "__pinnx_user_source__"  # set in the modules of users, so that their mistakes can be told from ours


def is_path(reference: str) -> bool:
    """Whether a reference names a file rather than a module."""
    place = reference.rpartition(":")[0]
    return place.endswith(".py") or "/" in place or "\\" in place


def load_reference(reference: str, base: type, folder: Path) -> type:
    """The class that a reference names.

    Args:
        reference: "package.module:Class", or "./file.py:Class" with the path relative to `folder`.
        base: the class must derive from it.
        folder: also where modules are looked for last.

    Raises:
        InputError: the file or module cannot be found or imported, or holds no such class.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name.isidentifier():
        example = (
            "./my_equation.py:MyEquation" if is_path(reference) or reference.endswith(".py") else "package.module:Class"
        )
        raise InputError(f"{reference!r} must name a place and a class, like {example!r}")
    with _importable(folder):
        module = _load_file(folder / place) if is_path(reference) else _load_module(place)
    candidate = getattr(module, name, None)
    if candidate is None and place == "__main__":
        raise InputError(
            f"{name} was defined in a script or notebook that is not running: move it to a file of its own"
        )
    if candidate is None:
        known = [key for key, value in vars(module).items() if _defines(module, value, base)]
        hint = did_you_mean(name, known) if known else f"it defines no subclass of {base.__name__}"
        raise InputError(f"{place} has no class {name!r}; {hint}")
    if not (isinstance(candidate, type) and issubclass(candidate, base)):
        raise InputError(f"{reference!r} must be a subclass of {base.__module__}.{base.__name__}, and is not")
    return candidate


def user_file(cls: type) -> Path | None:
    """The file that a class was loaded from by its path; None for classes of installed modules."""
    source = vars(sys.modules.get(cls.__module__, object)).get(_MARK)
    return source if isinstance(source, Path) else None


def user_mistake(error: BaseException) -> InputError | None:
    """The error as a message that points into the user's own code, or None where no user code took part."""
    if isinstance(error, PinnxError):
        return None
    if isinstance(error, SyntaxError) and error.filename:
        return InputError(f"not valid Python: {error.msg}", file=error.filename, line=error.lineno)
    frames = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _MARK in frame.f_globals
    ]
    if not frames:
        return None
    file, line = frames[-1]
    return InputError(f"{type(error).__name__}: {error}", file=file, line=line)


def _load_module(name: str) -> ModuleType:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _importing(error, name) from error
        raise InputError(f"no module {error.name!r}: it is neither installed nor in this folder") from error
    except Exception as error:
        raise _importing(error, name) from error
    if not name.startswith("pinnx."):
        setattr(module, _MARK, name)
    return module


def _load_file(path: Path) -> ModuleType:
    """Import a file once; again only when its text has changed."""
    path = path.resolve()
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    stamp = zlib.crc32(source)
    name = f"pinnx_user_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    if name in sys.modules and getattr(sys.modules[name], "__pinnx_stamp__", None) == stamp:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    module.__dict__.update({_MARK: path, "__pinnx_stamp__": stamp})
    sys.modules[name] = module  # dataclasses and type hints look their module up
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # not the loader: its cached bytecode may be older
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _importing(error, str(path)) from error
    return module


def _importing(error: BaseException, place: str) -> InputError:
    mistake = _last_frame_outside_python(error) if user_mistake(error) is None else user_mistake(error)
    return mistake or InputError(f"importing {place} failed: {type(error).__name__}: {error}")


def _last_frame_outside_python(error: BaseException) -> InputError | None:
    """For a module that failed before it could be marked: the deepest frame that is neither ours nor Python's."""
    ours = (__file__, importlib.__file__, "<frozen")
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    frames = [(file, line) for file, line in frames if not file.startswith(ours)]
    if not frames:
        return None
    return InputError(f"{type(error).__name__}: {error}", file=frames[-1][0], line=frames[-1][1])


def _defines(module: ModuleType, value: object, base: type) -> bool:
    return isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let modules beside the case file be imported for the moment, after all installed ones."""
    saved = list(sys.path)
    sys.path += [str(folder.resolve()), str(Path.cwd())]
    try:
        yield
    finally:
        sys.path[:] = saved
