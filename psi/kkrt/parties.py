"""PSI by OT extension: two state machines, bytes in, bytes out, no I/O.

The receiver puts each of its items into one of three bins by cuckoo hashing. For each bin the
two sides evaluate a pseudorandom function of which the receiver learns one value, at its item
there, and the sender all values; the sender sends those of its items, each at its three bins
(Kolesnikov, Kumaresan, Rosulek and Trieu 2016, ePrint 2016/799; Pinkas, Schneider and Zohner
2014). Semi-honest security; docs/psi-kkrt.md says what is assumed, and derives the sizes.

    Receiver                                Sender
    RECEIVER_HELLO  settings, nonce, n  →
                                        ←   SENDER_HELLO  settings, nonce, n
    OT_KEY   B                          →
                                        ←   OT_CHOICES  512 pairs of points
    MATRIX   MAC, rows                  →
                                        ←   TAGS  MAC, three tags an item, items shuffled
    FINISH   MAC [, matches [, counts]] →
                                        ←   CLOSE  MAC [, counts]

At least 128 rows beyond the bins hold an element known to both; its values at them key the MACs,
so that sides whose transfers do not fit find out before any tag is compared.
"""

import functools
import hashlib
import secrets

import numpy as np
from numpy.typing import NDArray

from psi import kernels
from psi.errors import DecodeError, ProtocolError, RepeatedElementError
from psi.groups import POINT_BYTES
from psi.kkrt.extension import receive_rows, send_rows
from psi.kkrt.hashing import HASHES, ROW_BYTES, SessionHashes, bins_for, tag_bytes
from psi.kkrt.matching import matching_rows
from psi.kkrt.transfers import CHOICES_BYTES, TRANSFERS, Chooser, KeySide
from psi.messages import FRAME_BYTES, MessageType
from psi.session import MAC_BYTES, Party, expect_shape

__all__ = ["PROTOCOL", "Receiver", "Sender"]

PROTOCOL = "kkrt"
_CONFIRMATIONS = 128
_BATCH = 1 << 16

Bytes = NDArray[np.uint8]


class _KKRTParty(Party):
    """What both roles know: sizes, hashes, and how the keys of the session come about."""

    protocol = PROTOCOL

    @property
    def longest_message(self) -> int:
        """What the other side's next message can measure at most, in bytes."""
        if self._n_peer is None:
            return super().longest_message
        own, peer = len(self._items), self._n_peer
        return FRAME_BYTES + max(
            MAC_BYTES + ROW_BYTES * _rows_for(peer),
            MAC_BYTES + HASHES * tag_bytes(own, peer) * peer,
            MAC_BYTES + own + 4 * min(own, peer),
            CHOICES_BYTES,
        )

    def _begin(self) -> None:
        """What both sides can derive once both hellos are in."""
        self._hashes = SessionHashes(self._identity)
        receiver, sender = len(self._items), self._peer_items()
        if not self.speaks_first:
            receiver, sender = sender, receiver
        self._n_bins, self._n_rows = bins_for(receiver), _rows_for(receiver)
        self._tag_bytes = tag_bytes(receiver, sender)

    def _confirm_with(self, values: Bytes) -> None:
        """Key the MACs by the known element's values, which only the two sides can compute."""
        secret = b"psi kkrt confirmation, " + self._identity + values.tobytes()
        self._mac_key = hashlib.sha256(secret).digest()


class Receiver(_KKRTParty):
    """The side that speaks first and always gets the result."""

    speaks_first = True
    _own_hello, _peer_hello = MessageType.RECEIVER_HELLO, MessageType.SENDER_HELLO
    _key_side: KeySide | None = None
    _own_tags: tuple[Bytes, ...] = ()
    _own_places: tuple[NDArray[np.intp], ...] = ()

    def _forget(self) -> None:
        super()._forget()
        self._key_side = None
        self._own_tags = self._own_places = ()

    def _after_hellos(self) -> bytes:
        self._begin()
        self._key_side = KeySide(self._identity)
        self._expect = self._on_choices
        return self._transcript.seal(MessageType.OT_KEY, 1, self._key_side.public.tobytes())

    def _on_choices(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.OT_CHOICES, data)
        expect_shape(message, TRANSFERS, CHOICES_BYTES)
        assert self._key_side is not None  # noqa: S101 - the hello went before
        points = {self._key_side.public.tobytes()}
        points.update(message.body[at : at + POINT_BYTES].tobytes() for at in _point_places())
        if len(points) != 2 * TRANSFERS + 1:
            raise RepeatedElementError("the other side sent a point twice, or ours back")
        seeds = self._key_side.seeds(message.body)
        self._key_side = None
        rows = self._evaluate(seeds)
        self._expect = self._on_tags
        return self._confirmed(MessageType.MATRIX, self._n_rows, rows.reshape(-1).data)

    def _evaluate(self, seeds: tuple[list[bytes], list[bytes]]) -> Bytes:
        """Place the items, tag each at its bin, key the MACs; returns the rows to send."""
        self._progress("placing own IDs", 0, len(self._items))
        digests = self._hashes.digests(self._items)
        slots = kernels.place(self._hashes.bins(digests, self._n_bins), self._n_bins)
        if slots is None:
            raise ProtocolError("the IDs fit no table of this session: start again")
        taken = np.flatnonzero(slots >= 0)
        # An empty bin holds a random digest, which is no item's but with probability 2^-88.
        placed = np.frombuffer(secrets.token_bytes(16 * self._n_bins), np.uint8).reshape(-1, 16)
        placed = placed.copy()
        placed[taken] = digests[slots[taken] // HASHES]
        confirmation = self._hashes.confirmation_code()

        def codes(start: int, end: int) -> Bytes:
            self._progress("masking own IDs", start, self._n_rows)
            words = self._hashes.codes(placed[start:end])
            beyond = end - start - len(words)
            return np.vstack((words, np.repeat(confirmation, beyond, axis=0))) if beyond else words

        kept, sent = receive_rows(seeds, self._n_rows, codes)
        self._confirm_with(kept[self._n_bins :])
        bins = [taken[slots[taken] % HASHES == index] for index in range(HASHES)]
        self._own_places = tuple(slots[own] // HASHES for own in bins)
        self._own_tags = tuple(
            kernels.tag_rows(
                kept, own.astype(np.uint32), index, self._hashes.row_key, self._tag_bytes
            )
            for index, own in enumerate(bins)
        )
        return sent

    def _on_tags(self, data: bytes) -> bytes:
        before = self._transcript.digest
        message = self._transcript.open(MessageType.TAGS, data)
        width = HASHES * self._tag_bytes
        expect_shape(message, self._peer_items(), MAC_BYTES + width * self._peer_items())
        self._check(before, message)
        self._progress("comparing", 0, len(self._items))
        tags = np.frombuffer(message.body[MAC_BYTES:], np.uint8)
        columns = tags.reshape(-1, HASHES, self._tag_bytes)
        rows, found = [], []
        for index, (own, places) in enumerate(zip(self._own_tags, self._own_places, strict=True)):
            theirs, ours = matching_rows(columns[:, index], own)
            rows.append(theirs)
            found.append(places[ours])
        their_rows, self._found = np.concatenate(rows), np.concatenate(found)
        # By the sender's row: an order that both sides know, and random to all but the sender.
        order = np.argsort(their_rows)
        self._found, their_rows = self._found[order], their_rows[order]
        often = np.bincount(self._found, minlength=1).max()
        if often > 1 or np.any(their_rows[1:] == their_rows[:-1]):
            self._found = None
            raise RepeatedElementError(
                "the other side sent tags of one item twice, or of two as one"
            )
        self._expect = self._on_close
        content = b""
        if self._both:
            matched = np.zeros(self._peer_items(), np.uint8)
            matched[their_rows] = 1
            content = np.packbits(matched, bitorder="little").tobytes() + self._own_counts()
        return self._confirmed(MessageType.FINISH, self._announced, content)


class Sender(_KKRTParty):
    """The side that answers; it gets the result too if the output is "both"."""

    speaks_first = False
    _own_hello, _peer_hello = MessageType.SENDER_HELLO, MessageType.RECEIVER_HELLO
    _seeds: tuple[bytes, ...] = ()
    _choices: Bytes | None = None

    def _forget(self) -> None:
        super()._forget()
        self._seeds, self._choices = (), None

    def _after_hellos(self) -> None:
        self._begin()
        self._expect = self._on_key

    def _on_key(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.OT_KEY, data)
        expect_shape(message, 1, POINT_BYTES)
        chooser = Chooser(self._identity)
        self._seeds = tuple(chooser.seeds(message.body))
        self._choices = np.packbits(chooser.bits, bitorder="little")
        self._expect = self._on_matrix
        return self._transcript.seal(MessageType.OT_CHOICES, TRANSFERS, chooser.choices)

    def _on_matrix(self, data: bytes) -> bytes:
        before = self._transcript.digest
        message = self._transcript.open(MessageType.MATRIX, data)
        expect_shape(message, self._n_rows, MAC_BYTES + ROW_BYTES * self._n_rows)
        assert self._choices is not None  # noqa: S101 - the key went before
        received = np.frombuffer(message.body[MAC_BYTES:], np.uint8).reshape(-1, ROW_BYTES)
        rows = send_rows(list(self._seeds), self._choices, received)
        self._confirm_with(
            rows[self._n_bins :] ^ (self._hashes.confirmation_code() & self._choices)
        )
        self._check(before, message)
        tags = self._tags(rows, self._choices)
        self._seeds, self._choices = (), None
        self._expect = self._on_finish
        return self._confirmed(MessageType.TAGS, len(self._items), tags.reshape(-1).data)

    def _tags(self, rows: Bytes, choices: Bytes) -> Bytes:
        """Three tags of each item, items in a fresh random order."""
        drawn = np.frombuffer(secrets.token_bytes(8 * len(self._items)), np.uint64)
        self._order = np.argsort(drawn, kind="stable")
        tags = np.empty((len(self._items), HASHES, self._tag_bytes), np.uint8)
        digests = self._hashes.digests(self._items)[self._order]
        tag = functools.partial(kernels.tag_rows, rows)
        for start in range(0, len(digests), _BATCH):
            self._progress("tagging own IDs", start, len(digests))
            batch = digests[start : start + _BATCH]
            bins, offsets = self._hashes.bins(batch, self._n_bins), self._hashes.codes(batch)
            offsets &= choices
            for index in range(HASHES):
                own = np.ascontiguousarray(bins[:, index])
                tags[start : start + _BATCH, index] = tag(
                    own, index, self._hashes.row_key, self._tag_bytes, offsets
                )
        return tags

    def _on_finish(self, data: bytes) -> bytes:
        before = self._transcript.digest
        finish = self._transcript.open(MessageType.FINISH, data)
        matches_end = MAC_BYTES + (-(-len(self._items) // 8) if self._both else 0)
        count = min(finish.count, len(self._items), self._peer_items()) if self._both else 0
        expect_shape(finish, count, matches_end + self._counts_length(count))
        self._check(before, finish)
        if self._both:
            packed = np.frombuffer(finish.body[MAC_BYTES:matches_end], np.uint8)
            matched = np.flatnonzero(np.unpackbits(packed, bitorder="little"))
            if len(matched) != count or np.any(matched >= len(self._items)):
                raise DecodeError("the other side marks other matches than it counts")
            self._found = self._order[matched]
            self._take_counts(finish.body[matches_end:])
        close = self._confirmed(MessageType.CLOSE, self._announced, self._own_counts())
        self._end()
        return close


def _rows_for(n_receiver: int) -> int:
    """The bins, at least 128 rows for the known element, and what fills up a multiple of 64."""
    return -(-(bins_for(n_receiver) + _CONFIRMATIONS) // 64) * 64


def _point_places() -> range:
    return range(0, CHOICES_BYTES, POINT_BYTES)
