"""The noise of a chunk: what it is, and what a sender that cheats passes with, and learns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import psi.vole.trees
from psi import DecodeError
from psi.kernels import blocks
from psi.vole.noise import CHECK_BYTES, NoiseReceiver, NoiseSender, noise_bytes
from psi.vole.trees import sums_shape
from tests.psi.vole.dealing import (
    Bits,
    Blocks,
    random_bits,
    random_blocks,
    read_secret,
    unnumbered,
)

LABEL = b"a chunk"
TREES, DEPTH = 6, 4


class Dealt:
    """What a base would have given for one chunk."""

    def __init__(self, trees: int = TREES, depth: int = DEPTH, bits: Bits | None = None) -> None:
        self.trees, self.depth = trees, depth
        self.delta = random_blocks(1)
        self.bits = random_bits(depth, trees) if bits is None else bits
        self.rows = random_blocks(depth, trees)  # the receiver's
        self.elements, self.products = random_blocks(trees + 1), random_blocks(trees + 1)

    def sender(self) -> NoiseSender:
        rows = self.rows ^ np.where(self.bits[..., None] == 1, self.delta, np.uint64(0))
        products = self.products ^ blocks.multiply(self.elements, self.delta)
        return NoiseSender(self.delta, rows, products, LABEL)

    def receiver(self, message: bytes) -> NoiseReceiver:
        return NoiseReceiver(self.bits, self.rows, self.elements, self.products, LABEL, message)

    def holds(self, sender: NoiseSender, receiver: NoiseReceiver) -> bool:
        scaled = blocks.multiply(receiver.noise, self.delta)
        return np.array_equal(receiver.leaves, scaled ^ sender.leaves)

    def end(self, tree: int) -> int:
        """The leaf at the end of a tree's path."""
        return int("".join(str(1 - bit) for bit in self.bits[:, tree].tolist()), 2)


@given(st.integers(1, 12), st.integers(3, 7))
@settings(max_examples=15, deadline=None)
def test_each_block_has_one_element_times_the_secret(trees: int, depth: int) -> None:
    dealt = Dealt(trees, depth)
    sender = dealt.sender()
    assert len(sender.message) == noise_bytes(trees, depth)
    receiver = dealt.receiver(sender.message)
    assert dealt.holds(sender, receiver)
    assert len(receiver.noise) == trees << depth
    ends = [dealt.end(tree) for tree in range(trees)]
    in_blocks = receiver.noise.reshape(trees, 1 << depth, 2)
    assert np.array_equal(in_blocks[np.arange(trees), ends], dealt.elements[:trees])
    assert np.count_nonzero(np.any(receiver.noise, axis=1)) == trees
    assert len(receiver.check) == CHECK_BYTES
    assert sender.proof(receiver.check) == receiver.proof


def test_what_the_receiver_sends_is_hidden_by_an_element_that_serves_nothing_else() -> None:
    dealt = Dealt()
    sender = dealt.sender()
    checks = []
    for _ in range(2):
        dealt.elements = np.vstack([dealt.elements[:TREES], random_blocks(1)])
        checks.append(np.frombuffer(dealt.receiver(sender.message).check, np.uint64))
        checks[-1] = checks[-1] ^ dealt.elements[TREES]
    assert np.array_equal(checks[0], checks[1])


@pytest.mark.parametrize("length", [-1, 1, 16, -noise_bytes(TREES, DEPTH)])
def test_a_message_of_another_length(length: int) -> None:
    dealt = Dealt()
    message = (dealt.sender().message + bytes(16))[: noise_bytes(TREES, DEPTH) + length]
    with pytest.raises(DecodeError, match="another size"):
        dealt.receiver(message)


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_check_of_another_length(length: int) -> None:
    with pytest.raises(DecodeError, match="16 bytes"):
        Dealt().sender().proof(bytes(length))


def test_a_wrong_check_changes_the_proof_by_what_only_the_secret_says() -> None:
    dealt = Dealt()
    sender = dealt.sender()
    receiver = dealt.receiver(sender.message)
    change = random_blocks(1)
    wrong = np.frombuffer(receiver.check, np.uint64) ^ change
    found = np.frombuffer(sender.proof(wrong.tobytes()), np.uint64)
    off = found ^ np.frombuffer(receiver.proof, np.uint64)
    assert np.array_equal(off[None], blocks.multiply(change, dealt.delta))
    assert off.any()


# -- a sender that cheats -----------------------------------------------------------------------


class Changed:
    """A message of which a part is changed, and both sides' views of it."""

    def __init__(self, dealt: Dealt, place: tuple[int, int] | int) -> None:
        """Add something to what is sent of a level of a tree, or to a tree's total."""
        self.dealt, self.sender = dealt, dealt.sender()
        shape = sums_shape(dealt.trees, dealt.depth)
        words = np.frombuffer(self.sender.message, np.uint64).copy()
        self.error = random_blocks(1)
        sums, totals = np.split(words, [int(np.prod(shape))])
        changed = totals.reshape(-1, 2) if isinstance(place, int) else sums.reshape(shape)
        changed[place] ^= self.error[0]
        self.message = sums.tobytes() + totals.tobytes()
        self.receiver = dealt.receiver(self.message)
        # The sender knows what it sent.
        self.hash = psi.vole.noise._hash_for(LABEL, self.message, len(self.sender.leaves))
        self.sender._hash = self.hash

    @property
    def passes(self) -> bool:
        return self.sender.proof(self.receiver.check) == self.receiver.proof

    def proof_if(self, errors: dict[int, Blocks]) -> bytes:
        """What the sender shows if it guesses that the receiver's leaves are off by this."""
        off = np.zeros_like(self.sender.leaves)
        for place, error in errors.items():
            off[place] ^= error[0]
        honest = np.frombuffer(self.sender.proof(self.receiver.check), np.uint64)
        return (honest ^ self.hash.of(off)).tobytes()

    @property
    def holds(self) -> bool:
        return self.dealt.holds(self.sender, self.receiver)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("bit", [0, 1])
def test_a_wrong_last_sum_passes_with_probability_a_half_and_tells_a_bit(
    side: int, bit: int
) -> None:
    bits = random_bits(DEPTH, TREES).copy()
    bits[-1, 2] = bit
    changed = Changed(Dealt(bits=bits), (DEPTH - 1 + side, 2))
    assert changed.passes is (bit != side)  # the receiver uses the sum of the side of its bit
    # Without the check the session would go on, and whether its results are right tells the bit.
    assert changed.holds is (bit != side)


@pytest.mark.parametrize("level", range(DEPTH - 1))
def test_other_wrong_sums_are_always_used(level: int) -> None:
    for _ in range(4):
        changed = Changed(Dealt(), (level, 1))
        assert not changed.passes
        assert not changed.holds


def test_a_wrong_total_passes_with_a_guess_of_the_whole_path() -> None:
    dealt = Dealt()
    changed = Changed(dealt, 3)
    assert not changed.passes
    first = 3 << DEPTH
    passing = [
        place
        for place in range(1 << DEPTH)
        if changed.proof_if({first + place: changed.error}) == changed.receiver.proof
    ]
    assert passing == [dealt.end(3)]


def test_a_guess_of_all_that_a_wrong_sum_changes_passes_with_one_path() -> None:
    bits = random_bits(DEPTH, TREES).copy()
    bits[-1, 0] = 0
    dealt = Dealt(bits=bits)
    changed = Changed(dealt, (DEPTH - 1, 0))
    passing = [
        pair
        for pair in range(1 << DEPTH - 1)
        if changed.proof_if({2 * pair: changed.error, 2 * pair + 1: changed.error})
        == changed.receiver.proof
    ]
    assert passing == [dealt.end(0) // 2]


def test_wrong_trees_of_another_secret_do_not_pass() -> None:
    dealt = Dealt()
    other = Dealt(bits=dealt.bits)
    other.rows, other.elements, other.products = dealt.rows, dealt.elements, dealt.products
    sender = other.sender()
    receiver = dealt.receiver(sender.message)
    assert other.holds(sender, receiver)  # consistent, but not what the base has
    rows = dealt.rows ^ np.where(dealt.bits[..., None] == 1, dealt.delta, np.uint64(0))
    products = dealt.products ^ blocks.multiply(dealt.elements, dealt.delta)
    mixed = NoiseSender(other.delta, rows, products, LABEL)
    assert mixed.proof(dealt.receiver(mixed.message).check) != dealt.receiver(mixed.message).proof


def test_the_point_of_the_hash_is_not_known_before_the_trees_are_sent() -> None:
    points = {
        psi.vole.noise._hash_for(label, message, 1).of(random[None]).tobytes()
        for random in random_blocks(1)
        for label in (b"one", b"two")
        for message in (b"trees", b"others")
    }
    assert len(points) == 4


# -- a receiver that cheats ---------------------------------------------------------------------


@pytest.mark.parametrize("fault", [True, False])
def test_a_receiver_that_draws_equal_rows_does_not_read_the_secret(
    fault: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault:
        monkeypatch.setattr(psi.vole.trees, "_pads", unnumbered)
    dealt = Dealt()
    dealt.rows = dealt.rows.copy()
    dealt.rows[-1, 1] = dealt.rows[-1, 0]
    sender = dealt.sender()
    receiver = dealt.receiver(sender.message)
    assert sender.proof(receiver.check) == receiver.proof  # nobody can notice it
    found = read_secret(receiver, dealt.bits, sender.message)
    assert np.array_equal(found, dealt.delta) is fault
