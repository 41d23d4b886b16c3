"""A key holder's side: the total of a round in, the mean out, once."""

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

import numpy as np

from privfed.errors import (
    AuthenticationError,
    CapacityError,
    ConfigError,
    QuorumError,
    ReplayError,
)
from privfed.he import Integers
from privfed.keys import SecretKey
from privfed.secagg import wire
from privfed.secagg.checks import check_key, file_of
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Parts
from privfed.secagg.quantize import Quantizer
from privfed.secagg.reading import Bytes, MessageReader, PartMessage
from privfed.secagg.results import IntegerResult, Kept, MeanResult
from privfed.secagg.rounds import UNCHAINED, RoundID, check_epochs, check_senders
from privfed.secagg.schemes import Authentic
from privfed.secagg.state import Journal


@dataclass(frozen=True)
class _Prepared:
    """What was computed from the seeds of one part."""

    seeds: dict[int, bytes] = field(repr=False)
    keystream: Any = field(repr=False)  # of one sender alone, it would reveal the key


class _Seen:
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
        return self._hash.digest()

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._params.roster[place].id for place in self.senders)


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


class Decryptor:
    """Decrypts one total per round, never a second one. Safe under threads; a context manager.

    Args:
        params: What all parties agreed on.
        key: The parties' shared key.
        state: File that remembers rounds, transcript and failures across restarts; "memory" keeps
            them in memory, for simulation in one process only.

    Raises:
        ContextMismatchError: The key was made for other parameters.
        ConfigError: The state file cannot be used.
    """

    def __init__(
        self, params: Parameters, key: SecretKey, state: Path | Literal["memory"] | Journal
    ) -> None:
        check_key(params, key)
        self._params, self._key = params, key
        self._parts = Parts(params)
        self._opener = self._parts.scheme.opener(key)
        self._quantizer = Quantizer(params)
        self._prepared: dict[int, list[_Prepared]] = {}  # by round: one per part
        if not isinstance(state, Journal):
            state = Journal(file_of(state), "decryptor", params.fingerprint + key.id)
        self._journal = state

    def __repr__(self) -> str:
        return f"Decryptor(key={self._key.id.hex()}, last_round={self._journal.record.opened})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ReplayError("a Decryptor is not pickled or copied: it would forget used rounds")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the state file; nothing can be decrypted any more."""
        self._journal.close()
        self._prepared = {}

    @property
    def failed(self) -> tuple[bytes, ...]:
        """Marks of totals under this key that did not decrypt, for `Encryptor.encrypt`.

        Those of this holder, and those that others named in their uploads; at most three.
        """
        return tuple(map(bytes.fromhex, self._journal.record.failed))

    def prepare(
        self,
        announcements: Iterable[bytes],
        round_id: int,
        cohort: Sequence[int] | None = None,
    ) -> None:
        """Do ahead the part of a round's decryption that needs the senders' seeds, but no sum.

        It helps if just those parties are in the total; otherwise `decrypt` starts over.

        Args:
            announcements: What each party's `Encryptor.announce` returned.
            round_id: The round.
            cohort: Where rounds name their parties, their roster places (None: all).

        Raises:
            DecodeError: An announcement is truncated or extended, or the bytes are no announcement.
            ContextMismatchError: It belongs to other parameters, key, round or cohort.
            AuthenticationError: Its sender did not sign it, or is not on the roster.
            ReplayError: The round was decrypted already, or a party announces twice.
        """
        of = RoundID.of(self._params, round_id, cohort)
        with self._journal.alone():
            self._journal.check_unopened(of.number)
            seeds = self._announced(announcements, of)
            if not seeds[0]:
                return
            self._prepared = {
                of.number: [
                    _Prepared(each, self._opener.keystream(list(each.values()), part.sealed))
                    for part, each in zip(self._parts.all, seeds, strict=True)
                ]
            }

    def _announced(self, announcements: Iterable[bytes], of: RoundID) -> list[dict[int, bytes]]:
        """Return the seeds by sender, for each part."""
        seeds: list[dict[int, bytes]] = [{} for _ in self._parts.all]
        reader = self._reader(of, wire.Kind.ANNOUNCEMENT)
        for announcement in reader.several(announcements):
            for message in reader.whole([announcement]):
                known = seeds[message.part.index]
                for sender, (_, each) in message.entries.items():
                    if sender in known:
                        raise ReplayError("a party announces twice")
                    known[sender] = each
        return seeds

    def _reader(self, of: RoundID, kind: wire.Kind) -> MessageReader:
        histories: tuple[bytes, ...] | None = None
        if kind == wire.Kind.ANNOUNCEMENT:
            histories = (UNCHAINED,)
        elif self._params.assumed.lies:
            histories = (bytes.fromhex(self._journal.record.transcript) or UNCHAINED,)
        return MessageReader(self._parts, of, kind, key_id=self._key.id, histories=histories)

    def decrypt(
        self,
        total: bytes | Iterable[bytes],
        round_id: int,
        cohort: Sequence[int] | None = None,
    ) -> MeanResult:
        """Return the mean of a round.

        Args:
            total: What `Aggregator.total` returned, or the parts of `total_blocks`.
            round_id: The round; each is decrypted once, in rising order, even if it fails.
            cohort: Where rounds name their parties, their roster places (None: all).

        Raises:
            DecodeError: The total is truncated, extended or no total.
            ContextMismatchError: It belongs to other parameters, key, round, cohort or history.
            QuorumError: Fewer than `min_clients` distinct parties are in it, or not whole groups.
            ReplayError: The round was decrypted already, or a party is in it twice.
            AuthenticationError: A signature is wrong, or the total is not the sum of what the
                senders signed. Where a linear hash says so, the key was not used, and the round
                is not used up; where the total does not decrypt, both, and it counts: three such
                totals, here or at other parties, retire the key.
            CapacityError: The weights are too small for the agreed precision, or all 0.
        """
        of = RoundID.of(self._params, round_id, cohort)
        with self._journal.alone():
            mean = np.empty(self._params.layout.size, np.float32)
            weight: int | None = None
            digits, seen = self._params.weight_digits, _Seen(self._params, of)
            transcript = _Transcript(self._params, self._key)
            for message, sums in self._sums(of, total, seen):
                transcript.take(message, sums)
                part, clients = message.part, len(seen.senders)
                if part.index == 0:
                    weight = self._quantizer.total_weight(sums)
                    weight = self._checked_weight(weight, clients, message)
                skip = max(0, digits - part.start)
                into = mean[part.start + skip - digits : part.stop - digits]
                self._quantizer.mean(sums[skip:], weight, clients, into)
            result = MeanResult(
                mean=self._params.layout.unflatten(mean),
                total_weight=weight,
                senders=seen.ids,
                transcript=transcript.value,
                max_error=self._quantizer.max_error(weight, len(seen.senders)),
            )
            self._journal.finish(Kept(of.number, seen.digest, result))
            return result

    def decrypt_sums(
        self,
        total: bytes | Iterable[bytes],
        round_id: int,
        cohort: Sequence[int] | None = None,
    ) -> IntegerResult:
        """Return the sums of a round as integers, for updates sent by `encrypt_integers`.

        Arguments and errors are those of `decrypt`.

        Raises:
            ConfigError: The parameters carry weights.
        """
        if self._params.max_weight is not None:
            raise ConfigError("integer sums carry no weights: set max_weight=None")
        of = RoundID.of(self._params, round_id, cohort)
        with self._journal.alone():
            flat = np.empty(self._params.layout.size, np.int64)
            seen, transcript = _Seen(self._params, of), _Transcript(self._params, self._key)
            for message, sums in self._sums(of, total, seen):
                transcript.take(message, sums)
                flat[message.part.start : message.part.stop] = sums
            arrays = self._params.layout.unflatten(flat)
            result = IntegerResult(arrays, seen.ids, transcript.value)
            self._journal.finish(Kept(of.number, seen.digest, result))
            return result

    def digest_of(
        self,
        total: bytes | Iterable[bytes],
        round_id: int,
        cohort: Sequence[int] | None = None,
    ) -> bytes:
        """Return what stands for the bytes of a round's total; nothing is decrypted.

        Arguments and errors are those of `decrypt`, except that any history is accepted.
        """
        of = RoundID.of(self._params, round_id, cohort)
        reader = MessageReader(
            self._parts, of, wire.Kind.TOTAL, key_id=self._key.id, histories=None
        )
        seen = _Seen(self._params, of)
        for message in reader.whole([total] if isinstance(total, Bytes) else total):
            seen.take(message)
        return seen.digest

    def _sums(
        self, of: RoundID, total: bytes | Iterable[bytes], seen: _Seen
    ) -> Iterator[tuple[PartMessage, Integers]]:
        """Yield each part of a total with its integer sums; marks the round as used before."""
        self._journal.check()
        self._journal.check_key()
        messages, digest = self._checked(of, total, seen)
        prepared: list[_Prepared] | None = None
        for message, authentic in messages:
            if message.part.index == 0:
                self._journal.open(of.number, digest)  # before anything is decrypted
                prepared = self._prepared.pop(of.number, None)
            ready = prepared[message.part.index] if prepared else None
            sums = self._opened_part(of, message, authentic, ready)
            if sums is None:
                raise self._failure(message)
            yield message, sums

    def _checked(
        self, of: RoundID, total: bytes | Iterable[bytes], seen: _Seen
    ) -> tuple[Iterable[tuple[PartMessage, Authentic]], bytes]:
        """Return the parts in order, all of whose checks need no decryption; and a digest of all.

        Of a whole total all parts are checked before the first one is opened. Of one in parts each
        is checked before it is opened, and the digest is not known yet.
        """
        reader = self._reader(of, wire.Kind.TOTAL)

        def check(message: PartMessage) -> tuple[PartMessage, Authentic]:
            return message, self._check(of, seen.take(message))

        if isinstance(total, Bytes):
            messages = [check(each) for each in reader.whole([total])]
            return messages, seen.digest
        return map(check, reader.whole(total)), b""

    def _check(self, of: RoundID, message: PartMessage) -> Authentic:
        """Return a part's total, if it is what its senders hashed and none retired the key."""
        entries = {place: wire.Entry.read(raw) for place, (raw, _) in message.entries.items()}
        self._journal.hear(mark for entry in entries.values() for mark in entry.failed)
        self._journal.check_key()
        # Masks that do not cancel would look like a total that does not decrypt.
        check_epochs(self._params, {place: entry.epoch for place, entry in entries.items()})
        signed = list(entries.values())
        total = self._parts.authentic(self._opener, of.number, message.part, signed, message.body)
        if total is None:
            raise AuthenticationError("the total is not the sum of what its senders signed")
        return total

    def _opened_part(
        self,
        of: RoundID,
        message: PartMessage,
        total: Authentic,
        prepared: _Prepared | None,
    ) -> Integers | None:
        """Return the integer sums of a part, or None where it does not decrypt."""
        seeds = {sender: seeds for sender, (_, seeds) in message.entries.items()}
        if prepared and prepared.seeds == seeds:
            keystream = prepared.keystream
        else:
            keystream = self._opener.keystream(list(seeds.values()), message.part.sealed)
        sums = self._opener.open(total, keystream)
        if sums is None:
            return None
        return self._parts.untagged(self._key, of.number, message.part, sorted(seeds), sums)

    def _failure(self, message: PartMessage) -> AuthenticationError:
        """Count a failure, and return its error, which is the same whatever the cause."""
        key = self._key.derive(b"failed", 32)  # or a server could look for totals of one mark
        mark = hmac.digest(key, message.data, "sha256")[: wire.MARK_BYTES]
        self._journal.fail(mark)
        return AuthenticationError("the total does not decrypt")

    def _checked_weight(self, weight: int | None, clients: int, message: PartMessage) -> int | None:
        if weight is None:
            return None
        if not 0 <= weight <= clients * (self._params.max_weight or 0):
            raise self._failure(message)
        if weight == 0:
            raise CapacityError(
                "all weights are 0, so the round has no mean: keep the model as it is, and start "
                "the next round when a party has rows"
            )
        error = self._quantizer.max_error(weight, clients)
        if error > self._params.tolerance * self._params.clip_range:
            raise CapacityError(
                f"weights far below max_weight={self._params.max_weight} leave an error above the "
                "tolerance: lower max_weight or use more bits"
            )
        return weight
