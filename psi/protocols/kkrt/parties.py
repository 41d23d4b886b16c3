"""PSI by OT extension: two state machines, bytes in, bytes out, no I/O.

The receiver puts each of its items into one of three bins by cuckoo hashing. For each bin the
two sides evaluate a pseudorandom function: the receiver learns its value at the item in the bin,
the sender learns all values. The sender sends the values of its items, each at its three bins
(Kolesnikov, Kumaresan, Rosulek and Trieu 2016, ePrint 2016/799; Pinkas, Schneider and Zohner
2014). Semi-honest security: a side that cheats reads the other's set and passes every limit.
docs/psi-kkrt.md says how, lists the assumptions, and derives the sizes.

    Receiver                                Sender
    RECEIVER_HELLO  settings, nonce, n  →
                                        ←   SENDER_HELLO  settings, nonce, n
    OT_KEY   B                          →
                                        ←   OT_CHOICES  512 pairs of points
    MATRIX   MAC, rows                  →                                         } once for
                                        ←   TAGS  MAC, three tags an item, shuffled } each bucket
    FINISH   MAC [, matches [, counts]] →
                                        ←   CLOSE  MAC [, counts]

A hash cuts large sets into buckets, so that memory does not grow with what is sent. The messages of
a bucket have a fixed size, whatever lies in it.

At least 128 rows beyond the bins hold an element known to both. Its values there key the MACs, so
that sides whose transfers do not fit notice it before any tag is compared.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from psi import kernels
from psi.errors import DecodeError, ProtocolError, RepeatedElementError, UnkeptLimitError
from psi.group.ristretto255 import POINT_BYTES
from psi.protocols.conversation import Progress
from psi.protocols.kkrt.buckets import DIGEST_BYTES, Buckets
from psi.protocols.kkrt.extension import Columns, receive_rows, send_rows
from psi.protocols.kkrt.hashing import SessionHashes
from psi.protocols.kkrt.layout import HASHES, MOST_ITEMS, ROW_BYTES, TRANSFERS, SessionSizes
from psi.protocols.kkrt.matching import matching_tags
from psi.protocols.messages import FRAME_BYTES, MessageType
from psi.protocols.parameters import SessionParameters
from psi.protocols.party import MAC_BYTES, Party, expect_shape
from psi.protocols.transfers import BaseOTReceiver, BaseOTSender, TransferLabels

__all__ = ["LABELS", "NAME", "Receiver", "Sender"]

NAME = "kkrt"
LABELS = TransferLabels(b"psi-kkrt-v1-random-point-", b"psi-kkrt-v1-transfer-", b"psi kkrt seed, ")
_CHOICES_BYTES = 2 * TRANSFERS * POINT_BYTES
_BATCH = 1 << 14  # items whose code words fit the cache

Bytes = NDArray[np.uint8]
Rows = NDArray[np.intp]


class _KKRTParty(Party):
    """What both roles know: sizes, hashes, buckets, and how the session's keys are made."""

    protocol = NAME
    _buckets: Buckets | None = None
    _bucket = 0

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: SessionParameters | None = None,
        *,
        counts: NDArray[np.intp] | None = None,
        max_peer_items: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Prepare one session, with a side that is trusted not to cheat.

        Args:
            items: This side's set: distinct byte strings, padded or not.
            parameters: What both sides must choose alike.
            counts: Shape (len(items),): how often each occurs; given with `multiplicities`.
            max_peer_items: Must be None, as a side that cheats tests as many IDs as it likes.
            progress: Called with a stage, the items done and their number while it works.

        Raises:
            ConfigError: Items repeat, or counts are not those of the items.
            UnkeptLimitError: `max_peer_items` is given.
        """
        if max_peer_items is not None:
            raise UnkeptLimitError(NAME, "max_peer_items")
        super().__init__(
            items, parameters, counts=counts, max_peer_items=MOST_ITEMS, progress=progress
        )

    def charge_with(self, charge: Callable[[int, int], None]) -> None:
        """Refuse, as a side that cheats gets more than what is counted.

        Raises:
            UnkeptLimitError: Always.
        """
        raise UnkeptLimitError(NAME, "a count of what the other side asks")

    def _forget(self) -> None:
        super()._forget()
        if self._buckets is not None:
            self._buckets.close()
            self._buckets = None

    @property
    def longest_message(self) -> int:
        """What the other side's next message can measure at most, in bytes."""
        if self._n_peer is None:
            return super().longest_message
        layout = self._layout
        return FRAME_BYTES + max(
            MAC_BYTES + ROW_BYTES * layout.rows,
            MAC_BYTES + HASHES * layout.tag_bytes * layout.sender_items,
            MAC_BYTES + layout.buckets * layout.sender_items + 4 * len(self._items),
            _CHOICES_BYTES,
        )

    def _lay_out(self) -> None:
        """Derive all that both sides can derive once both hellos are in."""
        self._hashes = SessionHashes(self._identity)
        sizes = len(self._items), self._peer_items()
        self._layout = SessionSizes.of(*(sizes if self.speaks_first else sizes[::-1]))

    def _take_bucket(self, room: int) -> tuple[Rows, Bytes]:
        """Return the numbers and digests of the items in the bucket that is due.

        Raises:
            ProtocolError: A bucket has no room for its items, with probability below 2^-40.
        """
        if self._buckets is None:
            digests = self._hashes.digests(self._items)
            self._buckets = Buckets(digests, len(self._items), self._layout.buckets)
            if self._buckets.sizes.max() > room:
                raise ProtocolError("the IDs fit no bucket of this session: start again")
        return self._buckets.take(self._bucket)

    def _tell(self, stage: str, done: int, of: int) -> None:
        """Report the progress through all buckets, by the part done of this one."""
        total, buckets = len(self._items), self._layout.buckets
        self._progress(stage, total * (self._bucket * of + done) // (of * buckets), total)

    def _confirm_with(self, values: Bytes) -> None:
        """Key the MACs by the known element's values, which only the two sides can compute."""
        secret = b"psi kkrt confirmation, " + self._identity + values.tobytes()
        self._mac_key = hashlib.sha256(secret).digest()


class Receiver(_KKRTParty):
    """The side that speaks first and always gets the result."""

    speaks_first = True
    _own_hello, _peer_hello = MessageType.RECEIVER_HELLO, MessageType.SENDER_HELLO
    _transfers: BaseOTSender | None = None
    _columns: tuple[Columns, Columns] | None = None
    _own_tags: tuple[Bytes, ...] = ()
    _own_places: tuple[Rows, ...] = ()

    def _forget(self) -> None:
        super()._forget()
        self._transfers = self._columns = None
        self._own_tags = self._own_places = ()

    def _after_hellos(self) -> bytes:
        self._lay_out()
        self._transfers = BaseOTSender(self._identity, TRANSFERS, LABELS)
        self._expect = self._on_choices
        return self._transcript.seal(MessageType.OT_KEY, 1, self._transfers.public.tobytes())

    def _on_choices(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.OT_CHOICES, data)
        expect_shape(message, TRANSFERS, _CHOICES_BYTES)
        assert self._transfers is not None  # noqa: S101 - the hello went before
        points = {self._transfers.public.tobytes()}
        points.update(message.body[at : at + POINT_BYTES].tobytes() for at in _point_places())
        if len(points) != 2 * TRANSFERS + 1:
            raise RepeatedElementError("the other side sent a point twice, or ours back")
        zero, one = self._transfers.seeds(message.body)
        self._transfers = None
        whole = self._layout.rows * self._layout.buckets
        self._columns = Columns(zero, whole), Columns(one, whole)
        self._matched: list[tuple[Rows, Rows]] = []
        return self._next_matrix()

    def _next_matrix(self) -> bytes:
        rows = self._evaluate(*self._take_bucket(self._layout.receiver_items))
        self._expect = self._on_tags
        return self._confirmed(MessageType.MATRIX, self._layout.rows, rows.reshape(-1).data)

    def _evaluate(self, own: Rows, digests: Bytes) -> Bytes:
        """Place a bucket's items, tag each at its bin, key the MACs; return the rows to send."""
        assert self._columns is not None  # noqa: S101 - the choices went before
        n_bins, n_rows, third = self._layout.bins, self._layout.rows, self._layout.bins // HASHES
        slots = kernels.place(self._hashes.bins(digests, n_bins), n_bins)
        if slots is None:
            raise ProtocolError("the IDs fit no table of this session: start again")
        taken = np.flatnonzero(slots >= 0)
        places = slots[taken] // HASHES
        # An empty bin holds a random digest; it is an item's with probability 2^-88.
        placed = np.empty((n_bins, DIGEST_BYTES), np.uint8)
        placed[taken] = digests[places]
        placed[slots < 0] = _random_digests(n_bins - len(own))
        confirmation = self._hashes.confirmation_code()

        def codes(start: int, end: int) -> Bytes:
            self._tell("masking own IDs", start, n_rows)
            words = self._hashes.codes(placed[start:end])
            beyond = end - start - len(words)
            return np.vstack((words, np.repeat(confirmation, beyond, axis=0))) if beyond else words

        kept, sent = receive_rows(self._columns, n_rows, codes)
        self._confirm_with(kept[n_bins:])
        key, width = self._hashes.row_key(self._bucket), self._layout.tag_bytes
        tags = kernels.tag_rows(kept, taken.astype(np.uint32), third, key, width)
        # Bins are in order, so those of one hash index are together.
        splits = np.searchsorted(taken, (third, 2 * third))
        self._own_tags = tuple(np.split(tags, splits))
        self._own_places = tuple(np.split(own[places], splits))
        return sent

    def _on_tags(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.TAGS, data)
        count, width = self._layout.sender_items, self._layout.tag_bytes
        expect_shape(message, count, MAC_BYTES + HASHES * width * count)
        self._check(message)
        columns = np.frombuffer(message.body[MAC_BYTES:], np.uint8).reshape(-1, HASHES, width)
        self._matched.append(self._compared(columns))
        self._bucket += 1
        if self._bucket < self._layout.buckets:
            return self._next_matrix()
        their_rows = np.concatenate([rows + n * count for n, (rows, _) in enumerate(self._matched)])
        # By the sender's row: both sides know this order, and it is random to all but the sender.
        self._found = np.concatenate([found for _, found in self._matched])
        self._expect = self._on_close
        content = b""
        if self._both:
            matched = np.zeros(self._layout.buckets * count, np.uint8)
            matched[their_rows] = 1
            content = np.packbits(matched, bitorder="little").tobytes() + self._own_counts()
        return self._confirmed(MessageType.FINISH, self._announced, content)

    def _compared(self, columns: Bytes) -> tuple[Rows, Rows]:
        """Return the sender's rows of a bucket that match, in order, and our item of each."""
        rows, found = [], []
        for index, (own, places) in enumerate(zip(self._own_tags, self._own_places, strict=True)):
            theirs, ours = matching_tags(columns[:, index], own)
            rows.append(theirs)
            found.append(places[ours])
        their_rows, own_items = np.concatenate(rows), np.concatenate(found)
        order = np.argsort(their_rows)
        their_rows, own_items = their_rows[order], own_items[order]
        ordered = np.sort(own_items)
        if np.any(ordered[1:] == ordered[:-1]) or np.any(their_rows[1:] == their_rows[:-1]):
            raise RepeatedElementError(
                "the other side sent tags of one item twice, or of two as one"
            )
        return their_rows, own_items


class Sender(_KKRTParty):
    """The side that answers; it gets the result, too, if the output is "both"."""

    speaks_first = False
    _own_hello, _peer_hello = MessageType.SENDER_HELLO, MessageType.RECEIVER_HELLO
    _columns: Columns | None = None
    _choices: Bytes | None = None

    def _forget(self) -> None:
        super()._forget()
        self._columns = self._choices = None

    def _after_hellos(self) -> None:
        self._lay_out()
        self._expect = self._on_key

    def _on_key(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.OT_KEY, data)
        expect_shape(message, 1, POINT_BYTES)
        transfers = BaseOTReceiver(self._identity, TRANSFERS, LABELS)
        whole = self._layout.rows * self._layout.buckets
        self._columns = Columns(transfers.seeds(message.body), whole)
        self._choices = np.packbits(transfers.bits, bitorder="little")
        self._expect = self._on_matrix
        self._orders: list[Rows] = []
        return self._transcript.seal(MessageType.OT_CHOICES, TRANSFERS, transfers.choices)

    def _on_matrix(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.MATRIX, data)
        n_rows, n_bins = self._layout.rows, self._layout.bins
        expect_shape(message, n_rows, MAC_BYTES + ROW_BYTES * n_rows)
        assert self._choices is not None  # noqa: S101 - the key went before
        assert self._columns is not None  # noqa: S101
        received = np.frombuffer(message.body[MAC_BYTES:], np.uint8).reshape(-1, ROW_BYTES)
        rows = send_rows(self._columns, self._choices, received)
        self._confirm_with(rows[n_bins:] ^ (self._hashes.confirmation_code() & self._choices))
        self._check(message)
        own, digests = self._take_bucket(self._layout.sender_items)
        tags = self._tags(own, digests, rows, self._choices)
        self._bucket += 1
        self._expect = self._on_matrix
        if self._bucket == self._layout.buckets:
            self._columns = self._choices = None
            self._expect = self._on_finish
        return self._confirmed(MessageType.TAGS, self._layout.sender_items, tags.reshape(-1).data)

    def _tags(self, own: Rows, own_digests: Bytes, rows: Bytes, choices: Bytes) -> Bytes:
        """Three tags of each of a bucket's items and dummies, in a fresh random order."""
        layout, key = self._layout, self._hashes.row_key(self._bucket)
        order = kernels.random_order(layout.sender_items)
        digests = np.empty((layout.sender_items, DIGEST_BYTES), np.uint8)
        digests[order[: len(own)]] = own_digests
        digests[order[len(own) :]] = _random_digests(layout.sender_items - len(own))
        items = np.full(layout.sender_items, -1, np.intp)
        items[order[: len(own)]] = own
        self._orders.append(items)
        third, width = layout.bins // HASHES, layout.tag_bytes
        tags = np.empty((layout.sender_items, HASHES * width), np.uint8)
        for start in range(0, len(digests), _BATCH):
            self._tell("tagging own IDs", start, len(digests))
            batch = digests[start : start + _BATCH]
            bins, offsets = self._hashes.bins(batch, layout.bins), self._hashes.codes(batch)
            offsets &= choices
            own_tags = kernels.tag_rows(rows, bins.ravel(), third, key, width, offsets)
            tags[start : start + _BATCH] = own_tags.reshape(-1, HASHES * width)
        return tags

    def _on_finish(self, data: bytes) -> bytes:
        finish = self._transcript.open(MessageType.FINISH, data)
        order = np.concatenate(self._orders)
        matches_end = MAC_BYTES + (-(-len(order) // 8) if self._both else 0)
        count = min(finish.count, len(self._items), self._peer_items()) if self._both else 0
        expect_shape(finish, count, matches_end + self._counts_length(count))
        self._check(finish)
        if self._both:
            packed = np.frombuffer(finish.body[MAC_BYTES:matches_end], np.uint8)
            matched = np.flatnonzero(np.unpackbits(packed, bitorder="little"))
            if len(matched) != count or np.any(matched >= len(order)):
                raise DecodeError("the other side marks other matches than it counts")
            self._found = order[matched]
            if np.any(self._found < 0):
                raise DecodeError("the other side claims to have dummies of this side")
            self._take_counts(finish.body[matches_end:])
        close = self._confirmed(MessageType.CLOSE, self._announced, self._own_counts())
        self._end()
        return close


def _random_digests(count: int) -> Bytes:
    drawn = np.frombuffer(secrets.token_bytes(DIGEST_BYTES * count), np.uint8)
    return drawn.reshape(count, DIGEST_BYTES)


def _point_places() -> range:
    return range(0, _CHOICES_BYTES, POINT_BYTES)
