"""A round's sums, passed on by parties that opened its total to those that do not.

A total is up to some four times as large as its sums, and reading it takes the decryption key.
So some parties open it, t + 1 of them where up to t may help the server, and pass on its integer
sums: sealed under a key that all holders of the shared key derive for a round and part, and signed
with who is in the sum and the round's transcript. Another party believes what t + 1 parties signed
alike: one of them helps nobody, and opened a total that was right. Whom the server asks is not
checked, so that a silent one is replaced by the next.

AES-SIV (AEAD_AES_SIV_CMAC_512 of RFC 5297) seals. It is deterministic, so that the
openers' bytes are equal and travel once; and where a server gave two openers different totals of
one round, their bytes show no more than that (misuse-resistant: Rogaway and Shrimpton, EUROCRYPT
2006). The server learns the length, which follows from the parameters.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from privfed.errors import (
    AuthenticationError,
    ConfigError,
    ContextMismatchError,
    DecodeError,
    QuorumError,
    ReplayError,
)
from privfed.he import Integers, Words, planes
from privfed.keys import SIGNATURE_BYTES, Identity, SecretKey
from privfed.secagg import wire
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Parts, UpdatePart
from privfed.secagg.reading import Bytes, Place, split_off
from privfed.secagg.rounds import RoundID, check_senders

_DOMAIN = b"privfed/1/result\x00"
_ORDER_DOMAIN = b"privfed/1/openers\x00"
_KEY_BYTES = 64  # AES-SIV takes two keys of 32
_TAG_BYTES = 16


def opening_order(number: int, previous: bytes, senders: Sequence[int]) -> tuple[int, ...]:
    """Return roster places in the order in which they are asked to open a round's total.

    Args:
        number: The round.
        previous: The transcript that its uploads name, 32 bytes.
        senders: Roster places of the parties in the total.
    """
    places = tuple(sorted(senders))
    drawn = hashlib.sha256(_ORDER_DOMAIN + previous + number.to_bytes(8, "little")).digest()
    start = int.from_bytes(drawn, "little") % len(places)
    return places[start:] + places[:start]


class SumsFormat:
    """How the integer sums of a part travel: whole numbers of the fewest bits that hold any.

    Args:
        params: What all parties agreed on.

    Attributes:
        senders_bytes: Bytes that say who is in the sums.
    """

    def __init__(self, params: Parameters) -> None:
        self._half = params.packing.limit * params.max_clients
        self._width = (2 * self._half).bit_length()
        self.senders_bytes = -(-len(params.roster) // 8)
        self._roster = len(params.roster)

    def message_bytes(self, part: UpdatePart, signatures: int) -> int:
        """Return the length of a part's message with so many signatures."""
        signed = wire.COUNT.size + signatures * wire.SIGNED_BYTES
        head = wire.PREFIX_BYTES + signed + self.senders_bytes + wire.HASH_BYTES
        sums = planes.size_bytes(part.stop - part.start, self._width)
        return head + _TAG_BYTES + sums

    def to_bytes(self, sums: Integers) -> bytes:
        """Return the bytes of sums, each at most `limit` * `max_clients` in magnitude."""
        return planes.encode((sums + self._half).view(np.uint64), self._width)

    def read(self, data: bytes, part: UpdatePart) -> Integers | None:
        """Return the sums that `to_bytes` wrote; None where they are none."""
        words: Words = planes.decode(data, part.stop - part.start, self._width)
        if len(words) and int(words.max()) > 2 * self._half:
            return None
        return words.view(np.int64) - self._half

    def senders_to_bytes(self, senders: Collection[int]) -> bytes:
        """Return one bit for each place of the roster."""
        here = np.zeros(self._roster, bool)
        here[list(senders)] = True
        return np.packbits(here, bitorder="little").tobytes()

    def senders(self, data: bytes | memoryview) -> tuple[int, ...]:
        """Return the roster places that `senders_to_bytes` wrote.

        Raises:
            DecodeError: A bit is beyond the roster.
        """
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        if bits[self._roster :].any():
            raise DecodeError("a result names a sender that is not on the roster")
        return tuple(np.flatnonzero(bits).tolist())


@dataclass(frozen=True)
class PassedPart:
    """One part of a result.

    Attributes:
        part: The part.
        prefix: Where it belongs.
        senders: Roster places of the parties in the sum.
        transcript: The round's transcript, 32 bytes.
        sealed: The sums, sealed.
        signatures: By roster place, signatures of all this.
    """

    part: UpdatePart
    prefix: wire.Prefix
    senders: tuple[int, ...]
    transcript: bytes
    sealed: bytes = field(repr=False)
    signatures: dict[int, bytes] = field(repr=False, default_factory=dict)


class ResultWriter:
    """Seals sums part by part as they are opened; an opener then signs them."""

    def __init__(self, parts: Parts, key: SecretKey) -> None:
        self._parts, self._key = parts, key
        self._format = SumsFormat(parts.params)
        self._sealed: list[tuple[wire.Prefix, bytes]] = []

    def take(self, part: UpdatePart, prefix: wire.Prefix, sums: Integers) -> None:
        """Seal the sums of the next part of a total."""
        prefix = replace(prefix, kind=wire.Kind.RESULT)
        sealed = _cipher(self._key, prefix).encrypt(self._format.to_bytes(sums), _bound(prefix))
        self._sealed.append((prefix, sealed))

    def signed(
        self, identity: Identity, place: int, senders: Sequence[int], transcript: bytes
    ) -> bytes:
        """Return the result as the opener at a roster place signs it."""
        who, made = self._format.senders_to_bytes(senders), bytearray()
        for prefix, sealed in self._sealed:
            signature = identity.sign(_signed(prefix, who, transcript, sealed))
            made += _message(prefix, {place: signature}, who, transcript, sealed)
        return bytes(made)


class ResultReader:
    """Reads results of one round: lengths, places and signatures; nothing is unsealed.

    Args:
        parts: The parts of an update.
        of: The round.
        key_id: Id of the round's key.
        histories: Transcripts of the round before that the parties may name; None: any.
    """

    def __init__(
        self, parts: Parts, of: RoundID, key_id: bytes, histories: Collection[bytes] | None
    ) -> None:
        self._parts, self._params, self._round = parts, parts.params, of
        self._place = Place(parts.params, of, key_id, histories)
        self._format = SumsFormat(self._params)

    def whole(self, stream: Iterable[bytes]) -> Iterator[PassedPart]:
        """Yield all parts of a result, in order; none may be missing.

        Raises:
            ConfigError: It is no sequence of bytes.
            DecodeError: A part is missing, out of order, cut or extended, or of another kind.
            ContextMismatchError: A part belongs to another round, key, job or history.
            AuthenticationError: A signer is not on the roster, or did not sign it.
            ReplayError: A signer is in it twice.
            QuorumError: Its senders may not make a round.
        """
        first: PassedPart | None = None
        done = 0
        for chunk in stream:
            if not isinstance(chunk, Bytes):
                raise ConfigError(f"a result is bytes, not {type(chunk).__name__}")
            rest = memoryview(bytes(chunk))
            if not rest:
                raise DecodeError("the message is truncated")
            while rest:
                passed, rest = self._next(rest, done, first)
                first, done = first or passed, done + 1
                yield passed
        if done != len(self._parts):
            raise DecodeError("a result is truncated")

    def _next(
        self, data: memoryview, index: int, first: PassedPart | None
    ) -> tuple[PassedPart, memoryview]:
        prefix = wire.Prefix.read(data)
        if prefix.kind != wire.Kind.RESULT:
            raise DecodeError("expected is a result that a party opened")
        self._place.check(prefix, first.prefix if first else None)
        part = self._parts.of(prefix)
        if part.index != index:
            raise DecodeError("a part of a result is missing or out of order")
        head, _ = split_off(data[wire.PREFIX_BYTES :], wire.COUNT.size)
        (count,) = wire.COUNT.unpack(head)
        if not 1 <= count <= self._params.openers:
            raise DecodeError("a result that no party signed, or more than are asked for it")
        message, left = split_off(data, self._format.message_bytes(part, count))
        rest = message[wire.PREFIX_BYTES + wire.COUNT.size :]
        signatures, rest = self._signatures(rest, count)
        who, rest = split_off(rest, self._format.senders_bytes)
        transcript, sealed = map(bytes, split_off(rest, wire.HASH_BYTES))
        senders = self._format.senders(who)
        check_senders(self._params, self._round, senders)
        if first is not None and (senders, transcript) != (first.senders, first.transcript):
            raise ContextMismatchError("the parts of the result are of different totals")
        signed = _signed(prefix, bytes(who), transcript, sealed)
        for place, signature in signatures.items():
            self._params.roster[place].verify(signature, signed)
        found = PassedPart(part, prefix, senders, transcript, sealed, signatures)
        return found, left

    def _signatures(self, data: memoryview, count: int) -> tuple[dict[int, bytes], memoryview]:
        found: dict[int, bytes] = {}
        for _ in range(count):
            signed, data = split_off(data, wire.SIGNED_BYTES)
            (place,) = wire.COUNT.unpack_from(signed)
            if place >= len(self._params.roster):
                raise AuthenticationError("a signer of the result is not on the roster")
            if place in found:
                raise ReplayError("a party signs the result twice")
            found[place] = bytes(signed[-SIGNATURE_BYTES:])
        return found, data


class GatheredResults:
    """The server's: results of one round, until enough parties signed the same."""

    def __init__(self, params: Parameters) -> None:
        self._params, self._format = params, SumsFormat(params)
        self._signed: dict[int, tuple[object, ...]] = {}
        self._alike: dict[tuple[object, ...], list[list[PassedPart]]] = {}

    def add(self, parts: Iterable[PassedPart]) -> None:
        """Add what one party, or several, signed; the same again changes nothing.

        Raises:
            ReplayError: A party signed another result of the round before.
            AuthenticationError: Different parties signed its parts.
        """
        passed = list(parts)
        signers = set(passed[0].signatures)
        if any(set(each.signatures) != signers for each in passed):
            raise AuthenticationError("the parts of a result are signed by different parties")
        same = (passed[0].senders, passed[0].transcript, *(wire.digest(p.sealed) for p in passed))
        known = {self._signed[place] for place in signers if place in self._signed}
        if known - {same}:
            raise ReplayError("a party passes on two different results of this round")
        if signers <= self._signed.keys():
            return
        self._signed |= dict.fromkeys(signers, same)
        self._alike.setdefault(same, []).append(passed)

    def joined(self) -> bytes:
        """Return the result that enough parties signed, with their signatures.

        Raises:
            QuorumError: They are too few yet.
        """
        wanted = self._params.openers
        for alike in self._alike.values():
            if len({place for each in alike for place in each[0].signatures}) >= wanted:
                return b"".join(self._joined(parts) for parts in zip(*alike, strict=True))
        raise QuorumError(
            f"{wanted} parties must pass on the same result; of {len(self._signed)} that "
            "answered, too few did: give the total to the next of the openers"
        )

    def _joined(self, parts: Sequence[PassedPart]) -> bytes:
        signatures: dict[int, bytes] = {}
        for each in parts:
            signatures |= each.signatures
        enough = dict(sorted(signatures.items())[: self._params.openers])
        of = parts[0]
        who = self._format.senders_to_bytes(of.senders)
        return _message(of.prefix, enough, who, of.transcript, of.sealed)


def unsealed(key: SecretKey, params: Parameters, passed: PassedPart) -> Integers:
    """Return the sums of one part.

    Raises:
        AuthenticationError: Nobody with the key sealed them.
    """
    try:
        data = _cipher(key, passed.prefix).decrypt(passed.sealed, _bound(passed.prefix))
    except InvalidTag:
        data = b""
    sums = SumsFormat(params).read(data, passed.part) if data else None
    if sums is None:
        raise AuthenticationError("the result holds no sums under this key")
    return sums


def _cipher(key: SecretKey, prefix: wire.Prefix) -> AESSIV:
    name = prefix.round_id.to_bytes(8, "little") + prefix.part.to_bytes(4, "little")
    return AESSIV(key.derive(b"result/" + name, _KEY_BYTES))


def _bound(prefix: wire.Prefix) -> list[bytes]:
    return [prefix.to_bytes()]


def _signed(prefix: wire.Prefix, who: bytes, transcript: bytes, sealed: bytes) -> bytes:
    return _DOMAIN + prefix.to_bytes() + who + transcript + wire.digest(sealed)


def _message(
    prefix: wire.Prefix,
    signatures: dict[int, bytes],
    who: bytes,
    transcript: bytes,
    sealed: bytes,
) -> bytes:
    signed = b"".join(wire.COUNT.pack(place) + each for place, each in signatures.items())
    count = wire.COUNT.pack(len(signatures))
    return prefix.to_bytes() + count + signed + who + transcript + sealed
