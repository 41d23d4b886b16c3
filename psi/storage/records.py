"""Small records and secrets: replaced as a whole, one owner at a time, no links followed.

A kill or a full disk at any moment leaves either the old record or the new one. The caller chooses
the exception that its users see: `refusal`.
"""

import errno
import fcntl
import os
import secrets
import stat
import weakref
from pathlib import Path
from typing import BinaryIO, Self

from psi.errors import ConfigError
from psi.storage.process import Process
from psi.storage.whole import written

__all__ = ["Record", "read_secret", "read_whole", "regular_file", "write_new", "write_whole"]

_OTHERS = 0o077
_MOST_BYTES = 1 << 26
_MOST_SECRET_BYTES = 1 << 16  # of a key or a passphrase
_LOCK, _NEW = ".lock", ".new"  # endings of the files beside a record


class Record:
    """A short text on disk that one object at a time may change, in this process or another.

    Args:
        path: The file; a file beside it locks it until `close`. None: nothing is on disk.
        refusal: The exception to raise.

    Attributes:
        path: The file.

    Raises:
        ConfigError: Somebody else holds it, it is a link, its name is that of a file beside another
            record, or the folder cannot be written.
    """

    def __init__(self, path: Path | None, *, refusal: type[Exception] = ConfigError) -> None:
        if path is not None:
            _check_path(path, refusal)
        self.path = None if path is None else path.absolute()
        self._refusal, self.closed, self._process = refusal, False, Process()
        # Once it was read or written: what is in the file, unless somebody else writes there.
        self._seen = False
        self._known: bytes | None = None
        # If nobody closes it, the lock ends with the object, without a warning.
        self._lock = None if self.path is None else _locked(self.path, refusal)
        self._let_go = None if self._lock is None else weakref.finalize(self, os.close, self._lock)

    def read(self) -> str | None:
        """Return the text; None if there is none yet.

        Raises:
            ConfigError: It cannot be read.
        """
        if self.path is None:
            return None
        data = self._known = read_whole(self.path, refusal=self._refusal)
        self._seen = True
        # The owner writes text only: anything else becomes a text that the owner refuses.
        return None if data is None else data.decode(errors="replace")

    def write(self, text: str) -> None:
        """Replace the text; the new one is on disk when this returns.

        Raises:
            ConfigError: It is closed, this is a fork, it cannot be written, or its lock was deleted
                or its text changed by somebody else; what was there before is still there.
        """
        self._check_own()
        if self.path is not None:
            write_whole(self.path, text.encode(), refusal=self._refusal)
            self._seen, self._known = True, text.encode()

    def _check_own(self) -> None:
        if not self._process.is_this:
            raise self._refusal(f"{self} belongs to the process it was forked from")
        if self.closed:
            raise self._refusal(f"{self} was closed")
        if self.path is not None:
            self._check_mine(self.path)

    def _check_mine(self, path: Path) -> None:
        """Refuse to write over what another wrote, or where another may hold a lock of its own."""
        lock = path.with_name(path.name + _LOCK)
        try:
            held = self._lock is not None and os.path.samestat(lock.lstat(), os.fstat(self._lock))
        except OSError:
            held = False
        if not held:
            raise self._refusal(
                f"{lock} was deleted while {path.name} was in use, so another process may use it, "
                "too: end all that do, and open it again"
            )
        if self._seen and read_whole(path, refusal=self._refusal) != self._known:
            raise self._refusal(
                f"{path} was changed or removed by somebody else while in use: end all that use "
                "it, see which text is right, and open it again"
            )

    def remove(self) -> None:
        """Delete the text and its lock, and close the record.

        Raises:
            ConfigError: As `write`, or it cannot be deleted.
        """
        self._check_own()
        if self.path is not None:
            try:
                self.path.unlink(missing_ok=True)
                self.path.with_name(self.path.name + _LOCK).unlink(missing_ok=True)
            except OSError as error:
                raise self._refusal(f"cannot remove {self.path}: {_reason(error)}") from None
        self.close()

    def close(self) -> None:
        """Release the record for others; a call in a fork does not release it."""
        self.closed = True
        if self._lock is not None and self._let_go is not None and self._let_go.alive:
            if self._process.is_this:  # also if a fork, which has the open file, too, lives on
                fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def __str__(self) -> str:
        return "a record in memory" if self.path is None else str(self.path)


def write_whole(
    path: Path, data: bytes, *, mode: int = 0o600, refusal: type[Exception] = ConfigError
) -> None:
    """Replace a file, or make it; only for its one owner.

    Raises:
        ConfigError: It cannot be written; what was there before stays.
    """
    _check_path(path, refusal)
    try:
        part = path.with_name(path.name + _NEW)
        with written(path, part, mode=mode, replace=True) as file:
            file.write(data)
    except (OSError, ValueError) as error:
        raise refusal(f"cannot write {path}: {_reason(error)}") from None


def write_new(
    path: Path, data: bytes, *, mode: int = 0o600, refusal: type[Exception] = ConfigError
) -> None:
    """Make a file that appears as a whole, and never replaces another one.

    Raises:
        ConfigError: It is there already, or cannot be written.
    """
    _check_path(path, refusal)
    try:
        part = path.with_name(f"{path.name}.{secrets.token_hex(8)}{_NEW}")
        with written(path, part, mode=mode, replace=False) as file:
            file.write(data)
    except FileExistsError:
        raise refusal(f"{path} is there already; it is never written over") from None
    except (OSError, ValueError) as error:
        raise refusal(f"cannot write {path}: {_reason(error)}") from None


def read_whole(
    path: Path, *, most: int = _MOST_BYTES, refusal: type[Exception] = ConfigError
) -> bytes | None:
    """Return the content of a file; None if it is not there.

    Raises:
        ConfigError: It cannot be read, is larger than `most` bytes, or is a link or no file.
    """
    try:
        with regular_file(path, os.O_NOFOLLOW) as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise refusal(f"cannot read {path}: {_reason(error)}") from None
    _check_size(path, data, most, refusal)
    return data


def read_secret(
    path: Path, *, most: int = _MOST_SECRET_BYTES, refusal: type[Exception] = ConfigError
) -> bytes:
    """Return the content of a file that only its owner may read.

    Raises:
        ConfigError: It cannot be read, is larger than `most` bytes, is no file, or its mode lets
            others read it.
    """
    _check_path(path, refusal)
    try:
        with regular_file(path) as file:
            mode, data = os.fstat(file.fileno()).st_mode, file.read(most + 1)
    except OSError as error:
        raise refusal(f"cannot read {path}: {_reason(error)}") from None
    if mode & _OTHERS:
        raise refusal(f"others may read {path}; run: chmod 600 {path}")
    _check_size(path, data, most, refusal)
    return data


def regular_file(path: Path, flags: int = 0) -> BinaryIO:
    """Return a regular file, open to read; a pipe would let the reader wait for ever.

    Raises:
        OSError: It is no regular file, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | flags)
    except ValueError as error:  # Python's own, for a name with a null character
        raise OSError(errno.EINVAL, str(error)) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = "directory" if stat.S_ISDIR(mode) else "pipe or device"
            raise OSError(errno.EINVAL, f"it is a {kind}, no regular file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _locked(path: Path, refusal: type[Exception]) -> int:
    """Return the descriptor of a lock file beside `path`; the lock lasts until it is closed."""
    if path.is_symlink():  # under its real name it would have another lock
        raise refusal(f"cannot use {path}: it is a symbolic link; name the file itself")
    if path.name.endswith((_LOCK, _NEW)):  # a record with the shorter name would replace it
        raise refusal(f"cannot use {path}: {_LOCK} and {_NEW} end other files; rename it")
    try:
        # A link there could point to any file of the owner: it is not followed.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        beside = path.with_name(path.name + _LOCK)
        held = os.open(beside, flags, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(held)
            raise
    except BlockingIOError:
        raise refusal(f"{path} is in use by another process or object") from None
    except (OSError, ValueError) as error:
        raise refusal(f"cannot use {path}: {_reason(error)}") from None
    return held


def _check_size(path: Path, data: bytes, most: int, refusal: type[Exception]) -> None:
    if len(data) > most:
        raise refusal(f"{path} is larger than {most} bytes: give another path")


def _check_path(path: Path, refusal: type[Exception]) -> None:
    if not isinstance(path, Path):
        raise refusal(f"a file is named by a pathlib.Path, not by {type(path).__name__}")


def _reason(error: OSError | ValueError) -> str:
    # A ValueError is Python's own, for a name with a null character or without a file's name.
    return (isinstance(error, OSError) and error.strerror) or str(error)
