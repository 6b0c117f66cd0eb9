"""Locks between processes: files that the system holds locked for a process and frees when it ends, killed or not."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pinnx.errors import InputError

try:
    import fcntl
except ImportError:  # Windows: two processes on one run are not kept apart there
    fcntl = None

#: Who looks whether a lock is held takes it for a moment; nobody shall be turned away for that.
PATIENCE = 0.3


class LockedError(InputError):
    """Another process holds a lock; the message names it."""


@contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Keep other processes out.

    Args:
        path: the lock file, which stays when the lock is lifted.
        what: what the other process is doing, for the message: "is writing this run".

    Raises:
        LockedError: another process holds the lock.
        InputError: the file cannot be written, or its file system knows no locks.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=path.parent) from None
    try:
        _take(handle, path, what)
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        yield
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock; False where the file system does not tell."""
    if fcntl is None or not path.is_file():
        return False
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def _take(handle: int, path: Path, what: str) -> None:
    if fcntl is None:
        return None
    patient_until = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > patient_until:
                raise LockedError(
                    f"another process {what} ({_owner(handle)}); wait for it, or stop it", file=path.parent
                ) from None
            time.sleep(0.02)
        except OSError as error:
            raise InputError(
                f"cannot be locked ({error.strerror}); use a file system with locks: on NFS the mount option nolock, "
                "on Lustre the lack of flock forbid them",
                file=path,
            ) from None


def _owner(handle: int) -> str:
    try:
        owner = json.loads(os.read(handle, 1000))
        return f"process {owner['pid']} on {owner['host']}"
    except (ValueError, KeyError, TypeError):
        return "it has not said which"
