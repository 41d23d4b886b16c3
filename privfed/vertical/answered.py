"""How many rows a host has answered with a model, in a file beside its half, across runs.

Rows count before they are answered, and stay counted whatever becomes of the session. A count that
is damaged or gone answers nothing; one that its owner takes from a copy of before is not noticed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import msgspec

from privfed.errors import BudgetExceededError, ConfigError
from psi.storage import Record, json_bytes, json_read

__all__ = ["ANSWERED_FILE", "Answered"]

ANSWERED_FILE = "answered.json"


class _Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: str
    rows: Annotated[int, msgspec.Meta(ge=0)]
    sha256: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of the others: a changed digit would forget rows."""
        return hashlib.sha256(f"{self.model} {self.rows}".encode()).hexdigest()


class Answered:
    """The count of one model."""

    def __init__(self, path: Path, model: str, most: int) -> None:
        """Take a file.

        Args:
            path: Where the count is kept.
            model: Which model it is of.
            most: How many rows it may ever answer.
        """
        self._path, self._model, self._most = path, model, most

    def begin(self, rows: int) -> None:
        """Begin the count of a new model.

        Args:
            rows: What was answered as it was trained.

        Raises:
            BudgetExceededError: They are more than may be answered.
            ConfigError: There is a count already, or the file cannot be written.
        """
        with Record(self._path, refusal=ConfigError) as record:
            if record.read() is not None:
                raise ConfigError(f"{self._path} counts another model: give another folder")
            self._write(record, 0, rows)

    @property
    def rows(self) -> int:
        """How many rows were answered.

        Raises:
            ConfigError: The file is gone, damaged, or of another model.
        """
        with Record(self._path, refusal=ConfigError) as record:
            return self._read(record)

    def charge(self, rows: int) -> None:
        """Count rows.

        Raises:
            BudgetExceededError: They are more than may still be answered; nothing is counted.
            ConfigError: The file is gone, damaged, of another model, or in use.
        """
        with Record(self._path, refusal=ConfigError) as record:
            self._write(record, self._read(record), rows)

    def _write(self, record: Record, done: int, rows: int) -> None:
        if done + rows > self._most:
            raise BudgetExceededError(
                f"this model has answered {done} rows and may answer {self._most} in all, as both "
                f"companies agreed: {rows} more are too many; ask for fewer, or train anew"
            )
        count = _Count(self._model, done + rows)
        record.write(json_bytes(msgspec.structs.replace(count, sha256=count.digest)).decode())

    def _read(self, record: Record) -> int:
        text = record.read()
        if text is None:
            raise ConfigError(
                f"{self._path} is gone, which counts what this model answered: put it back beside "
                "its half, or train anew"
            )
        try:
            count = json_read(text, _Count)
        except ValueError:
            count = _Count("", 0)
        if count.sha256 != count.digest:
            raise ConfigError(f"{self._path} is damaged and counts nothing any more: train anew")
        if count.model != self._model:
            raise ConfigError(f"{self._path} counts rows of another model: keep it by its half")
        return count.rows
