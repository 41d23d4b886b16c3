"""The one way in which a file is made: beside its place, synced, and then put there."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["put_new", "sync_folder", "written"]

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_GROUP = 0o070


@contextlib.contextmanager
def written(
    target: Path,
    part: Path,
    *,
    mode: int,
    replace: bool,
    like: os.stat_result | None = None,
    keep: bool = False,
) -> Iterator[BinaryIO]:
    """Yield a file to write that is at `target`, whole and on disk, when the block ends well.

    Args:
        target: The place.
        part: Its name meanwhile, in the same folder; a file that a kill left there is removed.
        mode: Who may read it.
        replace: Whether a file at `target` is replaced; otherwise it stays.
        like: The file whose owner and group it gets, as far as this user may set them.
        keep: Whether `part` stays where a file that is not replaced is in the way.

    Raises:
        FileExistsError: There is a file that is not to be replaced.
        OSError: It cannot be written; what was there stays unchanged.
    """
    in_the_way = False
    try:
        part.unlink(missing_ok=True)
        descriptor = os.open(part, _NEW, mode)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if like is not None:
                os.fchmod(file.fileno(), mode & _owned(file.fileno(), like))
            os.fsync(file.fileno())
        try:
            if replace:
                part.replace(target)
            else:
                put_new(part, target)
        except FileExistsError:
            in_the_way = True
            raise
        sync_folder(target.parent)
    finally:
        if not (keep and in_the_way):
            part.unlink(missing_ok=True)


def _owned(descriptor: int, like: os.stat_result) -> int:
    """Set a file's owner and group, as far as this user may; return the mode bits it may keep."""
    try:
        os.fchown(descriptor, like.st_uid, like.st_gid)
    except PermissionError:  # somebody else's file becomes this user's
        try:
            os.fchown(descriptor, -1, like.st_gid)
        except PermissionError:
            return ~_GROUP  # the group's bits were meant for another group
    return ~0


def put_new(part: Path, target: Path) -> None:
    """Name a finished file, unless something has the name; `part` may be left for removal.

    Raises:
        FileExistsError: Something has the name.
        OSError: The name cannot be given.
    """
    try:
        target.hardlink_to(part)  # a second name: unlike renaming, this never replaces a file
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links
        if os.path.lexists(target):
            raise FileExistsError from None
        part.replace(target)


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that a new name is on disk; where it can't be synced, the file is there."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
