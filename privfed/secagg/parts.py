"""How an update is cut into parts that fit in memory; sizes follow from the parameters alone."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from privfed.errors import DecodeError
from privfed.he import Integers
from privfed.keys import SecretKey
from privfed.secagg import wire
from privfed.secagg.linear_hash import LINEAR_HASH_BYTES, HashSecrets
from privfed.secagg.parameters import Parameters
from privfed.secagg.schemes import Authentic, Opener, Scheme, Sender, ZeroEncryption, scheme_of
from privfed.secagg.tags import Tags, TagSecrets


@dataclass(frozen=True)
class UpdatePart:
    """Integers `start` to `stop` of the update (weight digits first), and their tags.

    Attributes:
        index: Place of the part, from 0.
        start: First integer of the update in it.
        stop: One past the last.
        sealed: Integers that travel: those of the update, then their tags.
    """

    index: int
    start: int
    stop: int
    sealed: int


@dataclass(frozen=True)
class _Secrets:
    """What one part of a round is tagged and hashed with, where it is."""

    tags: TagSecrets | None
    hashes: HashSecrets | None


class Parts:
    """The parts of an update under one parameter set, and the lengths of their messages."""

    def __init__(self, params: Parameters) -> None:
        self.params = params
        self.scheme: Scheme = scheme_of(params)
        packing = params.packing
        self._tags = Tags(params.bits, packing.limit * packing.max_clients)
        extra = self._tags.count if params.tags else 0
        size = self.scheme.values_per_part - extra
        stops = [min(start + size, params.values) for start in range(0, params.values, size)]
        self.all = tuple(
            UpdatePart(index, index * size, stop, stop - index * size + extra)
            for index, stop in enumerate(stops)
        )

        self._ahead: dict[tuple[int, int], _Secrets] = {}  # by round and part

    def __len__(self) -> int:
        return len(self.all)

    def prepare(self, key: SecretKey, round_id: int, senders: Iterable[int]) -> None:
        """Derive ahead what the parts of a round are tagged and hashed with; of one round only.

        Args:
            key: The parties' secret.
            round_id: The round.
            senders: Roster places of those whose tags are made or checked.
        """
        places = tuple(senders)
        if not all(self._known(round_id, part, places) for part in self.all):
            self._ahead = {
                (round_id, part.index): self._derived(key, round_id, part, places)
                for part in self.all
            }

    def _derived(
        self, key: SecretKey, round_id: int, part: UpdatePart, senders: Sequence[int]
    ) -> _Secrets:
        name = _name(round_id, part)
        tags = hashes = None
        if self.params.tags:
            tags = self._tags.secrets(key, name, part.stop - part.start, senders)
        if rows := self.scheme.hashed_rows(part.sealed):
            hashes = HashSecrets.of(key, name, rows)
        return _Secrets(tags, hashes)

    def _secrets(
        self, key: SecretKey, round_id: int, part: UpdatePart, senders: Sequence[int]
    ) -> _Secrets:
        known = self._known(round_id, part, senders)
        return self._derived(key, round_id, part, senders) if known is None else known

    def _known(self, round_id: int, part: UpdatePart, senders: Collection[int]) -> _Secrets | None:
        """Return what was derived ahead, if it is of this round and of all these senders."""
        found = self._ahead.get((round_id, part.index))
        if found is None or (found.tags and not found.tags.pads.keys() >= set(senders)):
            return None
        return found

    def of(self, prefix: wire.Prefix) -> UpdatePart:
        """Return the part that a message is about.

        Raises:
            DecodeError: There is no such part.
        """
        if prefix.part >= len(self.all):
            raise DecodeError("the message is about a part that the update does not have")
        return self.all[prefix.part]

    def tagged(
        self,
        key: SecretKey,
        round_id: int,
        part: UpdatePart,
        sender: int,
        values: Integers,
        wide: bool,
        masks: Sequence[int],
    ) -> Integers:
        """Return the integers of a part, from roster place `sender`, with their tags behind.

        `wide` integers may lie outside the range of a sum; `masks` are the tags'.
        """
        secrets = self._secrets(key, round_id, part, [sender]).tags
        if secrets is None:
            return values
        tags = self._tags.integers(secrets, sender, values, wide, masks)
        return np.concatenate([values, tags])

    def untagged(
        self,
        key: SecretKey,
        round_id: int,
        part: UpdatePart,
        senders: Sequence[int],
        sums: Integers,
    ) -> Integers | None:
        """Return integers summed over `senders` without tags, or None where a tag is wrong."""
        secrets = self._secrets(key, round_id, part, senders).tags
        if secrets is None:
            return sums
        values, tags = sums[: -self._tags.count], sums[-self._tags.count :]
        return values if self._tags.verify(secrets, senders, values, tags) else None

    def hidden_hash(
        self,
        sender: Sender[Any],
        key: SecretKey,
        round_id: int,
        part: UpdatePart,
        entry: wire.Entry,
        zero: ZeroEncryption,
        payload: bytes,
    ) -> bytes:
        """Return the hidden linear hash of a party's ciphertext; nothing where none is used."""
        secrets = self._secrets(key, round_id, part, [entry.sender]).hashes
        if secrets is None:
            return b""
        return sender.hidden_hash(secrets, entry.ciphertext, zero, payload, part.sealed)

    def authentic(
        self,
        opener: Opener[Any],
        key: SecretKey,
        round_id: int,
        part: UpdatePart,
        entries: Iterable[wire.Entry],
        total: memoryview,
    ) -> Authentic | None:
        """Return a total that may be opened; None where it is not the sum of these ciphertexts."""
        secrets = self._secrets(key, round_id, part, ()).hashes
        signed = [(entry.ciphertext, entry.linear_hash) for entry in entries]
        return opener.authentic(secrets, signed, total, part.sealed)

    def entry_bytes(self, kind: wire.Kind) -> int:
        """Return the bytes of an entry in a message of this kind."""
        hashed = self.scheme.hashed and kind != wire.Kind.ANNOUNCEMENT
        return wire.ENTRY_BYTES + LINEAR_HASH_BYTES * hashed

    def carried_seed_bytes(self, part: UpdatePart, kind: wire.Kind) -> int:
        """Return the bytes of seeds that a message carries for each sender."""
        # Whoever makes a summed total expands the seeds; until then they travel.
        carried = kind != wire.Kind.TOTAL or self.scheme.download == "seeds"
        return self.scheme.seed_bytes(part.sealed) if carried else 0

    def message_bytes(self, part: UpdatePart, kind: wire.Kind, senders: int = 1) -> int:
        """Return the length of a message about a part, over `senders` senders."""
        count = 0 if kind in wire.OF_ONE_SENDER else wire.COUNT.size
        each = self.entry_bytes(kind) + self.carried_seed_bytes(part, kind)
        bodies = {
            wire.Kind.UPLOAD: self.scheme.payload_bytes,
            wire.Kind.PARTIAL: self.scheme.partial_bytes,
            wire.Kind.TOTAL: self.scheme.total_bytes,
        }
        body = bodies[kind](part.sealed) if kind in bodies else 0
        end = wire.PARTIAL_END_BYTES * (kind == wire.Kind.PARTIAL)
        return wire.PREFIX_BYTES + count + senders * each + body + end


def _name(round_id: int, part: UpdatePart) -> bytes:
    return round_id.to_bytes(8, "little") + part.index.to_bytes(4, "little")
