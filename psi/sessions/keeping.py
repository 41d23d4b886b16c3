"""A result between its computation and its place: kept sealed, so that nothing loses it.

When a session begins, a mark is written and room for the result is taken. When this side has all it
needs, and before the others hear of it, the result is sealed into that room under a secret of this
side's identity. The same call later finds it, and needs no second session. What has begun and has
no result is a broken session: the next one is told why.

All of it is bound to what the session was about: this side's and the others' certificates, the
terms, the digest of the table, the columns and the steps. Row numbers of one table are never taken
for those of another.
"""

import contextlib
import datetime
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from psi.errors import ConfigError
from psi.storage import (
    Record,
    ReservedFile,
    json_bytes,
    json_read,
    open_sealed,
    regular_file,
    seal_for,
)
from psi.tables.reader import TableReader

__all__ = ["ResultKeeper", "SessionFinding", "file_digest"]

_MAGIC = b"PSI result 1\n"
_MOST_WHY = 300
_NONE = ""  # the mark while no session has begun
_ROW_BYTES, _OWN_BYTES = 8, 4096  # of a row's number; of names and words


class _Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    began: str
    why: str = ""


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    began: str
    words: str
    rows: dict[str, bytes]  # columns of row numbers, 8 bytes each
    values: dict[str, list[Any]]  # all others
    order: list[str]


@dataclass(frozen=True)
class SessionFinding:
    """What a session found, as row numbers and values. Its repr shows none of it.

    Attributes:
        columns: The columns, matching rows by their numbers.
        words: What was found, in a few words.
        began: When the session began, UTC.
    """

    columns: Mapping[str, Any]
    words: str
    began: str

    def __repr__(self) -> str:
        return f"SessionFinding({', '.join(self.columns)}, {self.began})"


class ResultKeeper:
    """Keeps the result of one kind of session; one process at a time may, until `close`."""

    def __init__(self, folder: Path, secret: bytes, about: Mapping[str, object]) -> None:
        """Look at what an earlier call left.

        Args:
            folder: Where to keep it; it is made, and removed while it is empty.
            secret: 32 bytes that only this side's identity gives.
            about: What the session is about, in values that JSON has.

        Raises:
            ConfigError: The folder cannot be written, or another process holds such a session.
        """
        self._secret, self._about = secret, json_bytes(dict(sorted(about.items())))
        name = hmac.new(secret, b"name" + self._about, hashlib.sha256).hexdigest()[:32]
        self.folder = folder.absolute()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be made ({error.strerror or error}): choose another folder for "
                "unfinished results"
            ) from error
        self._mark = Record(self.folder / f"{name}.mark")
        self._file = ReservedFile(self.folder / f"{name}.result")
        self._began = ""

    @property
    def path(self) -> Path:
        """Where the result is kept."""
        return self._file.path

    def found(self) -> SessionFinding | None:
        """Return the result that an earlier call had computed; None if there is none.

        Raises:
            ConfigError: It cannot be read, or was changed.
        """
        try:
            with regular_file(self.path) as file:
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"cannot read {self.path}: {error.strerror or error}") from None
        try:
            sealed = data.removeprefix(_MAGIC)
            content = open_sealed(self._secret, _MAGIC + self._about, sealed)
            kept = msgspec.msgpack.decode(content, type=_Sealed)
        except ValueError:  # msgspec's errors are such, too
            raise ConfigError(
                f"{self.path} was changed or damaged: remove it, and a new session is held"
            ) from None
        rows = {
            name: np.frombuffer(each, "<i8").astype(np.intp) for name, each in kept.rows.items()
        }
        every: dict[str, Any] = {**rows, **kept.values}
        return SessionFinding({name: every[name] for name in kept.order}, kept.words, kept.began)

    def broke_off(self) -> str | None:
        """Return when and why the session before had no end; None if it had one, or none was."""
        text = self._mark.read()
        if not text:
            return None
        try:
            mark = json_read(text, _Mark)
        except ValueError:
            return "at an unknown time, and why is not known"
        why = "".join(each for each in mark.why if each.isprintable())
        return f"{mark.began}: {why or 'this program was killed, or its machine stopped'}"

    def begin(self, rows: int) -> None:
        """Mark that a session has begun, and take room for its result.

        Args:
            rows: How many row numbers the result has at most, about.

        Raises:
            ConfigError: There is no room.
        """
        self._file.reserve(_OWN_BYTES + _ROW_BYTES * rows)
        began = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"
        self._mark.write(json_bytes(_Mark(began)).decode())
        self._began = began

    def keep(self, columns: Mapping[str, Any], words: str) -> SessionFinding:
        """Seal a result; from here on only `finish` ends the session.

        Args:
            columns: The columns, matching rows by their numbers.
            words: What was found, in a few words.

        Returns:
            The same result.

        Raises:
            ConfigError: It cannot be written.
        """
        rows = {
            name: column.astype("<i8").tobytes()
            for name, column in columns.items()
            if isinstance(column, np.ndarray)
        }
        values = {name: list(column) for name, column in columns.items() if name not in rows}
        kept = _Sealed(self._began, words, rows, values, list(columns))
        content = msgspec.msgpack.encode(kept)
        self._file.fill(_MAGIC + seal_for(self._secret, _MAGIC + self._about, content))
        return SessionFinding(columns, words, self._began)

    def break_off(self, why: str, *, void: bool) -> bool:
        """Note why a session ended before its time.

        Args:
            why: One line.
            void: Whether the other sides have no result, either: then a kept one is dropped.

        Returns:
            Whether a result is kept.

        Raises:
            ConfigError: The note cannot be written.
        """
        self._file.release()
        if void:
            self.path.unlink(missing_ok=True)
        if self.path.exists():
            return True
        if self._began:
            self._mark.write(json_bytes(_Mark(self._began, why[:_MOST_WHY])).decode())
        return False

    def finish(self) -> None:
        """Forget a session whose result is in its place."""
        self._file.release()
        self.path.unlink(missing_ok=True)
        self._mark.write(_NONE)
        self._began = ""

    def close(self) -> None:
        """Let other processes use it, and leave no empty folder."""
        if not self._mark.closed and not self._mark.read() and not self.path.exists():
            self._mark.remove()  # its lock, too
        self._mark.close()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ResultKeeper({self.path})"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a table's file, in hexadecimal.

    Raises:
        ConfigError: It cannot be read.
    """
    with TableReader().opened(path) as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
        return digest.hexdigest()
