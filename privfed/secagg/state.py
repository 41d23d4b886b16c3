"""What a party remembers across rounds and restarts: the last round, the transcript, failures."""

import json
import os
import threading
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from privfed import durable
from privfed.errors import AuthenticationError, ConfigError, ReplayError

MAX_FAILURES = 3


@dataclass
class Record:
    """The state itself, as JSON in the file."""

    owner: str
    last_round: int = -1
    transcript: str = ""
    failures: int = 0


class Journal:
    """A record on disk that only moves forward, or in memory for simulation in one process.

    Args:
        path: file of the record; created where it does not exist, locked while in use.
        role: who keeps it.
        context: bytes that tie it to one parameter set and key.

    Raises:
        ConfigError: the file cannot be used, is in use, or belongs to something else.
    """

    def __init__(self, path: Path | None, role: bytes, context: bytes) -> None:
        path = path and path.resolve()  # one lock for a file under all its names
        self._path = path
        self._process, self._one = os.getpid(), threading.Lock()
        self.record = Record(owner=f"{role.decode()}:{context.hex()}")
        if path is not None:
            self._lock = durable.lock(path)
            self._read(path)

    def _read(self, path: Path) -> None:
        if not path.exists():
            self._write()
            return
        try:
            record = Record(**json.loads(path.read_text()))
            if [type(value) for value in astuple(record)] != [str, int, str, int]:
                raise TypeError
            bytes.fromhex(record.transcript)
        except (OSError, ValueError, TypeError):
            raise ConfigError(f"{path} is no state file; give another path") from None
        if record.owner != self.record.owner:
            raise ConfigError(f"{path} is the state of another key or role; give another path")
        self.record = record

    def check(self, round_id: int) -> None:
        """Refuse a round that is not after the last one.

        Raises:
            ReplayError: the round, or a later one, was used already, or this is a fork.
        """
        if self._process != os.getpid():  # a fork has the lock too, but not what happens here
            raise ReplayError("this state belongs to the process it was forked from")
        if round_id <= self.record.last_round:
            raise ReplayError(
                f"round {round_id} is not after round {self.record.last_round}: "
                "each round is used once, in rising order"
            )

    def advance(self, round_id: int) -> None:
        """Use up a round before anything of it is shown.

        Raises:
            ReplayError: the round, or a later one, was used already.
        """
        with self._one:
            self.check(round_id)
            self.record.last_round = round_id
            self._write()

    def finish(self, transcript: bytes) -> None:
        """Remember the transcript of the round."""
        self.record.transcript = transcript.hex()
        self._write()

    def check_key(self) -> None:
        """Refuse a key under which too many decryptions failed.

        Raises:
            AuthenticationError: the key is retired.
        """
        if self.record.failures >= MAX_FAILURES:
            raise AuthenticationError(
                f"{MAX_FAILURES} totals did not decrypt: the key is retired, rotate it"
            )

    def fail(self) -> None:
        """Count a failed decryption; a success does not make up for it."""
        self.record.failures += 1
        self._write()

    def _write(self) -> None:
        if self._path is not None:
            durable.write(self._path, json.dumps(asdict(self.record)))
