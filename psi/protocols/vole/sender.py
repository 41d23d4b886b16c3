"""The side that sends: it evaluates the oblivious function at its own items."""

import hmac
import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from psi import kernels
from psi.errors import DecodeError
from psi.group.ristretto255 import POINT_BYTES
from psi.kernels import blocks
from psi.keyvalue import StoreKeys
from psi.protocols.elements import TAG_BYTES
from psi.protocols.messages import MessageType
from psi.protocols.party import MAC_BYTES, expect_shape
from psi.protocols.transfers import BaseOTReceiver
from psi.protocols.vole.buckets import Buckets
from psi.protocols.vole.hashing import COIN_BYTES, as_blocks, as_bytes, part_of_each
from psi.protocols.vole.layout import most_tested
from psi.protocols.vole.rounds import CHOICE_PAIRS_BYTES, ENTRY_BYTES, LABELS, SEED_BYTES, VoleParty
from psi.vole import CHECK_BYTES, TRANSFERS, BaseSender, VoleSender

__all__ = ["Sender"]

Bytes = NDArray[np.uint8]
Blocks = NDArray[np.uint64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, repr=False)
class _Prepared:
    """A part's items: what is known of their values before the table comes."""

    own: Rows
    places: Rows  # of their tags
    digests: Bytes
    keys: StoreKeys
    values: Blocks


class Sender(VoleParty):
    """The side that answers; it gets the result, too, if the output is "both"."""

    speaks_first = False
    counted_as = "as many as fit its store if it cheats, of 2^40 that it tries"
    _own_hello, _peer_hello = MessageType.SENDER_HELLO, MessageType.RECEIVER_HELLO
    _announcement_bytes, _peer_announcement_bytes = CHOICE_PAIRS_BYTES, POINT_BYTES
    _transfers: BaseOTReceiver | None = None
    _vole: VoleSender | None = None
    _part = _taken = _sent = 0  # which comes next; how many vectors, and how many noises
    _table: memoryview | None = None  # and the coin of the bucket whose parts are sent
    _next_check: bytes | memoryview = b""  # of the bucket after it
    _vectors: dict[int, Blocks]  # by bucket, until its table comes
    _prepared: dict[tuple[int, int], _Prepared]  # by bucket and part
    _made: dict[tuple[int, int], tuple[bytes, memoryview]]  # tags, until they are sent
    _noises: dict[int, bytes]  # made, and not sent yet
    _coins: dict[int, bytes]
    _order: NDArray[np.int32]  # the item of each tag, -1 for a dummy
    _receipts: NDArray[np.void]  # of each item

    @staticmethod
    def most_asked(peer: int, announced: int) -> int:
        """Return how many items the receiver can test if it cheats: what fits its stores."""
        return most_tested(announced)

    def _forget(self) -> None:
        super()._forget()
        self._transfers = self._vole = self._table = None
        self._made = {}
        self._vectors, self._prepared, self._noises, self._coins = {}, {}, {}, {}
        self._receipts = np.empty(0, "V1")

    def _announcement(self) -> bytes:
        self._transfers = BaseOTReceiver(self._vole_session, TRANSFERS, LABELS)
        return self._transfers.choices

    def _take_announcement(self, content: bytes) -> None:
        self._key = content

    def _after_hellos(self) -> None:
        self._lay_out()
        self._vectors, self._prepared, self._noises, self._coins = {}, {}, {}, {}
        self._made = {}
        if self._both:
            self._order = np.full(self._layout.tags, -1, np.int32)
            self._receipts = np.zeros(len(self._items), f"V{self._tag_bytes}")
        self._expect = self._on_base

    def _on_base(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.VOLE_BASE, data)
        sizes, transfers = self._plan.base, self._transfers
        expect_shape(message, self._plan.chunks, SEED_BYTES + sizes.message_bytes)
        assert transfers is not None  # noqa: S101 - made with the hello
        seeds, content = transfers.seeds(self._key), message.body[SEED_BYTES:]
        base = BaseSender(seeds, transfers.bits, sizes, self._identity, content)
        self._transfers, self._seed = None, bytes(message.body[:SEED_BYTES])
        self._vole = VoleSender(self._plan, base, self._transcript.digest)
        self._expect = self._on_check
        return self._transcript.seal(MessageType.VOLE_NOISE, 0, self._noise(0))

    def _noise(self, bucket: int) -> bytes:
        """Return the trees of a bucket's chunk, and the commitment to its coin."""
        if not self._due(bucket):
            return b""
        self._make_noise(bucket)
        self._sent += 1
        return self._noises.pop(bucket)

    def _make_noise(self, bucket: int) -> None:
        """Make the noise of a bucket's chunk, once, after that of the chunk before."""
        if bucket in self._noises or not self._due(bucket):
            return
        assert self._vole is not None  # noqa: S101 - made with the base
        if bucket:
            self._take_vector(bucket - 1)
        self._coins[bucket] = secrets.token_bytes(COIN_BYTES)
        commitment = self._hashes.commitment(bucket, self._coins[bucket])
        self._noises[bucket] = self._vole.noise() + commitment

    def _take_vector(self, bucket: int) -> None:
        """Take the vector of a bucket's chunk, once its noise is made, and once."""
        if self._taken == bucket:
            assert self._vole is not None  # noqa: S101 - made with the base
            self._vectors[bucket] = self._vole.take()
            self._taken += 1

    def _on_check(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.VOLE_CHECK, data)
        expect_shape(message, 0, CHECK_BYTES)
        self._expect = self._on_table
        return self._round(0, message.body)

    def _round(self, bucket: int, check: bytes | memoryview, *tags: bytes | memoryview) -> bytes:
        """Return the tags of the bucket before, the proof of this one, the trees of the next."""
        if self._due(bucket):
            assert self._vole is not None  # noqa: S101 - made with the base
            self._take_vector(bucket)
            self._confirm_with(self._vole.proof(bucket, check))
        return self._confirmed(MessageType.VOLE_TAGS, bucket, *tags, self._noise(bucket + 1))

    def _on_table(self, data: bytes) -> bytes:
        bucket = self._bucket
        message = self._transcript.open(MessageType.VOLE_TABLE, data)
        table_end = MAC_BYTES + self._table_bytes(bucket)
        expect_shape(message, bucket, table_end + self._check_bytes(bucket + 1))
        self._check(message)
        self._table, self._next_check = message.body[MAC_BYTES:table_end], message.body[table_end:]
        return self._answer()

    def _on_more(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.VOLE_MORE, data)
        expect_shape(message, self._part, MAC_BYTES)
        self._check(message)
        return self._answer()

    def _answer(self) -> bytes:
        """Return the next part of a bucket's tags; with the last one its round ends."""
        part, tags = self._part, self._tags(self._bucket, self._part)
        del self._made[self._bucket, part]
        if part < self._layout.parts - 1:
            self._part, self._expect = part + 1, self._on_more
            return self._confirmed(MessageType.VOLE_PART, part, *tags)
        self._bucket, self._part, self._table = self._bucket + 1, 0, None
        self._expect = self._on_table if self._due(self._bucket) else self._on_finish
        return self._round(self._bucket, self._next_check, *tags)

    def _work_ahead(self) -> None:
        if self._vole is None or not self._due(self._bucket):
            return
        self._prepare(self._bucket, self._part)
        self._make_noise(self._sent)
        if self._table is not None:
            self._tags(self._bucket, self._part)

    def _prepare(self, bucket: int, part: int) -> _Prepared:
        """Compute what the values of a part's items are but for the table, once."""
        if (bucket, part) not in self._prepared:
            assert self._vole is not None  # noqa: S101 - made with the base
            self._tell("tagging own IDs", bucket)
            self._take_vector(bucket)
            own, digests, places = self._take_part(bucket, part)
            keys = self._hashes.store(self._seed, bucket, digests, self._store)
            found = as_blocks(keys.decode(as_bytes(self._vectors[bucket])))
            if part == self._layout.parts - 1:
                del self._vectors[bucket]
            hidden = blocks.multiply(self._vole.delta, self._hashes.values(digests))
            self._prepared[bucket, part] = _Prepared(own, places, digests, keys, found ^ hidden)
        return self._prepared[bucket, part]

    def _take_part(self, bucket: int, part: int) -> tuple[Rows, Bytes, Rows]:
        """Return the numbers and digests of a part's items, and the random places of their tags."""
        layout, room = self._layout, self._layout.sender_items
        if layout.parts == 1:
            own, digests = self._take_bucket(bucket, room)
            return own, digests, kernels.random_order(room)[: len(own)]
        if self._buckets is None:
            orders = [kernels.random_order(room).astype(np.int32) for _ in range(layout.buckets)]
            batches, sizes = self._hashes.digests(self._items), (len(self._items), layout.buckets)
            self._buckets = Buckets(batches, *sizes, np.stack(orders), layout.part_tags)
        return self._buckets.take_part(bucket, part)

    def _tags(self, bucket: int, part: int) -> tuple[bytes, memoryview]:
        """Return a part of the tags of a bucket's items and dummies, in a fresh random order, once.

        Before the first one is the coin.
        """
        if (bucket, part) not in self._made:
            ready = self._prepare(bucket, part)
            assert self._vole is not None  # noqa: S101 - made with the base
            assert self._table is not None  # noqa: S101 - it came before
            theirs, coin = bytes(self._table[:COIN_BYTES]), self._coins[bucket]
            table = np.frombuffer(self._table[COIN_BYTES:], np.uint8).reshape(-1, ENTRY_BYTES)
            found = as_blocks(ready.keys.decode(table))
            values = ready.values ^ blocks.multiply(self._vole.delta, found)
            outputs = self._hashes.outputs(bucket, (theirs, coin), values, ready.digests)
            tags = self._placed(bucket, part, ready, outputs)
            self._made[bucket, part] = b"" if part else coin, tags.view(np.uint8).data
            del self._prepared[bucket, part]
            if part == self._layout.parts - 1:
                del self._coins[bucket]
        return self._made[bucket, part]

    def _placed(self, bucket: int, part: int, ready: _Prepared, outputs: Bytes) -> NDArray[np.void]:
        """Return tags in their places among dummies; note whose they are, and the receipts."""
        layout, own, places = self._layout, ready.own, ready.places
        tags = np.empty(layout.tags_in(part), f"V{TAG_BYTES}")
        tags[places] = part_of_each(outputs, 0, TAG_BYTES)
        free = np.ones(len(tags), bool)
        free[places] = False
        drawn = secrets.token_bytes(TAG_BYTES * (len(tags) - len(own)))
        tags[free] = np.frombuffer(drawn, tags.dtype)
        if self._both:
            first = bucket * layout.sender_items + part * layout.part_tags
            self._order[places + first] = own
            self._receipts[own] = part_of_each(outputs, TAG_BYTES, self._tag_bytes)
        return tags

    def _on_finish(self, data: bytes) -> bytes:
        finish = self._transcript.open(MessageType.FINISH, data)
        sent = self._layout.tags
        most = min(len(self._items), self._peer_items()) if self._both else 0
        count = min(finish.count, most)
        marks_end = MAC_BYTES + (-(-sent // 8) if self._both else 0)
        receipts_end = marks_end + self._tag_bytes * count
        expect_shape(finish, count, receipts_end + self._counts_length(count))
        self._check(finish)
        if self._both:
            marks = finish.body[MAC_BYTES:marks_end]
            self._found = self._claimed(marks, count, finish.body[marks_end:receipts_end])
            self._take_counts(finish.body[receipts_end:])
        close = self._confirmed(MessageType.CLOSE, self._announced, self._own_counts())
        self._end()
        return close

    def _claimed(self, marks: memoryview, count: int, receipts: memoryview) -> Rows:
        """Return the items that the other side marks, given the receipts that only they have.

        Raises:
            DecodeError: It marks another number, dummies, or items for which it did not ask.
        """
        bits = np.unpackbits(np.frombuffer(marks, np.uint8), bitorder="little")
        matched = np.flatnonzero(bits)
        if len(matched) != count or np.any(matched >= len(self._order)):
            raise DecodeError("the other side marks other matches than it counts")
        found = self._order[matched].astype(np.intp)
        if np.any(found < 0):
            raise DecodeError("the other side claims to have dummies of this side")
        if not hmac.compare_digest(self._receipts[found].tobytes(), receipts):
            raise DecodeError("the other side claims a match that it did not ask for")
        return found
