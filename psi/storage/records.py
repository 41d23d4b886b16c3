"""Small records and secrets: replaced as a whole, one owner at a time, no links followed.

A kill or a full disk at any moment leaves the record before or the one after. What a caller's users
are to see as an error is the caller's: `refusal` makes it.
"""

import fcntl
import os
import secrets
from pathlib import Path
from typing import IO, Self

from psi.errors import ConfigError
from psi.storage.process import Process
from psi.storage.whole import written

__all__ = ["Record", "read_secret", "read_whole", "write_new", "write_whole"]

_OTHERS = 0o077
_MOST_BYTES = 1 << 26


class Record:
    """A short text on disk that one object at a time may change, in this process or another.

    Args:
        path: The file; locked by a file beside it until `close`. None: nothing is on disk.
        refusal: The exception to raise.

    Attributes:
        path: The file.

    Raises:
        ConfigError: Somebody else holds it, it is a link, or the folder cannot be written.
    """

    def __init__(self, path: Path | None, *, refusal: type[Exception] = ConfigError) -> None:
        if path is not None:
            _check_path(path, refusal)
        self.path = None if path is None else path.absolute()
        self._refusal, self.closed, self._process = refusal, False, Process()
        self._lock = None if self.path is None else _locked(self.path, refusal)

    def read(self) -> str | None:
        """What it says; None if it is not there yet.

        Raises:
            ConfigError: It cannot be read.
        """
        if self.path is None:
            return None
        data = read_whole(self.path, refusal=self._refusal)
        # What is no text is nothing that the owner wrote, and reads as nothing it knows.
        return None if data is None else data.decode(errors="replace")

    def write(self, text: str) -> None:
        """Replace it; the new text is on disk when this returns.

        Raises:
            ConfigError: It is closed or cannot be written; what was there before still is.
        """
        if self.closed:
            raise self._refusal(f"{self} was closed")
        if self.path is not None:
            write_whole(self.path, text.encode(), refusal=self._refusal)

    def close(self) -> None:
        """Let others have it."""
        self.closed = True
        if self._lock is not None and not self._lock.closed:
            if self._process.is_this:  # also where a fork lives on, which has the open file too
                fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def __str__(self) -> str:
        return "a record in memory" if self.path is None else str(self.path)


def write_whole(
    path: Path, data: bytes, *, mode: int = 0o600, refusal: type[Exception] = ConfigError
) -> None:
    """Replace a file, or make it; for the one owner that it has.

    Raises:
        ConfigError: It cannot be written; what was there before still is.
    """
    _check_path(path, refusal)
    try:
        part = path.with_name(path.name + ".new")
        with written(path, part, mode=mode, replace=True) as file:
            file.write(data)
    except (OSError, ValueError) as error:
        raise refusal(f"cannot write {path}: {_reason(error)}") from None


def write_new(
    path: Path, data: bytes, *, mode: int = 0o600, refusal: type[Exception] = ConfigError
) -> None:
    """Make a file, of which nobody ever sees a part; never over another one.

    Raises:
        ConfigError: It is there already, or cannot be written.
    """
    _check_path(path, refusal)
    try:
        part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
        with written(path, part, mode=mode, replace=False) as file:
            file.write(data)
    except FileExistsError:
        raise refusal(f"{path} is there already; it is never written over") from None
    except (OSError, ValueError) as error:
        raise refusal(f"cannot write {path}: {_reason(error)}") from None


def read_whole(
    path: Path, *, most: int = _MOST_BYTES, refusal: type[Exception] = ConfigError
) -> bytes | None:
    """The content of a file; None if it is not there.

    Raises:
        ConfigError: It cannot be read, is larger than `most` bytes, or is a link.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise refusal(f"cannot read {path}: {_reason(error)}") from None
    if len(data) > most:
        raise refusal(f"{path} is larger than {most} bytes: give another path")
    return data


def read_secret(path: Path, *, refusal: type[Exception] = ConfigError) -> bytes:
    """The content of a file that only its owner may read.

    Raises:
        ConfigError: It cannot be read, or its mode lets others read it.
    """
    _check_path(path, refusal)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(1 << 16)
    except (OSError, ValueError) as error:
        raise refusal(f"cannot read {path}: {_reason(error)}") from None
    if os.name == "posix" and mode & _OTHERS:
        raise refusal(f"others may read {path}; run: chmod 600 {path}")
    return data


def _locked(path: Path, refusal: type[Exception]) -> IO[bytes]:
    """An open lock file beside `path`; the lock lasts until it is closed."""
    if path.is_symlink():  # under its other name it would have another lock
        raise refusal(f"cannot use {path}: it is a symbolic link; name the file itself")
    try:
        # A link there may lead to anything of the owner's: it is not followed.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        held = os.fdopen(os.open(path.with_name(path.name + ".lock"), flags, 0o600), "r+b")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            held.close()
            raise
    except BlockingIOError:
        raise refusal(f"{path} is in use by another process or object") from None
    except (OSError, ValueError) as error:
        raise refusal(f"cannot use {path}: {_reason(error)}") from None
    return held


def _check_path(path: Path, refusal: type[Exception]) -> None:
    if not isinstance(path, Path):
        raise refusal(f"a file is named by a pathlib.Path, not by {type(path).__name__}")


def _reason(error: OSError | ValueError) -> str:
    # Python itself refuses a name with a null character, and a folder's where a file's is due.
    return (isinstance(error, OSError) and error.strerror) or str(error)
