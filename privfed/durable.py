"""Small files that survive a power cut: replaced as a whole, one owner at a time."""

import fcntl
import os
from pathlib import Path
from typing import IO

from privfed.errors import ConfigError


def write(path: Path, text: str) -> None:
    """Replace a file by `text`, which is on disk when this returns.

    Raises:
        ConfigError: the file cannot be written; what was there before still is.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.unlink(missing_ok=True)  # what a kill left behind
        _fill(fresh, text.encode(), 0o666)
        fresh.replace(path)
        _sync_folder(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def create(path: Path, data: bytes) -> None:
    """Write a new file of mode 0600, whole and on disk when this returns; never over another.

    Raises:
        ConfigError: the file is there already, or cannot be written.
    """
    fresh = path.with_name(f"{path.name}.{os.urandom(8).hex()}.new")
    try:
        _fill(fresh, data, 0o600)
        try:
            os.link(fresh, path)  # unlike a rename, not over an existing file
        finally:
            fresh.unlink()
        _sync_folder(path)
    except FileExistsError:
        raise ConfigError(f"{path} is there already; it is never written over") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def lock(path: Path) -> IO[bytes]:
    """Return an open lock file next to `path`; the lock lasts until it is closed.

    Raises:
        ConfigError: somebody else holds it, or the folder cannot be written.
    """
    try:
        # A link there may lead to anything of the owner's: it is not followed.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        held = os.fdopen(os.open(path.with_name(path.name + ".lock"), flags, 0o666), "r+b")
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"{path} is in use by another process or object") from None
    except OSError as error:
        raise ConfigError(f"cannot use {path}: {error.strerror}") from None
    return held


def _fill(fresh: Path, data: bytes, mode: int) -> None:
    """Write a file that is not there yet, and through no link; what fails leaves none."""
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        fresh.unlink()
        raise


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # a new name must survive a power cut too
    finally:
        os.close(folder)
