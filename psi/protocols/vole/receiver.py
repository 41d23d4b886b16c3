"""The side that receives: it hides its items in a store, and compares tags."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from psi.errors import DecodeError, RepeatedElementError
from psi.group.ristretto255 import POINT_BYTES, Scalar, multiply_base
from psi.keyvalue import StoreKeys
from psi.protocols.elements import TAG_BYTES
from psi.protocols.messages import MessageType
from psi.protocols.party import MAC_BYTES, expect_shape
from psi.protocols.transfers import BaseOTSender
from psi.protocols.vole.hashing import COIN_BYTES, as_blocks, as_bytes, part_of_each
from psi.protocols.vole.layout import SessionSizes
from psi.protocols.vole.matching import matching_tags
from psi.protocols.vole.rounds import CHOICE_PAIRS_BYTES, LABELS, SEED_BYTES, VoleParty
from psi.vole import TRANSFERS, BaseReceiver, VoleReceiver

__all__ = ["Receiver"]

Bytes = NDArray[np.uint8]
Blocks = NDArray[np.uint64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, repr=False)
class _Stored:
    """A bucket's items in a store."""

    own: Rows
    digests: Bytes
    keys: StoreKeys
    table: Blocks


@dataclass(frozen=True, repr=False)
class _Hidden:
    """What is kept of a bucket whose table is made, until its tags come."""

    own: Rows
    digests: Bytes
    values: Blocks
    coin: bytes


class Receiver(VoleParty):
    """The side that speaks first and always gets the result."""

    speaks_first = True
    _own_hello, _peer_hello = MessageType.RECEIVER_HELLO, MessageType.SENDER_HELLO
    _announcement_bytes, _peer_announcement_bytes = POINT_BYTES, CHOICE_PAIRS_BYTES
    _secret: Scalar | None = None
    _vole: VoleReceiver | None = None
    _proof = b""  # what the sender must show before the chunk of the next table is used
    _stored: dict[int, _Stored]  # by bucket, each until the next stage
    _hidden: dict[int, _Hidden]
    _tables: dict[int, bytes]  # made, and not sent yet
    _arrived: dict[tuple[int, int], memoryview]  # tags, by bucket and part
    _outputs: Bytes  # of the bucket whose tags arrive
    _part = 0  # which of them comes next
    _commitments: dict[int, bytes]
    _matched: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.void]]]

    def tested_by(self, peer: int, announced: int) -> int:
        """Return how many tags are sent: a sender that cheats tests an item with each dummy."""
        return SessionSizes.of(len(self._items), announced).tags

    def _forget(self) -> None:
        super()._forget()
        self._secret = self._vole = None
        self._stored, self._hidden, self._tables, self._arrived = {}, {}, {}, {}
        self._proof = b""

    def _announcement(self) -> bytes:
        self._secret = Scalar.random()
        self._key = multiply_base([self._secret]).tobytes()
        return self._key

    def _take_announcement(self, content: bytes) -> None:
        points = {content[at : at + POINT_BYTES] for at in range(0, len(content), POINT_BYTES)}
        if len(points | {self._key}) != 2 * TRANSFERS + 1:
            raise RepeatedElementError("the other side sent a point twice, or ours back")
        self._choices = content

    def _after_hellos(self) -> bytes:
        self._lay_out()
        labels = self._vole_session, TRANSFERS, LABELS
        seeds = BaseOTSender(*labels, secret=self._secret).seeds(self._choices)
        self._secret = None
        base = BaseReceiver(seeds, self._plan.base, self._identity)
        self._stored, self._hidden, self._tables, self._arrived = {}, {}, {}, {}
        self._commitments, self._matched = {}, []
        self._seen = np.zeros(len(self._items), bool)  # which are matched
        self._seed = secrets.token_bytes(SEED_BYTES)
        content = self._seed, base.message
        message = self._transcript.seal(MessageType.VOLE_BASE, self._plan.chunks, *content)
        # Bound to what this side drew last: a sender that chooses its hello chooses no code by it.
        self._vole = VoleReceiver(self._plan, base, self._transcript.digest)
        self._expect = self._on_noise
        return message

    def _on_noise(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.VOLE_NOISE, data)
        expect_shape(message, 0, self._noise_bytes(0))
        check = self._checked(0, message.body)
        self._expect = self._on_tags
        return self._transcript.seal(MessageType.VOLE_CHECK, 0, check)

    def _checked(self, bucket: int, message: memoryview) -> bytes:
        """Take the trees of a bucket's chunk and the commitment to its coin; return the check."""
        assert self._vole is not None  # noqa: S101 - made with the base
        check, self._proof = self._vole.check(message[:-COIN_BYTES])
        self._commitments[bucket] = bytes(message[-COIN_BYTES:])
        return check

    def _on_tags(self, data: bytes) -> bytes:
        bucket = self._bucket
        message = self._transcript.open(MessageType.VOLE_TAGS, data)
        tags_end = MAC_BYTES + self._tags_bytes(bucket - 1, self._part)
        expect_shape(message, bucket, tags_end + self._noise_bytes(bucket + 1))
        if self._due(bucket):
            self._confirm_with(self._proof)
        self._check(message)
        if self._due(bucket - 1):
            self._arrived[bucket - 1, self._part] = message.body[MAC_BYTES:tags_end]
            self._part = 0
        if not self._due(bucket):
            return self._finish()
        content = [self._hide(bucket).coin, self._tables.pop(bucket)]
        if self._due(bucket + 1):
            content.append(self._checked(bucket + 1, message.body[tags_end:]))
        self._bucket, self._expect = bucket + 1, self._next_tags()
        return self._confirmed(MessageType.VOLE_TABLE, bucket, *content)

    def _on_part(self, data: bytes) -> bytes:
        message, part = self._transcript.open(MessageType.VOLE_PART, data), self._part
        expect_shape(message, part, MAC_BYTES + self._tags_bytes(self._bucket - 1, part))
        self._check(message)
        self._compare()  # or what a side sends that nobody reads would fill the memory
        self._arrived[self._bucket - 1, part] = message.body[MAC_BYTES:]
        self._part = part + 1
        self._expect = self._next_tags()
        return self._confirmed(MessageType.VOLE_MORE, self._part, b"")

    def _next_tags(self) -> Callable[[bytes], bytes]:
        last = self._part == self._layout.parts - 1
        return self._on_tags if last else self._on_part

    def _work_ahead(self) -> None:
        if self._vole is None:
            return
        self._compare()
        if self._due(self._bucket):
            self._store_items(self._bucket)
            if self._bucket in self._commitments:  # its noise is here
                self._hide(self._bucket)

    def _store_items(self, bucket: int) -> _Stored:
        """Put a bucket's items into a store, once."""
        if bucket not in self._stored:
            self._tell("hiding own IDs", bucket)
            own, digests = self._take_bucket(bucket, self._layout.receiver_items)
            keys = self._hashes.store(self._seed, bucket, digests, self._store)
            table = keys.encode(as_bytes(self._hashes.values(digests)), masked=True)
            self._stored[bucket] = _Stored(own, digests, keys, as_blocks(table))
        return self._stored[bucket]

    def _hide(self, bucket: int) -> _Hidden:
        """Mask a bucket's table by the vector OLE, once."""
        if bucket not in self._hidden:
            assert self._vole is not None  # noqa: S101 - made with the base
            stored, coin = self._store_items(bucket), secrets.token_bytes(COIN_BYTES)
            masks, kept = self._vole.take()
            values = as_blocks(stored.keys.decode(as_bytes(kept)))
            self._tables[bucket] = (stored.table ^ masks).tobytes()
            self._hidden[bucket] = _Hidden(stored.own, stored.digests, values, coin)
            del self._stored[bucket]
        return self._hidden[bucket]

    def _compare(self) -> None:
        """Compare the tags that have arrived with those of the items in their bucket."""
        layout = self._layout
        for bucket, part in list(self._arrived):
            message, hidden = self._arrived.pop((bucket, part)), self._hidden[bucket]
            if part == 0:
                self._outputs, message = self._evaluated(bucket, hidden, message)
            theirs = np.frombuffer(message, np.uint8).reshape(-1, TAG_BYTES)
            rows, found = matching_tags(theirs, np.ascontiguousarray(self._outputs[:, :TAG_BYTES]))
            own = hidden.own[found]
            if layout.parts > 1:  # within one, tags are distinct
                if np.any(self._seen[own]):
                    raise RepeatedElementError("the other side sent the same tag twice")
                self._seen[own] = True
            receipts = part_of_each(self._outputs, TAG_BYTES, self._tag_bytes)[found]
            first = bucket * layout.sender_items + part * layout.part_tags
            self._matched.append((_short(rows + first), _short(own), receipts))
            if part == layout.parts - 1:
                del self._hidden[bucket]

    def _evaluated(
        self, bucket: int, hidden: _Hidden, message: memoryview
    ) -> tuple[Bytes, memoryview]:
        """Return the outputs of own items, given the sender's coin, and what follows the coin."""
        coin = bytes(message[:COIN_BYTES])
        if self._hashes.commitment(bucket, coin) != self._commitments.pop(bucket):
            raise DecodeError("the other side's coin is not that to which it is committed")
        coins = hidden.coin, coin
        outputs = self._hashes.outputs(bucket, coins, hidden.values, hidden.digests)
        return outputs, message[COIN_BYTES:]

    def _finish(self) -> bytes:
        self._compare()
        # By the sender's row: both sides know this order, and it is random to all but the sender.
        rows, found, receipts = (
            np.concatenate(parts) for parts in zip(*self._matched, strict=True)
        )
        self._found, content = found.astype(np.intp), b""
        if self._both:
            matched = np.zeros(self._layout.tags, np.uint8)
            matched[rows] = 1
            content = np.packbits(matched, bitorder="little").tobytes()
            content += receipts.tobytes() + self._own_counts()
        self._vole, self._expect = None, self._on_close
        return self._confirmed(MessageType.FINISH, self._announced, content)


def _short(rows: Rows) -> NDArray[np.int32]:
    """Return row numbers, which are below 2^31, in half the memory."""
    return rows.astype(np.int32)
