"""Small files that survive a power cut: replaced as a whole, one owner at a time."""

import fcntl
import os
from pathlib import Path

from privfed.errors import ConfigError


def write(path: Path, text: str) -> None:
    """Replace a file by `text`, which is on disk when this returns.

    Raises:
        ConfigError: the file cannot be written.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        with fresh.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name must survive a power cut too
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def lock(path: Path) -> object:
    """Return an open lock file next to `path`; the lock lasts as long as the object.

    Raises:
        ConfigError: somebody else holds it, or the folder cannot be written.
    """
    try:
        held = path.with_name(path.name + ".lock").open("w")
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"{path} is in use by another process or object") from None
    except OSError as error:
        raise ConfigError(f"cannot use {path}: {error.strerror}") from None
    return held
