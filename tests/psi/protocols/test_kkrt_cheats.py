"""What the warning says of kkrt is true: one side's cheat and the other's both work on it.

They are the reason why auto never takes it and why it takes no limit. Whoever mends the protocol
sees these tests fail.
"""

import secrets
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

import psi.protocols.transfers
from psi import kernels
from psi.protocols.kkrt import Receiver, Sender
from psi.protocols.kkrt.extension import receive_rows
from tests.psi.peers import HEADER_BYTES, MAC_BYTES, SEAL_BYTES, run, sent

Bytes = NDArray[np.uint8]

NUMBERS = [b"+49 30 %07d" % number for number in range(3000)]
SETS = np.random.default_rng(3).permutation(len(NUMBERS))
THEIRS = [NUMBERS[place] for place in SETS[:1000]]


class CheatingReceiver(Receiver):
    """Announces the few IDs that it knows the sender to have, and takes all of the sender's set.

    Instead of an item's code word it puts one that differs in eight places of the 512. What the
    sender then adds to the row of that item is the sender's secret in those places: 2^8 tries find
    it by the tag. (By 2^16 tries a place, 11 items at three bins each are enough.)
    """

    def _evaluate(self, own: object, digests: Bytes) -> Bytes:
        assert self._columns is not None
        bins = self._hashes.bins(digests, self._layout.bins).T
        codes = np.repeat(self._hashes.confirmation_code(), self._layout.rows, axis=0)
        self.planted: dict[int, tuple[int, int]] = {}  # bin: hash index and byte of the secret
        for (index, item), place in np.ndenumerate(bins):
            if int(place) not in self.planted and len(self.planted) < 64:
                byte = len(self.planted)
                self.planted[int(place)] = index, byte
                codes[place] = self._hashes.codes(digests[[item]])[0]
                codes[place, byte] ^= 0xFF
        self.codes = codes
        self.kept, sent = receive_rows(
            self._columns, self._layout.rows, lambda start, end: codes[start:end]
        )
        self._confirm_with(self.kept[self._layout.bins :])
        return sent

    def _on_tags(self, data: bytes) -> bytes:
        width = self._layout.tag_bytes
        body = np.frombuffer(data[HEADER_BYTES + MAC_BYTES : -SEAL_BYTES], np.uint8)
        self.tags = {tag.tobytes() for tag in body.reshape(-1, width)}
        return b"nothing is sent any more"

    def secret(self) -> Bytes:
        """The sender's 512 choices."""
        found = np.zeros(64, np.uint8)
        for place, (_, byte) in self.planted.items():
            offsets = np.zeros((256, 64), np.uint8)
            offsets[:, byte] = np.arange(256)
            tags = self._tagged(self.kept, np.full(256, place, np.uint32), offsets)
            (found[byte],) = [guess for guess, tag in enumerate(tags) if tag in self.tags]
        return found

    def has(self, guesses: list[bytes]) -> list[bool]:
        """Which of any IDs the sender has, without asking it."""
        secret = self.secret()
        rows = self.kept ^ (self.codes & secret)  # the sender's own
        (digests,) = self._hashes.digests(guesses)
        bins = self._hashes.bins(digests, self._layout.bins)
        tags = self._tagged(rows, bins.ravel(), self._hashes.codes(digests) & secret)
        return [tag in self.tags for tag in tags[::3]]

    def _tagged(self, rows: Bytes, bins: NDArray[np.uint32], offsets: Bytes) -> list[bytes]:
        layout, key = self._layout, self._hashes.row_key(0)
        tags = kernels.tag_rows(rows, bins, layout.bins // 3, key, layout.tag_bytes, offsets)
        return [tag.tobytes() for tag in tags]


def test_a_receiver_that_cheats_takes_the_whole_set() -> None:
    cheat, sender = CheatingReceiver(THEIRS[:30]), Sender(THEIRS)
    key = cheat.receive(sent(sender.receive(sent(cheat.start()))))
    matrix = cheat.receive(sent(sender.receive(sent(key))))
    cheat.receive(sent(sender.receive(sent(matrix))))
    assert sender._expect == sender._on_finish  # noqa: SLF001  (it noticed nothing)
    found = {one for one, there in zip(NUMBERS, cheat.has(NUMBERS), strict=True) if there}
    assert found == set(THEIRS)  # a thousand, of thirty that were announced


class CheatingSender(Sender):
    """Has no items; makes every item of the receiver match, and learns where they lie.

    With a secret of three bits a row of the receiver is one of 2^3 that the sender can compute,
    whatever item is in it. So it tags them all: which of them match tells which bins are taken,
    and three bits of the code word of the item in each.
    """

    SECRET = np.packbits([1, 1, 1] + [0] * 509, bitorder="little")
    BINS = 4098

    def _tags(self, own: object, own_digests: object, rows: Bytes, choices: Bytes) -> Bytes:
        assert np.array_equal(choices, self.SECRET)
        layout, key = self._layout, self._hashes.row_key(0)
        third, width = layout.bins // 3, layout.tag_bytes
        bins, bits = np.divmod(np.arange(8 * layout.bins), 8)
        offsets = np.zeros((len(bins), 64), np.uint8)
        offsets[:, 0] = bits
        tags = np.frombuffer(secrets.token_bytes(len(bins) * 3 * width), np.uint8)
        tags = tags.reshape(-1, 3, width).copy()  # a row that matched two items would be noticed
        tags[np.arange(len(bins)), bins // third] = kernels.tag_rows(
            rows, bins.astype(np.uint32), third, key, width, offsets
        )
        self._orders.append(np.arange(len(bins)))
        return tags

    def may_have(self, candidates: list[bytes]) -> set[bytes]:
        """Those that lie in a bin that is taken by an item with the same three bits."""
        (digests,) = self._hashes.digests(candidates)
        rows = 8 * self._hashes.bins(digests, self._layout.bins).astype(np.intp)
        rows += (self._hashes.codes(digests)[:, :1] & 7).astype(np.intp)
        taken = np.asarray(np.isin(rows, self.matches).any(axis=1))
        return {one for one, there in zip(candidates, taken, strict=True) if there}


def chosen_first(chosen: list[bytes]) -> Callable[[int], bytes]:
    """A source of random bytes that is not random at first."""
    return lambda n: chosen.pop() if chosen else secrets.token_bytes(n)


def test_a_sender_that_cheats_finds_the_set_and_is_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    anything = [b"%d" % number for number in range(8 * CheatingSender.BINS)]
    left = set(NUMBERS)
    for _ in range(3):
        drawn = SimpleNamespace(token_bytes=chosen_first([CheatingSender.SECRET.tobytes()]))
        monkeypatch.setattr(psi.protocols.transfers, "secrets", drawn)
        receiver, cheat = Receiver(THEIRS), CheatingSender(anything)
        run(receiver, cheat)
        assert sorted(receiver.matches.tolist()) == list(range(1000))  # it has none of them
        left &= cheat.may_have(NUMBERS)
    assert left >= set(THEIRS)
    assert len(left) < 1050  # of three thousand
