"""How far a party is, on its own disk: what is finished, and what was sent and not opened.

All of it is written as a whole, before what depends on it goes out. Files have mode 0600: they hold
the model, and moments that this party's own rows made.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from privfed.errors import ConfigError, DecodeError
from privfed.training import Arrays
from privfed.training.model import stored_arrays
from psi.storage import read_whole, write_whole

_MOST_BYTES = 1 << 33
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Finished:
    """The model after so many rounds, and the optimizer's state: of this party, or of all."""

    rounds: int
    weights: Arrays
    moments: Arrays
    round_id: int = 0  # of the last of them


@dataclass(frozen=True)
class Pending:
    """An update that was made, for a round whose total was not opened, and the state after it."""

    round_id: int
    upload: bytes
    moments: Arrays
    rounds: int  # that were finished when it was made: it is no update of another model
    server: bytes = b""  # the process that it is for, where another one must not get it


class Folder:
    """Where it lies.

    Args:
        path: A folder of this training alone; made where it does not exist.
        plan: The plan's fingerprint, which every file names.
    """

    def __init__(self, path: Path, plan: bytes) -> None:
        self._path, self._plan = path, plan
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot use {path}: {error.strerror}") from None

    def finished(self) -> Finished | None:
        """Return what is finished; None before the first start."""
        found = self._read("finished")
        if found is None:
            return None
        rounds, round_id = found.pop("rounds")
        weights, moments = _part(found, "weights"), _part(found, "moments")
        return Finished(int(rounds), weights, moments, int(round_id))

    def finish(self, done: Finished) -> None:
        """Keep what is finished; the update that led to it is forgotten."""
        self._write(
            "finished",
            {"rounds": np.array([done.rounds, done.round_id])}
            | _named("weights", done.weights)
            | _named("moments", done.moments),
        )
        (self._path / "pending").unlink(missing_ok=True)

    def pending(self) -> Pending | None:
        """Return the update that was made and not finished, if there is one."""
        found = self._read("pending")
        if found is None:
            return None
        round_id, rounds = found.pop("round_id")
        upload, server = found.pop("upload").tobytes(), found.pop("server").tobytes()
        return Pending(int(round_id), upload, _part(found, "moments"), int(rounds), server)

    def send(self, pending: Pending) -> None:
        """Keep an update before it goes out."""
        fields = {
            "round_id": np.array([pending.round_id, pending.rounds]),
            "upload": np.frombuffer(pending.upload, np.uint8),
            "server": np.frombuffer(pending.server, np.uint8),
        }
        self._write("pending", fields | _named("moments", pending.moments))

    def number(self) -> int:
        """Return the last number of a round that `use` kept; 0: none."""
        found = read_whole(self._path / "number", most=8, refusal=ConfigError)
        return int.from_bytes(found or b"", "little")

    def use(self, number: int) -> None:
        """Keep the number of a round before anything is made for it."""
        write_whole(self._path / "number", number.to_bytes(8, "little"), refusal=ConfigError)

    def total(self) -> bytes:
        """Return the last total that arrived, for a party that missed it; empty: none."""
        return read_whole(self._path / "total", most=_MOST_BYTES, refusal=ConfigError) or b""

    def keep_total(self, total: bytes) -> None:
        """Keep a total before it is opened."""
        write_whole(self._path / "total", total, refusal=ConfigError)

    def _write(self, name: str, arrays: Arrays) -> None:
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]
        data = file.getvalue()
        write_whole(self._path / name, self._digest(data) + data, refusal=ConfigError)

    def _read(self, name: str) -> Arrays | None:
        path = self._path / name
        data = read_whole(path, most=_MOST_BYTES, refusal=ConfigError)
        if data is None:
            return None
        digest, stored = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if digest != self._digest(stored):  # ZIP covers no names
            raise DecodeError(
                f"{path} is damaged or of another plan: put it back from a backup, or remove the "
                "folder and begin anew"
            )
        return stored_arrays(io.BytesIO(stored), _MOST_BYTES)

    def _digest(self, data: bytes) -> bytes:
        return hashlib.sha256(self._plan + data).digest()


def _named(kind: str, arrays: Arrays) -> Arrays:
    return {f"{kind}:{name}": array for name, array in arrays.items()}


def _part(arrays: Arrays, kind: str) -> Arrays:
    start = f"{kind}:"
    return {name[len(start) :]: each for name, each in arrays.items() if name.startswith(start)}
