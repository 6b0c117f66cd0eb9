"""The errors that a user of pinnx can meet.

Every error that the user's own input causes derives from `PinnxError`, so that the command line can print it as one
message and return its exit code, while a bug keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class PinnxError(Exception):
    """Base of all errors that are answered with one message instead of a traceback.

    Attributes:
        exit_code: what the command line returns (2: the input is wrong; 4: the run failed).
    """

    exit_code: int = 2


class InputError(PinnxError, ValueError):
    """The user's input is wrong: it says where, what was found, and what would be right.

    Args:
        message: what was found and what was expected, one sentence.
        file: the file that holds the mistake.
        line: its line, from 1.
        key: dotted key of a case file, name of a flag or of an array.
    """

    def __init__(
        self, message: str, *, file: Path | str | None = None, line: int | None = None, key: str | None = None
    ):
        self.message, self.file, self.line, self.key = message, file, line, key
        place = f"{file}:{line}" if file is not None and line is not None else str(file) if file is not None else ""
        super().__init__(": ".join(part for part in (place, key, message) if part))


class InputErrors(InputError):
    """Several mistakes, reported at once, one line each."""

    def __init__(self, errors: Iterable[InputError]):
        self.errors = tuple(errors)
        Exception.__init__(self, "\n".join(str(error) for error in self.errors))
        self.message, self.file, self.line, self.key = str(self), None, None, None


class ShapeError(InputError):
    """A tensor has the wrong shape; the message names the tensor, the shape expected and the shape found."""


class UnsupportedError(InputError):
    """A combination that cannot work was asked for; the message says why, and what would."""


class MissingExtraError(PinnxError, ImportError):
    """A package of an optional extra is missing.

    Args:
        package: the missing package.
        extra: the extra of pinnx that installs it.
        purpose: what needs it, in the user's words.
    """

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(f'{purpose} needs the package {package}: pip install "pinnx[{extra}]"')


class DivergedError(PinnxError):
    """Training produced a value that is not finite; the message names the step and the term."""

    exit_code = 4


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the closest known names, else all of them, as the end of a sentence."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(names)}"
