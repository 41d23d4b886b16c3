"""The totals of a run, on the server's disk, for parties that missed some; and checkpoints.

What openers have signed of a total stands in its place: who has not opened it reads that.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from privfed.errors import DecodeError
from privfed.integrations.messages import PastRound


class Spool:
    """Totals by round; anybody may read them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="privfed-totals-")
        self.rounds: list[PastRound] = []

    def put(self, of: PastRound, total: bytes) -> None:
        """Keep a round's total."""
        self._path(of).write_bytes(total)
        self.rounds.append(of)

    def replace(self, of: PastRound, result: bytes) -> None:
        """Keep what was signed of a round's total in its place."""
        self._path(of).write_bytes(result)

    def get(self, of: PastRound) -> bytes:
        """Return a round's total, or what stands in its place."""
        return self._path(of).read_bytes()

    def close(self) -> None:
        """Forget all."""
        self._folder.cleanup()

    def _path(self, of: PastRound) -> Path:
        return Path(self._folder.name) / str(of.round_id)


class _Checkpoint(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    of: PastRound
    total: bytes


def write_checkpoint(of: PastRound, total: bytes) -> bytes:
    """Return a round's total, or its RESULT, and what it is of; only the parties can open it."""
    return msgspec.msgpack.encode(_Checkpoint(of, total))


def read_checkpoint(data: bytes) -> tuple[PastRound, bytes]:
    """Return the round of a checkpoint, and its total or RESULT.

    Raises:
        DecodeError: These bytes are none.
    """
    try:
        read = msgspec.msgpack.decode(data, type=_Checkpoint)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise DecodeError("these bytes are no checkpoint of an encrypted run") from None
    return read.of, read.total
