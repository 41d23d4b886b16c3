"""A file for which the disk has room before there is anything to write."""

import contextlib
import os
from pathlib import Path

from psi.errors import ConfigError
from psi.storage.whole import sync_folder

__all__ = ["ReservedFile"]

_ROOM = ".room"  # ends the name of what holds the place


class ReservedFile:
    """A private file that appears whole, into room that was taken for it beforehand."""

    def __init__(self, path: Path) -> None:
        """Name a file; nothing is made yet.

        Args:
            path: Its place; one owner at a time may use it.
        """
        self.path = path
        self._part = path.with_name(path.name + _ROOM)
        self._descriptor: int | None = None

    def reserve(self, room_bytes: int) -> None:
        """Take room for so many bytes.

        Raises:
            ConfigError: The disk has not got it, or the folder cannot be written.
        """
        self.release()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._part, flags, 0o600)
            os.posix_fallocate(self._descriptor, 0, max(room_bytes, 1))
        except OSError as error:
            self.release()
            raise ConfigError(
                f"{self.path.parent} has no room for {room_bytes} bytes "
                f"({error.strerror or error}): make room, or choose another folder"
            ) from error

    def fill(self, data: bytes) -> None:
        """Write the file into its room; it is on disk when this returns.

        Raises:
            ConfigError: It cannot be written; what was there stays.
        """
        if self._descriptor is None:
            self.reserve(len(data))
        assert self._descriptor is not None  # noqa: S101 - reserved above
        try:
            view = memoryview(data)
            while view:
                view = view[os.pwrite(self._descriptor, view, len(data) - len(view)) :]
            os.ftruncate(self._descriptor, len(data))
            os.fsync(self._descriptor)
            self._part.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise ConfigError(
                f"cannot write {self.path}: {error.strerror or error}: make room, or choose "
                "another folder"
            ) from error
        finally:
            self.release()

    def release(self) -> None:
        """Free the room, also what a killed owner had taken."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)
