"""A sweep's directory: which members there are, and where the files of each lie. Reading one needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from pinnx.case import Document, override, read_document
from pinnx.errors import InputError
from pinnx.hpc.plan import Settings
from pinnx.hpc.sources import copy_case
from pinnx.run.directory import RunDirectory
from pinnx.run.files import make_folder, read_json, write_json
from pinnx.run.locks import lock

FORMAT = 1
INDEX = "sweep.json"


@final
@dataclass(frozen=True)
class Member:
    """One run of a sweep.

    Attributes:
        name: four digits or more.
        case: the case file.
        settings: what is set in it for all members.
        own: what is set for this one.
        folder: holds what is known of this member beside its run.
        run: its run directory.
    """

    name: str
    case: Path
    settings: tuple[str, ...]
    own: Settings
    folder: Path
    run: RunDirectory

    @property
    def claim(self) -> Path:
        """The lock file of the process that runs this member."""
        return self.folder / "claim"

    @property
    def outcome(self) -> Path:
        """How the last attempt ended."""
        return self.folder / "outcome.json"

    @property
    def history(self) -> Path:
        """A line for each start and each end."""
        return self.folder / "history.txt"

    @property
    def output(self) -> Path:
        """What its process printed."""
        return self.folder / "output.txt"

    def document(self) -> Document:
        """The case with all settings; raises InputError if it cannot be read."""
        document = override(read_document(self.case), self.settings, "--set")
        return override(document, [f"{key}={value}" for key, value in self.own.items()], f"member {self.name}:")


@final
@dataclass(frozen=True)
class Sweep:
    """Members that are run one by one, by whoever comes, each of them once.

    Attributes:
        path: the directory.
        members: in the order of their names.
        keys: what varies among them.
    """

    path: Path
    members: tuple[Member, ...]
    keys: tuple[str, ...] = field(default=())

    @property
    def batch(self) -> Path:
        """The folder of the scripts and the output of batch jobs."""
        return self.path / "slurm"

    def member(self, name: str) -> Member:
        """A member by its name or its number; raises InputError if there is none."""
        found = [member for member in self.members if member.name == name]
        if not found and name.isdecimal() and int(name) < len(self.members):
            found = [self.members[int(name)]]
        if not found:
            last = self.members[-1].name if self.members else "none"
            raise InputError(f"no member {name!r}; there are {len(self.members)}, up to {last}", file=self.path)
        return found[0]


def is_sweep(path: Path) -> bool:
    """Whether a directory holds a sweep."""
    return (path / INDEX).is_file()


def read_sweep(path: Path | str) -> Sweep:
    """The sweep in a directory.

    Raises:
        InputError: there is none, or its index is damaged.
    """
    path = Path(path)
    if path.is_dir() and not is_sweep(path):
        raise InputError(f"not a sweep: expected the file {INDEX} in it, which `pinnx sweep` writes", file=path)
    index = read_json(path / INDEX)
    try:
        if index["format"] != FORMAT:
            raise InputError(f"has format {index['format']}, expected {FORMAT}: use the pinnx it was written by")
        members = tuple(_member(path, entry, tuple(index["settings"])) for entry in index["members"])
        return Sweep(path, members, tuple(dict.fromkeys(key for member in members for key in member.own)))
    except InputError as error:
        raise InputError(error.message, file=path / INDEX) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"not the index of a sweep: {type(error).__name__} at {error}", file=path / INDEX) from None


def make_sweep(path: Path, case: Path, settings: Sequence[str], members: Sequence[Settings]) -> Sweep:
    """Write a sweep's directory, or add members to one; those that it has keep their names.

    Args:
        path: the directory.
        case: the case file, which is copied with the Python files that it names.
        settings: "key=value" for all members.
        members: settings of each.

    Raises:
        InputError: the directory holds something else, or a sweep of another case, or with members that are not among
            these.
    """
    fresh = [{"settings": settings_of_one} for settings_of_one in members]
    return _write(path, case, settings, fresh)


def make_collection(path: Path, cases: Sequence[Path], settings: Sequence[str]) -> Sweep:
    """Write a directory whose members are cases, each with the run directory that it states; as `make_sweep`."""
    entries, runs = [], {}
    for number, case in enumerate(cases):
        document = override(read_document(case), settings)
        run = _run_directory(document, case)
        if run in runs:
            raise InputError(f"has the run directory of {runs[run]}: {run}; give each its own", file=case)
        runs[run] = case
        entries.append({"settings": {}, "run": str(run), "source": case, "case": f"members/{number:04}/{case.name}"})
    return _write(path, None, settings, entries)


def counted(members: int) -> str:
    """A number of members in words, such as "3 members"."""
    return f"{members} member" + ("" if members == 1 else "s")


def note(member: Member, sentence: str) -> None:
    """Add a line to a member's history."""
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    with open(member.history, "a", encoding="utf-8") as file:
        file.write(f"{stamp} {sentence}\n")


def _write(path: Path, case: Path | None, settings: Sequence[str], entries: Sequence[dict[str, Any]]) -> Sweep:
    if path.exists() and not is_sweep(path) and (not path.is_dir() or any(_strangers(path))):
        raise InputError("holds something else; choose another directory with --output", file=path)
    make_folder(path)
    with lock(path / "lock", "is writing this sweep"):
        renamed = copy_case(case, path / "case.toml", settings) if case is not None else []
        ours = [*settings, *renamed]
        old = read_json(path / INDEX) if is_sweep(path) else {"members": [], "settings": ours}
        if old["settings"] != ours:
            raise InputError(
                f"holds a sweep with other settings: {old['settings']} there, {ours} here; choose another directory "
                "with --output",
                file=path,
            )
        known = {_key(entry): entry for entry in old["members"]}
        if lost := known.keys() - {_key(entry) for entry in entries}:
            raise InputError(
                f"holds a sweep with {len(lost)} members that are not asked for now, such as {sorted(lost)[0]}; "
                "choose another directory with --output, or go on with that sweep by `pinnx sweep DIRECTORY`",
                file=path,
            )
        for entry in entries:
            if "source" in entry:
                copy_case(entry["source"], path / entry["case"], settings)
        members = [*old["members"], *(entry for entry in entries if _key(entry) not in known)]
        for number, entry in enumerate(members):
            name = f"{number:04}"
            defaults = {"name": name, "case": "case.toml", "run": f"members/{name}/run"}
            members[number] = {key: value for key, value in {**defaults, **entry}.items() if key != "source"}
        write_json(path / INDEX, {"format": FORMAT, "settings": ours, "members": members})
    return read_sweep(path)


def _key(entry: Mapping[str, Any]) -> str:
    """What tells members apart."""
    own = ", ".join(f"{key}={value}" for key, value in sorted(entry["settings"].items()))
    return own or str(entry.get("run", "the case itself"))


def _member(path: Path, entry: Mapping[str, Any], settings: tuple[str, ...]) -> Member:
    name = str(entry["name"])
    own = {str(key): str(value) for key, value in entry["settings"].items()}
    case, run = path / entry["case"], RunDirectory(path / entry["run"])  # an absolute path stays as it is
    return Member(name, case, settings, own, path / "members" / name, run)


def _strangers(path: Path) -> list[Path]:
    ours = {"lock", "case.toml", INDEX}
    return [file for file in path.iterdir() if file.name not in ours and not file.name.startswith(".")]


def _run_directory(document: Document, case: Path) -> Path:
    """Where `pinnx solve` would write the run, as an absolute path."""
    output = document.values.get("output", {})
    stated = output.get("directory", "none") if isinstance(output, dict) else "none"
    folder = Path("runs", case.stem) if stated == "none" else Path(str(stated))
    return folder.absolute()
