"""How many rows a host has answered with a model, in a file beside its half, across runs.

Rows count before they are answered, and stay counted whatever becomes of the session.
"""

from __future__ import annotations

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


class Answered:
    """The count of one model."""

    def __init__(self, path: Path, model: str, most: int) -> None:
        """Take a file, which may be new.

        Args:
            path: Where the count is kept.
            model: Which model it is of.
            most: How many rows it may ever answer.
        """
        self._path, self._model, self._most = path, model, most

    @property
    def rows(self) -> int:
        """How many rows were answered.

        Raises:
            ConfigError: The file is damaged, or of another model.
        """
        with Record(self._path) as record:
            return self._read(record)

    def charge(self, rows: int) -> None:
        """Count rows.

        Raises:
            BudgetExceededError: They are more than may still be answered; nothing is counted.
            ConfigError: The file is damaged, of another model, or in use.
        """
        with Record(self._path) as record:
            done = self._read(record)
            if done + rows > self._most:
                raise BudgetExceededError(
                    f"this model has answered {done} rows and may answer {self._most} in all, as "
                    f"both companies agreed: {rows} more are too many; ask for fewer, or train anew"
                )
            record.write(json_bytes(_Count(self._model, done + rows)).decode())

    def _read(self, record: Record) -> int:
        text = record.read()
        if text is None:
            return 0
        try:
            count = json_read(text.encode(), _Count)
        except ValueError:
            raise ConfigError(f"{self._path} counts nothing any more: it is damaged") from None
        if count.model != self._model:
            raise ConfigError(f"{self._path} counts rows of another model: keep it by its half")
        return count.rows
