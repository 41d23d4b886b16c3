"""Bytes of the other side are measured, then read, or refused by name."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed.errors import DecodeError
from privfed.he.ring import (
    Answers,
    Ciphertexts,
    Plaintexts,
    Products,
    PublicKey,
    RingKey,
    wire,
)
from tests.he.ring.integers import SMALL, packed

KEY = RingKey.generate(SMALL)
FRESH = KEY.encrypt(np.arange(2 * SMALL.degree, dtype=np.uint64).reshape(2, -1), 3)
POSITIONS = [3, 5, 8]
ANSWERS = KEY.public.answer(
    Products(Plaintexts.encode(np.ones((2, 2, SMALL.degree), np.int64), 3, ring=SMALL), FRESH),
    np.zeros((2, len(POSITIONS)), np.uint64),
    40,
    kept_primes=2,
    positions=POSITIONS,
)


def read_key(data: bytes) -> PublicKey:
    return PublicKey.from_bytes(data, ring=SMALL)


def read_fresh(data: bytes) -> Ciphertexts:
    return Ciphertexts.from_bytes(data, 2, 3, ring=SMALL)


def read_answers(data: bytes) -> Answers:
    return Answers.from_bytes(data, 2, primes=3, kept_primes=2, positions=POSITIONS, ring=SMALL)


Read = Callable[[bytes], PublicKey | Ciphertexts | Answers]
EVERY: list[tuple[bytes, Read]] = [
    (KEY.public.to_bytes(), read_key),
    (FRESH.to_bytes(), read_fresh),
    (ANSWERS.to_bytes(), read_answers),
]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 70), st.integers(0, 2**32))
def test_residues_travel_as_they_are(primes: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = np.array([rng.integers(0, p, count) for p in SMALL.primes[:primes]], float)
    words[:, -1] = np.array(SMALL.primes[:primes]) - 1
    out = np.empty(wire.size_bytes(primes, count), np.uint8)
    wire.pack(words, out)
    assert out.tobytes() == packed(words)
    read = np.empty_like(words)
    wire.unpack(out, SMALL, read)
    assert np.array_equal(read, words)


@pytest.mark.parametrize(("good", "read"), EVERY)
def test_every_length_but_one_is_refused(good: bytes, read: Read) -> None:
    assert read(good).to_bytes() == good
    for bad in (b"", good[:-1], good + b"\0", good[:32], good * 2):
        with pytest.raises(DecodeError, match="bytes were expected"):
            read(bad)


@pytest.mark.parametrize(("good", "read"), EVERY)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_bytes_are_read_or_refused(good: bytes, read: Read, data: st.DataObject) -> None:
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        bad[data.draw(st.integers(0, len(bad) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        whole = read(bytes(bad)).to_bytes()
    except DecodeError:
        return
    assert whole == bytes(bad)


@pytest.mark.parametrize(("good", "read", "halves"), [
    (bytes(32), read_fresh, [(2, 3, 64)]),
    (b"", read_answers, [(2, 3), (2, 64)] * 2),
])  # fmt: skip
def test_each_residue_is_below_its_prime(
    good: bytes, read: Read, halves: list[tuple[int, ...]]
) -> None:
    """At the first and the last place of each polynomial: p - 1 is read, p is refused."""
    whole = [np.zeros(shape) for shape in halves]
    for index, shape in enumerate(halves):
        for row in range(int(np.prod(shape[:-1]))):
            prime = SMALL.primes[row % shape[-2]]
            for place in (0, shape[-1] - 1):
                for number in (prime - 1, prime):
                    pieces = [piece.copy() for piece in whole]
                    pieces[index].reshape(-1, shape[-1])[row, place] = number
                    data = good + b"".join(packed(piece) for piece in pieces)
                    if number < prime:
                        assert read(data).to_bytes() == data
                    else:
                        with pytest.raises(DecodeError, match="not below its prime"):
                            read(data)
