"""Mask keys that are made for an epoch, used once a round each, and then gone.

At the begin of an epoch each party makes a fresh X25519 key and signs it with the place it is for
(parameters, shared key, first round, roster place). Each pair of those who mask together derives a
key from their exchange and a digest of all their messages, so that who was shown other messages
has other keys, and names another digest in its headers. The private key is then deleted. A round's
key is replaced by HMAC-SHA256(key, "next") before what it masked is sent, also for rounds that are
skipped: whoever takes a party's files later finds no key of a round before. (Deleted is what a
file no longer says; what a disk keeps of it underneath is the disk's.)

The ratchet is one-way as an HMAC is (compare Marlinspike, Perrin, The Double Ratchet Algorithm,
2016, section 2.2: a symmetric-key ratchet); identities sign ephemeral keys as in SIGMA (Krawczyk,
CRYPTO 2003). What is kept between rounds is sealed under a key of the identity's
(ChaCha20-Poly1305, RFC 8439), which a passphrase locks.
"""

import hashlib
import hmac
import os
import struct
from collections.abc import Iterable, Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from privfed.errors import (
    AuthenticationError,
    ConfigError,
    DecodeError,
    PrivFedError,
    QuorumError,
    ReplayError,
)
from privfed.keys import SIGNATURE_BYTES, Identity, derive
from privfed.secagg import wire
from privfed.secagg.masks import Masks
from privfed.secagg.parameters import Parameters
from privfed.secagg.rounds import UNCHAINED, RoundID, check_number
from privfed.secagg.state import Epoch, Journal, NewEpoch

_BODY = struct.Struct("<H32s")
_DOMAIN = b"privfed/1/epoch key\x00"
_DIGEST_DOMAIN = b"privfed/1/epoch\x00"
_AGREED_DOMAIN = b"privfed/1/agreed\x00"
_KEY_BYTES, _NONCE_BYTES = 32, 12
MESSAGE_BYTES = wire.PREFIX_BYTES + _BODY.size + SIGNATURE_BYTES
MOST_SKIPPED = 1 << 16
"""Rounds that a ratchet goes on at once: some 100 ms for each party that masks together."""


class MaskKeys:
    """One party's mask keys: the epoch's exchange, and the pairs' keys of a round."""

    def __init__(
        self, params: Parameters, key_id: bytes, identity: Identity, journal: Journal
    ) -> None:
        self._params, self._key_id, self._identity = params, key_id, identity
        self._me = params.index_of(identity.public)
        self._journal = journal
        self._aead = ChaCha20Poly1305(identity.derive(b"epoch state", _KEY_BYTES))

    @property
    def _epoch(self) -> Epoch:
        epoch = self._journal.record.epoch
        if epoch is None:
            raise ConfigError(
                "no mask keys are agreed on yet: exchange what start_epoch() returns, then "
                "enter_epoch()"
            )
        return epoch

    @property
    def digest(self) -> bytes:
        """32 bytes that name the keys in use.

        Raises:
            ConfigError: There is no epoch yet.
        """
        return bytes.fromhex(self._epoch.digest)

    def start(self, first: int) -> bytes:
        """Make a fresh key for an epoch from round `first` on.

        Returns:
            Its signed message.

        Raises:
            ReplayError: The round was sent already.
            ConfigError: It is no round, or the state cannot be written.
        """
        first = check_number(first)
        self._journal.check_unsent(first)
        private = X25519PrivateKey.generate()
        self._journal.start_epoch(
            NewEpoch(first, self._sealed(private.private_bytes_raw(), first, b"private"))
        )
        return self._message(first, private.public_key().public_bytes_raw())

    def _message(self, first: int, public: bytes) -> bytes:
        signed = self._prefix(first).to_bytes() + _BODY.pack(self._me, public)
        return signed + self._identity.sign(_DOMAIN + signed)

    def _prefix(self, first: int) -> wire.Prefix:
        return wire.Prefix(
            kind=wire.Kind.EPOCH,
            scheme=self._params.scheme,
            fingerprint=self._params.fingerprint,
            key_id=self._key_id,
            round_id=first,
            part=0,
            previous=UNCHAINED,
            cohort=UNCHAINED,
        )

    def enter(self, messages: Iterable[bytes]) -> None:
        """Derive the pairs' keys from what the parties started the epoch with.

        Those of other groups are passed over; this party's own need not be among them. The
        messages of the epoch in use, this party's own too, change nothing.

        Raises:
            ConfigError: This party has not started an epoch, or these are no messages.
            DecodeError: One is truncated, extended or no message of an epoch.
            ContextMismatchError: It belongs to other parameters, another key or another round.
            AuthenticationError: Its sender did not sign it, or is not on the roster.
            ReplayError: A party is in it twice, or the round was sent already.
            QuorumError: A party of the group is missing.
        """
        starting = self._journal.record.starting
        if starting is None:
            if self._is_in(messages):
                return
            raise ConfigError("start_epoch() comes first, and its message goes to the others")
        self._journal.check_unsent(starting.first)
        private = X25519PrivateKey.from_private_bytes(
            self._opened(starting.sealed, starting.first, b"private")
        )
        own = private.public_key().public_bytes_raw()
        keys = self._read(messages, starting.first)
        if keys.setdefault(self._me, own) != own:
            raise ReplayError(
                "the messages hold an earlier one of this party's, which it replaced: send the "
                "last one to all"
            )
        self._check_members(keys)
        digest = self._digest(starting.first, keys)
        pairs = b"".join(
            self._pair(private, digest, place, keys[place])
            for place in sorted(keys)
            if place != self._me
        )
        self._journal.enter_epoch(
            Epoch(
                starting.first,
                digest.hex(),
                sorted(keys),
                starting.first,
                self._sealed(pairs, starting.first, digest),
            )
        )

    def _is_in(self, messages: Iterable[bytes]) -> bool:
        """Return whether these made the epoch in use: who was killed comes with them again."""
        epoch = self._journal.record.epoch
        if epoch is None:
            return False
        try:
            keys = self._read(messages, epoch.first)
        except PrivFedError:
            return False
        return self._digest(epoch.first, keys).hex() == epoch.digest

    def _read(self, messages: Iterable[bytes], first: int) -> dict[int, bytes]:
        if isinstance(messages, str | bytes | bytearray) or not isinstance(messages, Iterable):
            raise ConfigError("give a list of bytes, each of them what start_epoch() returned")
        together, keys = self._params.group_of(self._me), dict[int, bytes]()
        for message in messages:
            if not isinstance(message, bytes):
                raise ConfigError("give a list of bytes, each of them what start_epoch() returned")
            prefix = wire.Prefix.read(memoryview(message))
            if prefix.kind != wire.Kind.EPOCH or len(message) != MESSAGE_BYTES:
                raise DecodeError("these bytes are no message of an epoch")
            place, public = _BODY.unpack_from(message, wire.PREFIX_BYTES)
            if place >= len(self._params.roster):
                raise AuthenticationError("the sender is not on the roster")
            if together and place not in together:
                continue
            wire.expect(prefix, self._prefix(first))
            signed = message[:-SIGNATURE_BYTES]
            self._params.roster[place].verify(message[-SIGNATURE_BYTES:], _DOMAIN + signed)
            if place in keys:
                raise ReplayError("a party has two keys in the epoch: take its last one")
            keys[place] = public
        return keys

    def _check_members(self, keys: Mapping[int, bytes]) -> None:
        together = self._params.group_of(self._me)
        missing = [place for place in together if place not in keys]
        if missing:
            raise QuorumError(
                f"party {self._params.roster[missing[0]].id} of this group has not started the "
                "epoch: wait for its message"
            )
        if not together and len(keys) < self._params.quorum:
            raise QuorumError(
                f"{len(keys)} parties started the epoch, below min_clients={self._params.quorum}"
            )

    def _digest(self, first: int, keys: Mapping[int, bytes]) -> bytes:
        said = (_BODY.pack(place, keys[place]) for place in sorted(keys))
        return hashlib.sha256(
            _DIGEST_DOMAIN + self._prefix(first).to_bytes() + b"".join(said)
        ).digest()

    def _pair(self, private: X25519PrivateKey, digest: bytes, place: int, public: bytes) -> bytes:
        try:
            shared = private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            raise AuthenticationError("an X25519 key of low order: no secret with it") from None
        low, high = sorted((self._me, place))
        return derive(shared, b"epoch/" + digest + struct.pack("<HH", low, high), _KEY_BYTES)

    def named(self, agreed: bytes) -> bytes:
        """Return the 32 bytes of headers: the keys in use, and what goes with them."""
        if not agreed:
            return self.digest
        return hashlib.sha256(_AGREED_DOMAIN + self.digest + _hash(agreed)).digest()

    def masks(self, of: RoundID, agreed: bytes = b"") -> Masks:
        """Return this party's masks of a round; they cancel between those who agree alike.

        Raises:
            ConfigError: There is no epoch, the round is before it or too far ahead, or one of its
                parties has not entered.
            ReplayError: The round's keys are gone.
        """
        members = self._epoch.members
        together = set(members if of.cohort is None else of.cohort)
        if self._me not in together:
            raise ConfigError("this party is not in the round's cohort")
        if not together <= set(members):
            raise ConfigError("a party of the cohort is not in the epoch: start one with all")
        keys = self._at(of.number)
        if agreed:
            purpose = b"agreed/" + _hash(agreed)
            keys = {place: derive(key, purpose, _KEY_BYTES) for place, key in keys.items()}
        return Masks(self._me, {place: keys[place] for place in sorted(together - {self._me})})

    def after(self, number: int) -> Epoch:
        """Return the state in which the keys of rounds up to `number` are gone."""
        epoch, keys = self._epoch, self._at(number)
        pairs = b"".join(_ratcheted(key, 1) for key in keys.values())
        sealed = self._sealed(pairs, epoch.first, bytes.fromhex(epoch.digest))
        return Epoch(epoch.first, epoch.digest, epoch.members, number + 1, sealed)

    def _at(self, number: int) -> dict[int, bytes]:
        """Return the keys of a round with all other members, in their order."""
        epoch = self._epoch
        if number < epoch.first:
            raise ConfigError(f"round {number} is before the epoch, which begins at {epoch.first}")
        if number < epoch.next:
            raise ReplayError(f"the mask keys of round {number} are gone: they are used once")
        pairs = self._pairs(epoch)
        return {place: _ratcheted(key, number - epoch.next) for place, key in pairs.items()}

    def _pairs(self, epoch: Epoch) -> dict[int, bytes]:
        pairs = self._opened(epoch.sealed, epoch.first, bytes.fromhex(epoch.digest))
        others = [place for place in epoch.members if place != self._me]
        if len(pairs) != _KEY_BYTES * len(others):
            raise ConfigError(f"the mask keys in {self._journal} are damaged: start an epoch anew")
        return {
            place: pairs[at * _KEY_BYTES : (at + 1) * _KEY_BYTES] for at, place in enumerate(others)
        }

    def _sealed(self, secret: bytes, first: int, purpose: bytes) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        return (nonce + self._aead.encrypt(nonce, secret, self._bound(first, purpose))).hex()

    def _opened(self, sealed: str, first: int, purpose: bytes) -> bytes:
        data = bytes.fromhex(sealed)
        try:
            return self._aead.decrypt(
                data[:_NONCE_BYTES], data[_NONCE_BYTES:], self._bound(first, purpose)
            )
        except (InvalidTag, ValueError):
            raise ConfigError(
                f"the mask keys in {self._journal} are damaged or another identity's: start an "
                "epoch anew"
            ) from None

    def _bound(self, first: int, purpose: bytes) -> bytes:
        return self._prefix(first).to_bytes() + purpose


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _ratcheted(key: bytes, steps: int) -> bytes:
    if steps > MOST_SKIPPED:
        raise ConfigError(
            f"the round is more than {MOST_SKIPPED} after the last one that was sent: start an "
            "epoch anew"
        )
    for _ in range(steps):
        key = hmac.digest(key, b"next", "sha256")
    return key
