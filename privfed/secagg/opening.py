"""What a key holder does with a round's bytes: a total is checked, then opened; a result is read.

Both give the round's integer sums part by part, and what is known of the round at the end.
"""

import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import numpy as np

from privfed.errors import AuthenticationError, PrivFedError, QuorumError
from privfed.he import Integers
from privfed.keys import SecretKey
from privfed.secagg import wire
from privfed.secagg.openers import PassedPart, ResultReader, ResultWriter, unsealed
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Parts, UpdatePart
from privfed.secagg.reading import Bytes, MessageReader, PartMessage
from privfed.secagg.rounds import UNCHAINED, RoundID, check_epochs, check_senders
from privfed.secagg.schemes import Authentic, Opener
from privfed.secagg.state import Journal


@dataclass(frozen=True)
class Prepared:
    """What was computed from the seeds of one part."""

    seeds: dict[int, bytes] = field(repr=False)
    keystream: Any = field(repr=False)  # of one sender alone, it would reveal the key


@dataclass(frozen=True)
class Holder:
    """What a key holder opens with."""

    params: Parameters
    key: SecretKey = field(repr=False)
    parts: Parts
    opener: Opener[Any]
    journal: Journal

    @property
    def histories(self) -> tuple[bytes, ...] | None:
        """What the round before may be named; None: anything, the server is trusted."""
        if not self.params.assumed.lies:
            return None
        return (bytes.fromhex(self.journal.record.transcript) or UNCHAINED,)

    def reader(self, of: RoundID, kind: wire.Kind, histories: Any) -> MessageReader:
        """Return what reads messages of one kind, of a round under this key."""
        return MessageReader(self.parts, of, kind, key_id=self.key.id, histories=histories)

    def result_reader(self, of: RoundID, histories: Any) -> ResultReader:
        """Return what reads the results of a round under this key."""
        return ResultReader(self.parts, of, self.key.id, histories)


class TotalSeen:
    """What is public of a total whose parts come one by one: its senders, and a digest of it."""

    def __init__(self, params: Parameters, of: RoundID) -> None:
        self._params, self._round = params, of
        self._hash = hashlib.sha256(b"privfed/1/total\x00")
        self.senders: tuple[int, ...] = ()

    def take(self, message: PartMessage) -> PartMessage:
        """Return the next part, after checking that its senders may be the round's.

        Raises:
            QuorumError: They are too few, not the cohort or whole groups, or not those of the
                parts before.
        """
        senders = tuple(sorted(message.entries))
        check_senders(self._params, self._round, senders)
        if message.part.index and senders != self.senders:
            raise QuorumError("the parts of the total are over different parties")
        self.senders = senders
        self._hash.update(wire.digest(message.data))
        return message

    @property
    def digest(self) -> bytes:
        """What stands for the parts so far."""
        return self._hash.digest()


class ResultSeen:
    """What is public of a result whose parts come one by one."""

    def __init__(self, params: Parameters) -> None:
        self._params = params
        self._hash = hashlib.sha256(b"privfed/1/result digest\x00")
        self.senders: tuple[int, ...] = ()
        self.transcript = b""

    def take(self, passed: PassedPart) -> PassedPart:
        """Return the next part, after checking that enough parties signed it.

        Raises:
            QuorumError: They did not.
        """
        wanted = self._params.openers
        if len(passed.signatures) < wanted:
            raise QuorumError(
                f"{len(passed.signatures)} parties signed the result, and {wanted} must: take what "
                "Aggregator.result() returned"
            )
        self.senders, self.transcript = passed.senders, passed.transcript
        self._hash.update(passed.prefix.to_bytes() + self.transcript + wire.digest(passed.sealed))
        return passed

    @property
    def digest(self) -> bytes:
        """What stands for the parts so far, whoever signed them."""
        return self._hash.digest()


class RoundOpening(ABC):
    """A round's bytes on their way to its sums; what it says of them is of the parts so far.

    Attributes:
        written: The sums as they are passed on to others; None where this party passes nothing on.
    """

    written: ResultWriter | None = None

    def __init__(self, holder: Holder, of: RoundID, seen: TotalSeen | ResultSeen) -> None:
        self._holder, self._round, self._about = holder, of, seen

    @property
    def senders(self) -> tuple[int, ...]:
        """Roster places of the parties in the sums."""
        return self._about.senders

    @property
    def digest(self) -> bytes:
        """What stands for the bytes."""
        return self._about.digest

    @property
    @abstractmethod
    def transcript(self) -> bytes:
        """The round's transcript."""

    @abstractmethod
    def sums(self) -> Iterator[tuple[UpdatePart, Integers]]:
        """Yield the parts with their sums; the round is marked as used before the first."""

    @abstractmethod
    def refusal(self) -> PrivFedError:
        """Return the error for sums that no honest parties have."""


class _Transcript:
    """What a round was: all that its senders signed, and the sums that were opened.

    Under a key of the holders, since the server reads it in the next round's headers. Noise, which
    a server may flip bits of, is no part of it: holders of one mean hold one transcript.
    """

    def __init__(self, params: Parameters, key: SecretKey) -> None:
        largest = params.packing.limit * params.max_clients
        self._type = "<i4" if largest < 1 << 31 else "<i8"  # half the bytes to hash, mostly
        self._hash = hmac.new(key.derive(b"transcript", 32), digestmod=hashlib.sha256)

    def take(self, message: PartMessage, sums: Integers) -> None:
        self._hash.update(message.prefix.to_bytes())
        for place in sorted(message.entries):
            self._hash.update(message.entries[place][0])
        self._hash.update(np.ascontiguousarray(sums, self._type).data)

    @property
    def value(self) -> bytes:
        return self._hash.digest()


class TotalOpening(RoundOpening):
    """A total that is opened with the secret key."""

    def __init__(
        self,
        holder: Holder,
        of: RoundID,
        total: bytes | Iterable[bytes],
        prepared: dict[int, list[Prepared]],
    ) -> None:
        self._total, self._all_prepared = total, prepared
        self._seen = TotalSeen(holder.params, of)
        super().__init__(holder, of, self._seen)
        self._told = _Transcript(holder.params, holder.key)
        self._opened: PartMessage | None = None
        if holder.params.download_mode == "opener":
            self.written = ResultWriter(holder.parts, holder.key)

    @property
    def transcript(self) -> bytes:
        """The round's transcript, of the parts so far."""
        return self._told.value

    def sums(self) -> Iterator[tuple[UpdatePart, Integers]]:
        """Yield each part with its integer sums; marks the round as used before.

        Raises:
            AuthenticationError: The total is not the sum of what its senders signed, or does not
                decrypt; or the key is retired.
        """
        journal = self._holder.journal
        journal.check()
        journal.check_key()
        messages, digest = self._checked()
        prepared: list[Prepared] | None = None
        for message, authentic in messages:
            if message.part.index == 0:
                journal.open(self._round.number, digest)  # before anything is decrypted
                prepared = self._all_prepared.pop(self._round.number, None)
            self._opened = message
            ready = prepared[message.part.index] if prepared else None
            sums = self._sums(message, authentic, ready)
            if sums is None:
                raise self.refusal()
            self._told.take(message, sums)
            if self.written is not None:
                self.written.take(message.part, message.prefix, sums)
            yield message.part, sums

    def _checked(self) -> tuple[Iterable[tuple[PartMessage, Authentic]], bytes]:
        """Return the parts in order, all of whose checks need no decryption; and a digest of all.

        Of a whole total all parts are checked before the first one is opened. Of one in parts each
        is checked before it is opened, and the digest is not known yet.
        """
        holder, total = self._holder, self._total
        reader = holder.reader(self._round, wire.Kind.TOTAL, holder.histories)

        def check(message: PartMessage) -> tuple[PartMessage, Authentic]:
            return message, self._check(self._seen.take(message))

        if isinstance(total, Bytes):
            messages = [check(each) for each in reader.whole([total])]
            return messages, self.digest
        return map(check, reader.whole(total)), b""

    def _check(self, message: PartMessage) -> Authentic:
        """Return a part's total, if it is what its senders hashed and none retired the key."""
        holder = self._holder
        entries = {place: wire.Entry.read(raw) for place, (raw, _) in message.entries.items()}
        holder.journal.hear(mark for entry in entries.values() for mark in entry.failed)
        holder.journal.check_key()
        # Masks that do not cancel would look like a total that does not decrypt.
        check_epochs(holder.params, {place: entry.epoch for place, entry in entries.items()})
        signed = list(entries.values())
        total = holder.parts.authentic(
            holder.opener, holder.key, self._round.number, message.part, signed, message.body
        )
        if total is None:
            raise AuthenticationError("the total is not the sum of what its senders signed")
        return total

    def _sums(
        self, message: PartMessage, total: Authentic, prepared: Prepared | None
    ) -> Integers | None:
        """Return the integer sums of a part, or None where it does not decrypt."""
        holder = self._holder
        seeds = {sender: seeds for sender, (_, seeds) in message.entries.items()}
        if prepared and prepared.seeds == seeds:
            keystream = prepared.keystream
        else:
            keystream = holder.opener.keystream(list(seeds.values()), message.part.sealed)
        sums = holder.opener.open(total, keystream)
        if sums is None:
            return None
        return holder.parts.untagged(
            holder.key, self._round.number, message.part, sorted(seeds), sums
        )

    def refusal(self) -> AuthenticationError:
        """Count a failure, and return its error, which is the same whatever the cause."""
        if self._opened is not None:
            # Under a key, or a server could look for totals of one mark.
            key = self._holder.key.derive(b"failed", 32)
            mark = hmac.digest(key, self._opened.data, "sha256")[: wire.MARK_BYTES]
            self._holder.journal.fail(mark)
        return AuthenticationError("the total does not decrypt")


class ResultOpening(RoundOpening):
    """A result that others opened: no secret key of a scheme is touched."""

    def __init__(self, holder: Holder, of: RoundID, result: bytes | Iterable[bytes]) -> None:
        self._result, self._seen = result, ResultSeen(holder.params)
        super().__init__(holder, of, self._seen)

    @property
    def transcript(self) -> bytes:
        """The round's transcript, as the openers say."""
        return self._seen.transcript

    def sums(self) -> Iterator[tuple[UpdatePart, Integers]]:
        """Yield each part with its integer sums; marks the round as used before the first.

        Raises:
            QuorumError: Too few parties signed it.
            AuthenticationError: A signature is wrong, or nobody with the key sealed it.
        """
        holder = self._holder
        holder.journal.check()
        holder.journal.check_key()
        passed, digest = self._checked()
        for each in passed:
            sums = unsealed(holder.key, holder.params, each)
            if each.part.index == 0:
                holder.journal.open(self._round.number, digest, by_others=True)
            yield each.part, sums

    def _checked(self) -> tuple[Iterable[PassedPart], bytes]:
        """Return the parts, whose signatures are right; of a whole result, all before the first."""
        holder, result = self._holder, self._result
        reader = holder.result_reader(self._round, holder.histories)
        if isinstance(result, Bytes):
            passed = [self._seen.take(each) for each in reader.whole([result])]
            return passed, self.digest
        return map(self._seen.take, reader.whole(result)), b""

    def refusal(self) -> AuthenticationError:
        """Return the error; no key answered, so nothing is counted."""
        return AuthenticationError("the result holds sums that no parties have")


def opening_of(
    holder: Holder,
    of: RoundID,
    data: bytes | Iterable[bytes],
    prepared: dict[int, list[Prepared]],
) -> RoundOpening:
    """Return how a round's bytes, or their parts, are opened: as a total or as a result."""
    result, data = _first(holder.params, data)
    if result:
        return ResultOpening(holder, of, data)
    return TotalOpening(holder, of, data, prepared)


def named_by(holder: Holder, of: RoundID, data: bytes | Iterable[bytes]) -> tuple[bytes, bytes]:
    """Return (what stands for a round's bytes, its transcript if they say so, or nothing).

    Nothing is decrypted, and any history is accepted.
    """
    result, data = _first(holder.params, data)
    stream = [data] if isinstance(data, Bytes) else data
    if result:
        told = ResultSeen(holder.params)
        for passed in holder.result_reader(of, None).whole(stream):
            told.take(passed)
        return told.digest, told.transcript
    seen = TotalSeen(holder.params, of)
    for message in holder.reader(of, wire.Kind.TOTAL, None).whole(stream):
        seen.take(message)
    return seen.digest, b""


def _first(
    params: Parameters, data: bytes | Iterable[bytes]
) -> tuple[bool, bytes | Iterable[bytes]]:
    """Return whether bytes, or the first of several, are a result; and all of them."""
    if params.download_mode != "opener":  # nobody opens for others there
        return False, data
    if isinstance(data, str | Bytes) or not isinstance(data, Iterable):
        return wire.is_result(data), data
    stream = iter(data)
    begin = list(islice(stream, 1))
    return bool(begin) and wire.is_result(begin[0]), chain(begin, stream)
