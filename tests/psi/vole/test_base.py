"""The base: correlated transfers and elements; what a receiver that cheats passes with, and learns.

A tree's four bits of D have 16 values. A difference that is wrong passes with one of them, which
must be guessed; a wrong sum passes with the half that makes the sender not use it.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import psi.vole.base
from psi import DecodeError, KeyConfirmationError
from psi.kernels import blocks
from psi.vole import BaseSender
from psi.vole.base import BaseSizes
from psi.vole.hashing import LinearHash
from tests.psi.vole.dealing import (
    LEVELS,
    SESSION,
    TRANSFERS,
    TREES,
    Bits,
    Blocks,
    Transfers,
    bits_of,
    inverse,
    random_bits,
)

SIZES = BaseSizes(200, 3)
UNIT = np.array([[1, 0], [0, 0]], np.uint64)
SUMS, DIFFERENCES = TREES * LEVELS * 4, 2 * (TREES - 1) * SIZES.blocks  # words of a message


@given(st.integers(1, 700), st.integers(1, 40))
@settings(max_examples=8, deadline=None)
def test_both_sides_have_what_belongs_together(transfers: int, elements: int) -> None:
    sizes = BaseSizes(transfers, elements)
    delta = random_bits(TRANSFERS)
    dealt = Transfers.deal(delta)
    receiver = dealt.receiver(sizes)
    assert len(receiver.message) == sizes.message_bytes
    sender = dealt.sender(sizes, receiver.message)
    assert np.array_equal(bits_of(sender.delta), delta)
    added = np.where(receiver.bits[:, None] == 1, sender.delta, np.uint64(0))
    assert sender.rows.shape == receiver.rows.shape == (transfers, 2)
    assert np.array_equal(sender.rows, receiver.rows ^ added)
    assert len(receiver.elements) == elements
    scaled = blocks.multiply(receiver.elements, sender.delta)
    assert np.array_equal(receiver.products, scaled ^ sender.products)
    told = f"({transfers} transfers, {elements} elements)"
    assert (repr(receiver), repr(sender)) == (f"BaseReceiver{told}", f"BaseSender{told}")


@pytest.mark.parametrize("bit", [0, 1])
def test_a_secret_of_one_bit_s_value(bit: int) -> None:
    dealt = Transfers.deal(np.full(TRANSFERS, bit, np.uint8))
    sender = dealt.sender(SIZES, dealt.receiver(SIZES).message)
    assert bits_of(sender.delta).tolist() == [bit] * TRANSFERS


@pytest.mark.parametrize("change", [lambda m: m[:-1], lambda m: m + bytes(16), lambda m: b""])
def test_a_message_of_another_length(change: Callable[[bytes], bytes]) -> None:
    dealt = Transfers.deal()
    with pytest.raises(DecodeError, match="another number"):
        dealt.sender(SIZES, change(dealt.receiver(SIZES).message))


def test_two_bases_share_nothing() -> None:
    dealt = Transfers.deal()
    made = [dealt.receiver(SIZES).message for _ in range(2)]
    parts = [{one[at : at + 16] for at in range(0, len(one), 16)} for one in made]
    assert parts[0].isdisjoint(parts[1])
    assert len(parts[0]) == SIZES.message_bytes // 16


# -- a receiver that cheats ---------------------------------------------------------------------


@contextmanager
def unchecked() -> Iterator[list[Blocks]]:
    """The fault: no check. Yields the columns that are hashed for it."""
    columns: list[Blocks] = []
    real = psi.vole.base._hashed

    def listening(session: bytes, content: bytes, hashed: Blocks) -> Blocks:
        columns.append(hashed)
        return real(session, content, hashed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psi.vole.base, "_hashed", listening)
        patch.setattr(psi.vole.base, "hmac", SimpleNamespace(compare_digest=lambda a, b: True))
        yield columns


class Cheat:
    """An honest message to change, and claims of hashes that fit what it became.

    Attributes:
        sums: What each side of each level of each tree adds up to, padded.
        differences: Of the other trees' u and the first one's.
        claims: What is said of u's hash, and of those of the columns of t.
    """

    def __init__(self, delta: Bits) -> None:
        self.dealt = Transfers.deal(delta)
        with unchecked() as columns:
            message = self.dealt.receiver(SIZES).message
        (self._columns,) = columns
        words = np.split(np.frombuffer(message, np.uint64).copy(), [SUMS, SUMS + DIFFERENCES])
        self.sums = words[0].reshape(TREES, LEVELS, 2, 2)
        self.differences = words[1].reshape(TREES - 1, SIZES.blocks, 2)
        self.claims = words[2].reshape(1 + TRANSFERS, 2, 2)

    def _content(self) -> bytes:
        return self.sums.tobytes() + self.differences.tobytes()

    def claim(self, tree: int | None = None, guess: Bits | None = None) -> None:
        """Claim the hashes of what is known; of a tree's columns, those that fit a guess of D."""
        hashed = psi.vole.base._hashed(SESSION, self._content(), self._columns)
        self.claims[:] = hashed
        if tree is None or guess is None:
            return
        delta = np.zeros(TRANSFERS, np.uint8)
        own = slice(LEVELS * tree, LEVELS * (tree + 1))
        delta[own] = guess
        imagined = Transfers(self.dealt.seeds, Transfers.deal(delta).choices)
        with unchecked() as columns:
            imagined.sender(SIZES, self._content() + self.claims.tobytes())
        theirs = psi.vole.base._hashed(SESSION, self._content(), columns[0][own])
        self.claims[1:][own] = theirs ^ np.where(guess[:, None, None] == 1, hashed[0], np.uint64(0))

    def send(self) -> BaseSender:
        return self.dealt.sender(SIZES, self._content() + self.claims.tobytes())

    @property
    def passes(self) -> bool:
        try:
            self.send()
        except KeyConfirmationError:
            return False
        return True


def with_bits(tree: int, bits: Bits) -> Bits:
    delta = random_bits(TRANSFERS)
    delta[LEVELS * tree : LEVELS * (tree + 1)] = bits
    return delta


def test_the_harness_lets_honest_messages_through() -> None:
    cheat = Cheat(random_bits(TRANSFERS))
    before = cheat.claims.copy()
    cheat.claim()
    assert np.array_equal(cheat.claims, before)
    cheat.claim(3, random_bits(LEVELS))  # whatever is guessed: an honest tree fits all values
    assert np.array_equal(cheat.claims, before)
    assert cheat.passes


@pytest.mark.parametrize("tree", [1, 7, TREES - 1])
@pytest.mark.parametrize("block", [0, SIZES.blocks - 1])
def test_a_wrong_difference_passes_with_one_value_of_16(tree: int, block: int) -> None:
    value = random_bits(LEVELS)
    cheats = [(value, True), *((value ^ np.eye(LEVELS, dtype=np.uint8)[b], False) for b in (0, 3))]
    for bits, passes in cheats:
        cheat = Cheat(with_bits(tree, bits))
        cheat.differences[tree - 1, block, 0] ^= np.uint64(1 << 5)
        cheat.claim(tree, value)
        assert cheat.passes is passes
    # Without new claims that one value is 0.
    for bits in (np.zeros(LEVELS, np.uint8), np.eye(LEVELS, dtype=np.uint8)[3]):
        cheat = Cheat(with_bits(tree, bits))
        cheat.differences[tree - 1, block, 0] ^= np.uint64(1)
        cheat.claim()
        assert cheat.passes is not bits.any()


@pytest.mark.parametrize("tree", [0, 9])
@pytest.mark.parametrize("level", [0, 2, LEVELS - 1])
def test_a_wrong_sum_passes_with_half_of_the_values_and_tells_a_bit(tree: int, level: int) -> None:
    for side in (0, 1):
        for bit in (0, 1):
            bits = random_bits(LEVELS).copy()
            bits[LEVELS - 1 - level] = bit  # the sender goes to this side and uses the other's sum
            cheat = Cheat(with_bits(tree, bits))
            cheat.sums[tree, level, side] ^= np.uint64(1)
            cheat.claim()
            assert cheat.passes is (bit == side)


def test_a_wrong_sum_that_is_used_passes_with_one_value_of_16() -> None:
    value = np.array([1, 0, 1, 1], np.uint8)
    for changed in range(LEVELS):
        for bits in (value, value ^ np.eye(LEVELS, dtype=np.uint8)[changed]):
            cheat = Cheat(with_bits(4, bits))
            cheat.sums[4, :, :, 0] ^= np.uint64(2)
            cheat.claim(4, value)
            assert cheat.passes is bool(np.all(bits == value))


@pytest.mark.parametrize("place", [0, 1, TRANSFERS])
@pytest.mark.parametrize("number", [0, 1])
def test_a_wrong_claim_never_passes(place: int, number: int) -> None:
    # That of u passes for a D of zeros, as it is compared only where a bit is one.
    cheat = Cheat(np.ones(TRANSFERS, np.uint8))
    cheat.claims[place, number, 1] ^= np.uint64(1 << 63)
    assert not cheat.passes


def test_a_base_of_another_session_does_not_pass() -> None:
    dealt = Transfers.deal()
    message = dealt.receiver(SIZES).message
    chosen = [dealt.seeds[choice][at] for at, choice in enumerate(dealt.choices.tolist())]
    with pytest.raises(KeyConfirmationError, match="does not fit this side's choices"):
        BaseSender(chosen, dealt.choices, SIZES, bytes(32), message)


def test_without_the_check_a_tree_s_bits_of_the_secret_can_be_read() -> None:
    """What an element is off by is those bits: 2^4 tries find them in whatever depends on it."""
    value, tree = np.array([1, 0, 1, 1], np.uint8), 6
    cheat = Cheat(with_bits(tree, value))
    cheat.differences[tree - 1, -3, 0] ^= np.uint64(1)  # of the last element, before the masks
    cheat.claim()
    with unchecked():
        sender = cheat.send()
    own, columns = cheat._columns[0], cheat._columns[1:]
    _, products = psi.vole.base._results(columns, SIZES)
    off = products ^ blocks.multiply(own[-5:-2], sender.delta) ^ sender.products
    assert not off[:2].any()
    assert bits_of(off[2:]).reshape(TREES, LEVELS)[tree].tolist() == value.tolist()
    assert np.count_nonzero(bits_of(off[2:])) == np.count_nonzero(value)
    assert not cheat.passes  # with the check


def vanishing(keys: list[bytes]) -> Blocks:
    """Blocks whose hash is 0 under both keys: the coefficients of (x + h)·(x + h')."""
    points = []
    for key in keys:
        third, second = (LinearHash(key, 2).of(np.roll(UNIT, turn, axis=0)) for turn in (0, 1))
        points.append(blocks.multiply(third, inverse(second)))
    found = np.zeros((SIZES.blocks, 2), np.uint64)
    found[:3] = np.concatenate([UNIT[:1], points[0] ^ points[1], blocks.multiply(*points)])
    return found


@pytest.mark.parametrize("fault", [True, False])
def test_a_difference_for_known_keys_does_not_pass(
    fault: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault: keys that are known before the differences are sent."""
    if fault:
        real = psi.vole.base._hashed
        monkeypatch.setattr(
            psi.vole.base, "_hashed", lambda session, _, own: real(session, b"", own)
        )
    cheat = Cheat(with_bits(5, np.ones(LEVELS, np.uint8)))
    content = b"" if fault else cheat._content()
    drawn = hashlib.shake_256(b"psi vole base check, " + SESSION + content).digest(32)
    cheat.differences[4] ^= vanishing([drawn[:16], drawn[16:]])
    cheat.claim()
    assert cheat.passes is fault
