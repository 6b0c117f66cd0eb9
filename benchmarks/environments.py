"""An environment of its own for each package that is compared, with the PyTorch that pinnx itself uses."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

REQUIREMENTS = {"deepxde": "deepxde==1.15.0", "pina": "pina-mathlab==0.3.2.post2610"}
"""The packages that pinnx is compared with, by the name of their worker."""


class CannotInstallError(Exception):
    """A package could not be installed; the message says why."""


def prepare(name: str, folder: Path) -> Path:
    """The Python of the environment of a package, made if it is not there.

    Args:
        name: a key of `REQUIREMENTS`.
        folder: holds the environments.

    Returns:
        The environment's Python.

    Raises:
        CannotInstallError: pip could not do it.
    """
    root = folder / name
    python = root / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp, wanted = root / ".ready", f"{REQUIREMENTS[name]}\ntorch=={version('torch')}\n{_host_packages()}\n"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"Making an environment for {REQUIREMENTS[name]}, once.", file=sys.stderr)
    _run(sys.executable, "-m", "venv", "--clear", str(root))
    # One PyTorch for all: the same build is compared, and nothing large is fetched. What the environment installs by
    # itself comes first on its path.
    packages = _output(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    Path(packages, "host.pth").write_text(f"{_host_packages()}\n", encoding="utf-8")
    with tempfile.TemporaryDirectory() as temporary:
        constraint = Path(temporary, "constraints.txt")
        constraint.write_text(f"torch=={version('torch')}\n", encoding="utf-8")
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run(str(python), *pip, "-c", str(constraint), REQUIREMENTS[name])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _host_packages() -> Path:
    """Where the PyTorch of this interpreter lies."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        raise CannotInstallError("PyTorch is not installed here")
    return Path(next(iter(spec.submodule_search_locations))).parent


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = [line for line in (result.stderr or result.stdout).splitlines() if line.strip()]
        raise CannotInstallError(lines[-1] if lines else f"{command[0]} ended with {result.returncode}")


def _output(python: Path, *arguments: str) -> str:
    return subprocess.run([python, *arguments], capture_output=True, text=True, check=True).stdout.strip()
