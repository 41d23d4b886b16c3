"""The linear hash against its definition in Python's integers, and what it must refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed.he import MODULUS, RING_DEGREE, Words, rlwe
from privfed.keys import SecretKey
from privfed.secagg.linear_hash import (
    LINEAR_HASH_BYTES,
    HashSecrets,
    _hash,
    _secrets,
    authentic,
    hidden_hash,
)

KEY = SecretKey(bytes(range(32)), bytes(32))
NAME = b"round and part"
SECRETS = HashSecrets.of(KEY, NAME, 20)
TOP = MODULUS - 1


def by_definition(parts: list[Words]) -> list[int]:
    """The docstring's formula, word by word."""
    rows = [
        row
        for words in parts
        for row in np.split(words, range(RING_DEGREE, len(words), RING_DEGREE))
    ]
    limbs, rho = _secrets(KEY.derive(b"sum hash/" + NAME, 32), len(rows))
    gamma = [
        [sum(int(row[2 * limb + place]) << (20 * limb) for limb in range(3)) for row in limbs]
        for place in range(2)
    ]
    return [
        sum(
            rho[at][place] * sum(g * w for g, w in zip(gamma[place], row.tolist(), strict=False))
            for at, row in enumerate(rows)
        )
        % MODULUS
        for place in range(2)
    ]


@given(
    sizes=st.lists(
        st.sampled_from([1, 30, 4095, 4096, 4097, 8 * 4096, 9 * 4096 + 5]), min_size=1, max_size=2
    ),
    kind=st.sampled_from(["random", "largest"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=15, deadline=None)
def test_it_is_exact(sizes: list[int], kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = [rng.integers(0, MODULUS, size, np.uint64) for size in sizes]
    if kind == "largest":  # every product and sum of limbs at its largest
        words = [np.full(size, TOP, np.uint64) for size in sizes]
    assert _hash(SECRETS, words) == by_definition(words)


def test_the_largest_inner_sums_are_exact_in_double_precision() -> None:
    """20 bits times 20 bits times 4096 columns: below 2^53, where doubles end to be exact."""
    assert RING_DEGREE * (2**20 - 1) ** 2 < 2**53


def test_numbers_of_the_hash_are_below_q_and_spread() -> None:
    limbs, rho = _secrets(bytes(32), 5000)
    gamma = sum(limbs[:, 2 * place].astype(object) * 2 ** (20 * place) for place in range(3))
    for numbers in (gamma, [row[0] for row in rho], [row[1] for row in rho]):
        assert max(numbers) < MODULUS
        share = np.array(numbers, float) / MODULUS
        assert abs(share.mean() - 0.5) < 6 / np.sqrt(12 * len(share))  # six deviations


@pytest.mark.parametrize("clients", [1, 3, 70])
def test_hashes_of_parties_fit_the_sum_of_just_these_parties(clients: int) -> None:
    rng = np.random.default_rng(clients)
    each = [
        [rng.integers(0, MODULUS, size, np.uint64) for size in (4096, 700)] for _ in range(clients)
    ]
    each[0][0][:] = TOP
    total = [np.zeros(size, np.uint64) for size in (4096, 700)]
    for words in each:
        for summed, more in zip(total, words, strict=True):
            summed += more
            rlwe.reduce(summed)
    names = [b"party %d" % place for place in range(clients)]
    signed = [(name, hidden_hash(SECRETS, name, w)) for name, w in zip(names, each, strict=True)]
    assert all(len(hidden) == LINEAR_HASH_BYTES for _, hidden in signed)
    assert authentic(SECRETS, signed, total)
    assert authentic(SECRETS, signed[::-1], total)

    for part, place in ((0, 0), (0, 4095), (1, 0), (1, 699)):
        for change in (1, 2**40, TOP):
            changed = [words.copy() for words in total]
            changed[part][place] = (int(changed[part][place]) + change) % MODULUS
            assert not authentic(SECRETS, signed, changed)
    for factor in (0, 2, TOP):
        multiple = [
            np.array([int(w) * factor % MODULUS for w in words], np.uint64) for words in total
        ]
        assert not authentic(SECRETS, signed, multiple)
    other = (b"another", signed[0][1])
    for wrong in (signed[1:], [*signed, signed[0]], [other, *signed[1:]]):
        assert not authentic(SECRETS, wrong, total)
    assert not authentic(HashSecrets.of(KEY, b"another round", 20), signed, total)
    assert not authentic(HashSecrets.of(SecretKey(bytes(32), bytes(32)), NAME, 20), signed, total)
    for place in range(LINEAR_HASH_BYTES):  # each of both hashes counts
        hidden = bytearray(signed[0][1])
        hidden[place] ^= 1
        assert not authentic(SECRETS, [(names[0], bytes(hidden)), *signed[1:]], total)


def test_a_pad_is_one_messages_alone() -> None:
    """What two hidden hashes of one party differ by is not what its words differ by."""
    words = [np.arange(100, dtype=np.uint64)]
    first, second = (
        np.frombuffer(hidden_hash(SECRETS, name, words), "<u8").tolist() for name in (b"a", b"b")
    )
    assert all(one != other for one, other in zip(first, second, strict=True))
    bare = _hash(SECRETS, words)
    assert all(one != other for one, other in zip(first, bare, strict=True))
