"""What a party remembers across rounds and restarts: rounds, transcript, failures, the last result.

Everything is on disk before anything of it is shown, and only moves forward: a process that is
killed between two writes leaves a round that is used up, or one that the next process finishes.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from privfed.errors import AuthenticationError, ConfigError, DecodeError, ReplayError
from privfed.secagg.layout import Layout
from privfed.secagg.results import Kept
from privfed.secagg.wire import MARK_BYTES, MARKS
from psi import storage

STATE = "rounds.json"
"""The record's name in a party's folder."""

_MOST_KEPT_BYTES = 1 << 34
_ROUNDS = 1 << 64  # as many as there are on the wire; msgspec has no such bound
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Round = Annotated[int, msgspec.Meta(ge=-1)]
_Transcript = Annotated[str, msgspec.Meta(pattern=r"^(?:[0-9a-f]{64})?\Z")]
_Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Hex = Annotated[str, msgspec.Meta(pattern=r"^(?:[0-9a-f]{2})*\Z")]
_Mark = Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{{2 * MARK_BYTES}}}\Z")]


class NewEpoch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An epoch that this party has started and not entered.

    Attributes:
        first: Its first round.
        sealed: This party's private key for it, sealed; in hex.
    """

    first: _Count
    sealed: _Hex


class Epoch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The mask keys in use.

    Attributes:
        first: The epoch's first round.
        digest: What names its keys, in hex.
        members: Roster places of those who have them.
        next: The round that the keys are for; those before are gone.
        sealed: The keys with each other member, in the members' order, sealed; in hex.
    """

    first: _Count
    digest: _Digest
    members: list[_Count]
    next: _Count
    sealed: _Hex


class State(msgspec.Struct, forbid_unknown_fields=True):
    """The state itself, as JSON in the file.

    Attributes:
        owner: Role, parameters and key.
        sent: The last round that was sent.
        opened: The last round whose total was opened, or tried.
        transcript: Transcript of the last round that opened, in hex.
        failed: Marks, in hex, of totals that did not decrypt, here or at other parties.
        cohort: Roster places of the last round that was sent; None: all.
        total: Digest, in hex, of the total that was opened in round `opened`, or is being opened;
            empty where it did not open, or came in parts and is not known yet.
        opening: Whether it is being opened.
        starting: The epoch that was started and not entered, if any.
        epoch: The mask keys in use, if any.
        sha256: The digest of all else.
    """

    owner: str
    sent: _Round = -1
    opened: _Round = -1
    transcript: _Transcript = ""
    failed: Annotated[list[_Mark], msgspec.Meta(max_length=MARKS)] = []
    cohort: list[_Count] | None = None
    total: _Transcript = ""
    opening: bool = False
    starting: NewEpoch | None = None
    epoch: Epoch | None = None
    sha256: _Transcript = ""

    @property
    def digest(self) -> str:
        """SHA-256 of all but itself: with a changed letter a round would fail, nobody knows why."""
        text = storage.json_bytes(msgspec.structs.replace(self, sha256=""))
        return hashlib.sha256(text).hexdigest()


class Journal:
    """A record on disk that only moves forward, or in memory for simulation in one process.

    Args:
        path: File of the record; created where it does not exist, locked while in use.
        role: Who keeps it.
        context: Bytes that tie it to one parameter set and key.
        keeps: Whether the last result is kept too, in a file beside the record.

    Attributes:
        record: What it says.

    Raises:
        ConfigError: The file cannot be used, is in use, or belongs to something else.
    """

    def __init__(
        self, path: Path | None, role: str, context: bytes, *, keeps: bool = False
    ) -> None:
        self._one = threading.RLock()
        self.record = State(owner=f"{role}:{context.hex()}")
        self._process = storage.Process()
        self._file = storage.Record(path, refusal=ConfigError)
        self._keeps = keeps
        self._kept: bytes | None = None  # without a file; bytes, as callers may change a result
        try:
            self._read()
        except BaseException:
            self._file.close()  # a traceback that somebody keeps must not hold the lock
            raise

    def __str__(self) -> str:
        return str(self._file)

    def _read(self) -> None:
        text = self._file.read()
        if text is None:
            self._write()
            return
        try:
            record = storage.json_read(text, State)
            if record.sha256 != record.digest or max(record.sent, record.opened) >= _ROUNDS:
                raise ValueError
        except ValueError:
            raise ConfigError(
                f"{self._file} is no state file, or was damaged: put it back from a backup, or "
                "give another path"
            ) from None
        if record.owner != self.record.owner:
            raise ConfigError(
                f"{self._file} is the state of another key or role; give another path"
            )
        self.record = record

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let one thread at a time read, decide and write; calls within a call are allowed.

        Raises:
            ReplayError: This is a fork. Raised before any wait: the thread that holds the lock
                may be one that the fork does not have.
        """
        self._check_process()
        with self._one:
            yield

    def close(self) -> None:
        """Release the file; nothing can be sent or opened any more."""
        if not self._process.is_this:
            self._file.close()
            return
        with self._one:
            self._file.close()

    def check(self) -> None:
        """Refuse to go on in a fork, or after `close`.

        Raises:
            ReplayError: This is a fork: it has the file's lock, too, but would use rounds twice.
            ConfigError: It is closed.
        """
        self._check_process()
        if self._file.closed:
            raise ConfigError("it is closed: make another for further rounds")

    def _check_process(self) -> None:
        if not self._process.is_this:
            raise ReplayError("this state belongs to the process it was forked from; make another")

    def check_unsent(self, round_id: int) -> None:
        """Refuse a round that is not after the last one sent.

        Raises:
            ReplayError: The round, or a later one, was sent already, or this is a fork.
        """
        self.check()
        _check_after(round_id, self.record.sent)

    def start_epoch(self, starting: NewEpoch) -> None:
        """Keep what an epoch was started with."""
        self._replace(starting=starting)

    def enter_epoch(self, epoch: Epoch) -> None:
        """Put mask keys in use; those before, and what the epoch was started with, are gone."""
        self._replace(epoch=epoch, starting=None)

    def _replace(self, **changes: NewEpoch | Epoch | None) -> None:
        """Change the record as the file does: a full disk leaves both, to be tried again."""
        before = self.record
        self.record = msgspec.structs.replace(before, **changes)
        try:
            self._write()
        except BaseException:
            self.record = before
            raise

    def send(
        self, round_id: int, cohort: tuple[int, ...] | None, epoch: Epoch | None = None
    ) -> None:
        """Use up a round before anything of it is sent.

        Args:
            round_id: The round.
            cohort: Roster places of its parties; None: all.
            epoch: With masks, the keys of later rounds, which take the place of those in use.

        Raises:
            ReplayError: The round, or a later one, was sent already.
        """
        with self.alone():
            self.check_unsent(round_id)
            self.record.sent = round_id
            self.record.cohort = None if cohort is None else list(cohort)
            if epoch is not None:
                self.record.epoch = epoch
            self._write()

    def check_unopened(self, round_id: int) -> None:
        """Refuse a round that is not after the last one opened.

        Raises:
            ReplayError: The round, or a later one, was opened already, or this is a fork.
        """
        self.check()
        _check_after(round_id, self.record.opened)

    def open(self, round_id: int, total: bytes, *, by_others: bool = False) -> None:
        """Use up a round before anything of its total is decrypted.

        Args:
            round_id: The round.
            total: Digest of the total, or empty where it is not known yet. If this process dies
                while it opens the total, the next one may open the very same bytes.
            by_others: Whether it is what others opened. A process that died while it opened the
                total does not stand in its way: no key answers for it.

        Raises:
            ReplayError: The round, or a later one, was opened already.
        """
        record = self.record
        again = round_id == record.opened and record.opening
        if again and (by_others or (total and total.hex() == record.total)):
            self.check()
        else:
            self.check_unopened(round_id)
        if not again or by_others:
            record.opened, record.total, record.opening = round_id, total.hex(), True
        self._write()  # even if nothing changed: a full disk may have refused it before

    def finish(self, kept: Kept) -> None:
        """Keep the result of the round, where results are kept, and remember its transcript.

        Raises:
            ReplayError: A later round was opened while this one's total was read.
        """
        if kept.round_id != self.record.opened:
            raise ReplayError(f"round {self.record.opened} was opened meanwhile: go on with it")
        if self._keeps:
            if self.record.total != kept.total.hex():  # of a total in parts it is known only now
                self.record.total = kept.total.hex()
                self._write()
            data = kept.to_bytes()
            if self._kept_path is None:
                self._kept = data
            else:
                storage.write_whole(self._kept_path, data, refusal=ConfigError)
        self._finished(kept)

    def _finished(self, kept: Kept) -> None:
        self.record.transcript = kept.result.transcript.hex()
        self.record.total, self.record.opening = kept.total.hex(), False
        self._write()

    def check_key(self) -> None:
        """Refuse a key under which too many decryptions failed.

        Raises:
            AuthenticationError: The key is retired.
        """
        if len(self.record.failed) >= MARKS:
            raise AuthenticationError(
                f"{MARKS} totals did not decrypt, here or at other parties: the key is retired, "
                "rotate it"
            )

    def fail(self, mark: bytes) -> None:
        """Count a failed decryption; a success does not make up for it."""
        self._count([mark])
        self.record.total, self.record.opening = "", False
        self._write()

    def hear(self, failed: Iterable[bytes]) -> None:
        """Count what the parties of a round say of totals that did not decrypt."""
        if self._count(failed):
            self._write()

    def _count(self, failed: Iterable[bytes]) -> bool:
        # The same total fails in the same way everywhere, and tells a server nothing more.
        known = self.record.failed
        new = {mark.hex() for mark in failed} - set(known)
        self.record.failed = [*known, *sorted(new)][:MARKS]
        return len(self.record.failed) > len(known)

    def kept(self, layout: Layout) -> Kept | None:
        """Return the result of the last round that opened, if it is kept; a new copy each time.

        Raises:
            ConfigError: The file that keeps it cannot be read.
            DecodeError: It is damaged.
        """
        with self.alone():
            self.check()
            kept = self._read_kept(layout)
            if kept is None:
                return None
            record = self.record
            opened = (kept.round_id, kept.total.hex()) == (record.opened, record.total)
            if opened and record.opening:  # killed between the last two writes
                self._finished(kept)
            # It is this key's and round's if the record names its transcript, which covers both.
            return kept if kept.result.transcript.hex() == record.transcript else None

    @property
    def _kept_path(self) -> Path | None:
        return None if self._file.path is None else self._file.path.with_suffix(".opened")

    def _read_kept(self, layout: Layout) -> Kept | None:
        path, data = self._kept_path, self._kept
        if path is not None:
            data = storage.read_whole(path, most=_MOST_KEPT_BYTES, refusal=ConfigError)
        try:
            return None if data is None else Kept.from_bytes(data, layout)
        except DecodeError:
            raise DecodeError(
                f"{path} is damaged: put it back from a copy, or delete it and go on without the "
                "result that it kept"
            ) from None

    def _write(self) -> None:
        self.record.sha256 = self.record.digest
        self._file.write(storage.json_bytes(self.record, indent=0).decode())


def _check_after(round_id: int, last: int) -> None:
    if round_id <= last:
        raise ReplayError(
            f"round {round_id} is not after round {last}: each round is used once, in rising order"
        )
