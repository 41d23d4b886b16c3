"""A model's file, of which little is read at a time, and arrays in the place of those in it."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from privfed.errors import ConfigError

MOST_AT_ONCE = 1 << 23  # a zip's directory of this size has more than 80,000 arrays
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others take memory as they say themselves


class BoundedFile(io.FileIO):
    """A file whose reader takes at most `MOST_AT_ONCE` bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes.

        Raises:
            ConfigError: More are asked for than a model's file has in one place.
        """
        most = MOST_AT_ONCE + 1
        found = super().read(most if size is None or size < 0 else min(size, most)) or b""
        if len(found) == most:
            raise ConfigError("the file holds more in one place than arrays need: save it again")
        return found


@contextmanager
def open_archive(file: BoundedFile) -> Iterator[zipfile.ZipFile]:
    """Yield a zip file whose members are read by `first_bytes`.

    Raises:
        ConfigError: It is damaged, or packed in a way that none of these files are.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = [member.filename for member in archive.infolist()]
            if len(set(names)) != len(names):
                raise ConfigError("a name is in the file twice: save it again")
            yield archive
    except ConfigError:
        raise
    # Of a member that wants a password, of versions and codecs that there are none of.
    except (RuntimeError, NotImplementedError, EOFError, ValueError, zlib.error) as error:
        raise zipfile.BadZipFile(str(error)) from None


def first_bytes(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Return a member of a zip file, or what it begins with.

    Args:
        archive: The zip file.
        name: The member's name.
        most: How many bytes are wanted.

    Raises:
        ConfigError: It is packed by a method that no such file uses.
    """
    if archive.getinfo(name).compress_type not in _METHODS:
        raise ConfigError("the file is packed as neither numpy nor torch packs it: save it again")
    pieces, left = [], most
    with archive.open(name) as member:
        while left and (piece := member.read(min(left, MOST_AT_ONCE))):
            pieces.append(piece)
            left -= len(piece)
    return b"".join(pieces)


def stand_in(name: str, kind: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return an array of a type and shape that takes no memory: one value stands for all.

    Args:
        name: What to call it in the error.
        kind: Numpy's name of the type.
        shape: Its sides.

    Raises:
        ConfigError: No array has such a shape.
    """
    try:
        return np.broadcast_to(np.zeros((), kind), shape)
    except (ValueError, OverflowError, TypeError):
        raise ConfigError(f"array {name!r:.80} has a shape that no array has") from None
