"""What is peculiar to a cluster: a profile in TOML, written once for all users."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from pinnx.errors import InputError, InputErrors, did_you_mean

#: Names the profile, where no flag does.
VARIABLE = "PINNX_SITE"


@final
@dataclass(frozen=True)
class Site:
    """A cluster, and what its users take for granted there.

    Attributes:
        partition: where jobs run.
        account: that pays for them.
        qos: quality of service.
        time: limit of a job where none is given.
        gpus_per_node: that a job takes where none are given.
        cpus_per_task: that a process takes where none are given.
        memory: of a node, such as "32G".
        directives: further options of sbatch, such as "--constraint=a100".
        modules: loaded in this order.
        setup: lines of bash, after the modules.
        environment: variables that are exported.
        container: command that runs another one in a container, such as "apptainer exec --nv /images/pinnx.sif".
        command: what pinnx is called in a job; by default this very installation.
        launcher: what starts several processes.
        signal: Slurm's --signal, the name of a signal and the seconds before the end.
        template: of the script, in the place of pinnx's own.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    time: str = ""
    gpus_per_node: int = 0
    cpus_per_task: int = 0
    memory: str = ""
    directives: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    container: str = ""
    command: str = ""
    launcher: str = "srun --kill-on-bad-exit=1"
    signal: str = "USR1@120"
    template: str = ""


def read_site(path: Path | None) -> Site:
    """The profile in a file; by default in that which PINNX_SITE names, else in ~/.config/pinnx/site.toml.

    Raises:
        InputError: the file cannot be read, or holds a mistake; if several, all of them (`InputErrors`).
    """
    file = path or _default()
    if file is None:
        return Site()
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no such site profile: {file}", file=None if path else VARIABLE) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"not a site profile in TOML: {error}", file=file) from None
    known = {each.name: each for each in dataclasses.fields(Site)}
    errors, found = [], {}
    for key, value in values.items():
        if key not in known:
            errors.append(InputError(f"unknown key; {did_you_mean(key, known)}", file=file, key=key))
        elif problem := _mistake(str(known[key].type), value):
            errors.append(InputError(f"{problem}, found {value!r}", file=file, key=key))
        else:
            found[key] = tuple(value) if isinstance(value, list) else value
    if errors:
        raise InputErrors(errors)
    if template := found.get("template"):
        found["template"] = str(file.parent / template)
    return Site(**found)


def _default() -> Path | None:
    if named := os.environ.get(VARIABLE):
        return Path(named)
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    file = Path(folder).expanduser() / "pinnx" / "site.toml"
    return file if file.is_file() else None


def _mistake(kind: str, value: Any) -> str | None:
    """What is wrong with a value, of a type as it is written above."""
    if kind == "str":
        return None if isinstance(value, str) else "expected a string"
    if kind == "int":
        return None if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else "expected a number"
    if kind.startswith("tuple"):
        good = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return None if good else "expected an array of strings"
    good = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    return None if good else "expected a table of strings"
