"""How an update is cut into parts that fit in memory; sizes follow from the parameters alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from privfed.errors import DecodeError
from privfed.he import Integers
from privfed.keys import SecretKey
from privfed.secagg import wire
from privfed.secagg.linear_hash import LINEAR_HASH_BYTES
from privfed.secagg.parameters import Parameters
from privfed.secagg.schemes import Authentic, Opener, Scheme, Sender, ZeroEncryption, scheme_of
from privfed.secagg.tags import Tags


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

    def __len__(self) -> int:
        return len(self.all)

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
        if not self.params.tags:
            return values
        tags = self._tags.integers(key, _name(round_id, part), sender, values, wide, masks)
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
        if not self.params.tags:
            return sums
        values, tags = sums[: -self._tags.count], sums[-self._tags.count :]
        good = self._tags.verify(key, _name(round_id, part), senders, values, tags)
        return values if good else None

    def hidden_hash(
        self,
        sender: Sender[Any],
        round_id: int,
        part: UpdatePart,
        entry: wire.Entry,
        zero: ZeroEncryption,
        payload: bytes,
    ) -> bytes:
        """Return the hidden linear hash of a party's ciphertext; nothing where none is used."""
        name = _name(round_id, part)
        return sender.hidden_hash(name, entry.ciphertext, zero, payload, part.sealed)

    def authentic(
        self,
        opener: Opener[Any],
        round_id: int,
        part: UpdatePart,
        entries: Iterable[wire.Entry],
        total: memoryview,
    ) -> Authentic | None:
        """Return a total that may be opened; None where it is not the sum of these ciphertexts."""
        signed = [(entry.ciphertext, entry.linear_hash) for entry in entries]
        return opener.authentic(_name(round_id, part), signed, total, part.sealed)

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
