"""Files that appear whole or not at all, and never in the place of what is read.

A regular file is written beside its place, synced and renamed. One that is replaced leaves its
mode; a symbolic link is followed and stays. What is no regular file (a pipe, a FIFO, a device, the
file that standard output goes to) is written through. Nothing here knows of tables or protocols.
"""

import contextlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from psi.errors import ConfigError

__all__ = ["check_folder", "check_place", "new_file", "put_new", "same_file", "whole_file"]

_STANDARD_OUTPUT = 1


def check_place(
    path: Path, *, inputs: Iterable[Path] = (), replace: bool = False, room_bytes: int = 0
) -> None:
    """Complain before any work about a place that `whole_file` would refuse after it.

    Args:
        path: Where a file is to be written.
        inputs: Files that are read or kept, and so never replaced, `replace` or not.
        replace: Whether a file that is there may be replaced.
        room_bytes: How much the file may measure.

    Raises:
        ConfigError: It is an input by any name, is there already, or cannot be written.
    """
    for other in inputs:
        if same_file(path, other):
            raise ConfigError(f"{path} is {other}, which is not replaced: name another file")
    try:
        found = _state(path)
        if found is not None and _is_through(path, found):
            if not (_is_standard_output(found) or os.access(path, os.W_OK)):
                raise ConfigError(f"{path} cannot be written: Permission denied")
            return
        if found is not None and not replace:
            raise ConfigError(f"{path} exists: name another file, or replace it with --force")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
    folder = _target(path).parent
    check_folder(folder, str(path))
    left = shutil.disk_usage(folder).free
    if left < room_bytes:
        raise ConfigError(
            f"{path} may take {room_bytes} bytes and its disk has {left} left: make room, or "
            "choose another folder"
        )


def check_folder(folder: Path, name: str | None = None) -> None:
    """Complain about a folder that nothing can be put into.

    Args:
        folder: Where something is to be made.
        name: What to say cannot be written; the folder without it.

    Raises:
        ConfigError: It is none, or cannot be written.
    """
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"{name or folder} cannot be written ({error.strerror or error}): choose a folder "
            "that exists and is yours"
        ) from error


def same_file(one: Path, other: Path) -> bool:
    """Whether two names are of one file: by a link of either kind, or a file yet to be made."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


@contextlib.contextmanager
def whole_file(path: Path, *, replace: bool = False) -> Iterator[BinaryIO]:
    """A file to write that becomes `path` at the end, unless an error ends it.

    Args:
        path: The place; `check_place` tells beforehand what is wrong with it.
        replace: Whether a file that is there is replaced; it keeps its mode.

    Raises:
        ConfigError: It cannot be written; what was there is as it was. If that is a file which is
            not to be replaced, the new one stays beside it, and the message says where.
    """
    try:
        found = _state(path)
        if found is not None and _is_through(path, found):
            with _through(path, found) as file:
                yield file
            return
        with _beside(_target(path), found if replace else None) as file:
            yield file
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror or error}): what was there stays"
        ) from error


def new_file(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file where there is none; it is whole and on disk, or gone.

    Raises:
        OSError: There is one, or it cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def put_new(part: Path, target: Path) -> None:
    """Give a finished file its name, where nothing has it yet; `part` may be left for removal.

    Raises:
        FileExistsError: Something has the name.
        OSError: It cannot be given.
    """
    try:
        target.hardlink_to(part)  # a second name: unlike renaming it never replaces
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links
        if os.path.lexists(target):
            raise FileExistsError from None
        part.replace(target)


@contextlib.contextmanager
def _beside(target: Path, old: os.stat_result | None) -> Iterator[BinaryIO]:
    # A short name: that of the target may be as long as a name can be.
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    keep = False
    try:
        mode = 0o666 if old is None else stat.S_IMODE(old.st_mode)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if old is not None:
                with contextlib.suppress(PermissionError):  # another's file becomes one's own
                    os.fchown(file.fileno(), old.st_uid, old.st_gid)
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        try:
            if old is None:
                put_new(part, target)
            else:
                part.replace(target)
        except FileExistsError:
            keep = True
            raise ConfigError(f"{target} is there by now: the new file is {part}") from None
        _sync_folder(target.parent)
    finally:
        if not keep:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def _through(path: Path, found: os.stat_result) -> Iterator[BinaryIO]:
    if _is_standard_output(found):  # opened anew, it would be written from its start
        descriptor = os.dup(_STANDARD_OUTPUT)
    else:
        descriptor = os.open(path, os.O_WRONLY)
    with os.fdopen(descriptor, "wb") as file:
        yield file


def _is_through(path: Path, found: os.stat_result) -> bool:
    if stat.S_ISDIR(found.st_mode) or stat.S_ISBLK(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        raise ConfigError(f"{path} cannot be written: name a file, not a folder, disk or socket")
    return not stat.S_ISREG(found.st_mode) or _is_standard_output(found)


def _is_standard_output(found: os.stat_result) -> bool:
    try:
        return os.path.samestat(found, os.fstat(_STANDARD_OUTPUT))
    except OSError:  # it is closed
        return False


def _state(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _target(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _sync_folder(folder: Path) -> None:
    """Bring a new name to the disk, too; where a folder can't be synced, the file is there."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
