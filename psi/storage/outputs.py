"""Files that appear whole or not at all, and never replace what is read.

A regular file is written beside its place, synced and renamed. A new one takes over the mode of the
one it replaces, but no setuid or setgid bit. A symbolic link is followed and stays. What is no
regular file (a pipe, a FIFO, a device, the file that standard output goes to) is written directly.
Nothing here knows of tables or protocols.
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
from psi.storage.whole import written

__all__ = ["check_folder", "check_place", "same_file", "whole_file"]

_STANDARD_OUTPUT = 1
_RUNNING = 0o111  # the bits of a mode that let somebody run the file, not read or write it


def check_place(
    path: Path, *, inputs: Iterable[Path] = (), replace: bool = False, room_bytes: int = 0
) -> None:
    """Refuse before any work a place that `whole_file` would refuse after it.

    Args:
        path: Where a file is to be written.
        inputs: Files that are read or kept, and so never replaced, `replace` or not.
        replace: Whether a file that is there may be replaced.
        room_bytes: How large the file may become.

    Raises:
        ConfigError: It is an input, also by another name; or it exists, or cannot be written.
    """
    for other in inputs:
        if same_file(path, other):
            same = "read or kept here" if path == other else f"{other}, which is read or kept here"
            raise ConfigError(f"{path} is {same} and not replaced: name another file")
    try:
        found = _state(path)
        if found is not None and _is_through(path, found):
            if not (_is_standard_output(found) or os.access(path, os.W_OK)):
                raise ConfigError(f"{path} cannot be written: Permission denied")
            return
        if found is not None and not replace:
            raise ConfigError(f"{path} exists: name another file, or replace it by replace=True")
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
    """Refuse a folder in which nothing can be made.

    Args:
        folder: Where something is to be made.
        name: What the error names as not writable; None: the folder.

    Raises:
        ConfigError: It is no folder, or cannot be written.
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
    """Return whether two names are of one file: through links, or a file that is yet to be made."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


@contextlib.contextmanager
def whole_file(
    path: Path,
    *,
    replace: bool = False,
    mode: int = 0o666,
    parents: bool = False,
    refusal: type[Exception] = ConfigError,
) -> Iterator[BinaryIO]:
    """Yield a file to write that becomes `path` at the end, unless an error ends it.

    Args:
        path: The place; `check_place` checks it beforehand.
        replace: Whether a file that is there is replaced; it keeps its mode.
        mode: Who may read it at most; the umask of the process takes bits away.
        parents: Whether a folder that is missing is made.
        refusal: The exception to raise.

    Raises:
        ConfigError: It cannot be written; what was there stays unchanged. If that is a file which
            is not to be replaced, the new file stays beside it, and the message says where.
    """
    try:
        found = _state(path)
        if found is not None and _is_through(path, found, refusal):
            with _through(path, found) as file:
                yield file
            return
        target = _target(path)
        if parents:
            target.parent.mkdir(parents=True, exist_ok=True)
        # A short name, as the target's may be as long as a name can be.
        part = target.with_name(f".{secrets.token_hex(8)}.part")
        old = found if replace else None
        if old is not None:
            mode = stat.S_IMODE(old.st_mode) & (mode | _RUNNING)
        try:
            with written(target, part, mode=mode, replace=replace, like=old, keep=True) as file:
                yield file
        except FileExistsError:
            raise refusal(f"{target} is there by now: the new file is {part}") from None
    except OSError as error:
        raise refusal(
            f"{path} cannot be written ({error.strerror or error}): what was there stays; make "
            "room, or choose another folder"
        ) from error


@contextlib.contextmanager
def _through(path: Path, found: os.stat_result) -> Iterator[BinaryIO]:
    if _is_standard_output(found):  # opened anew, it would be overwritten from its start
        descriptor = os.dup(_STANDARD_OUTPUT)
    else:
        descriptor = os.open(path, os.O_WRONLY)
    with os.fdopen(descriptor, "wb") as file:
        yield file


def _is_through(path: Path, found: os.stat_result, refusal: type[Exception] = ConfigError) -> bool:
    if stat.S_ISDIR(found.st_mode) or stat.S_ISBLK(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        raise refusal(f"{path} cannot be written: name a file, not a folder, disk or socket")
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
