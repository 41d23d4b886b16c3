"""The homomorphic tags against their definition in Python's integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed.keys import SecretKey
from privfed.secagg.tags import _COLUMNS, _PRIME, Tags, _hash, _secrets

KEY = SecretKey(bytes(range(32)), bytes(32))
NAME = b"round and part"


def by_definition(values: np.ndarray) -> list[int]:
    """r^T v c for each of the four hashes, row by row, with Python's integers."""
    rows = -(-(len(values) + 1) // _COLUMNS)
    columns, r = _secrets(KEY.derive(b"tag/" + NAME, 32), rows)
    hashes = []
    for place in range(4):
        total = 0
        for index, value in enumerate(values.tolist()):
            row, column = divmod(index, _COLUMNS)
            total += r[row][place] * value * int(columns[column, place])
        hashes.append(total % _PRIME)
    return hashes


@given(
    bits=st.sampled_from([6, 8, 16, 24, 32]),
    clients=st.sampled_from([1, 2, 10, 16, 17, 1000]),
    size=st.sampled_from([1, 30, 4095, 4096, 4097, 8191, 9000]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_hashes_are_exact_for_the_largest_sums(
    bits: int, clients: int, size: int, seed: int
) -> None:
    top = (2 ** (bits - 1) - 1) * clients
    values = np.random.default_rng(seed).integers(-top, top, size, endpoint=True)
    values[: size // 2] = top if seed % 2 else -top
    tags = Tags(bits, top)
    secrets = tags.secrets(KEY, NAME, size, ())
    assert _hash(secrets, values, tags._limbs) == by_definition(values)
    values[0] = np.iinfo(np.int64).min  # one party's integers may be any
    assert _hash(secrets, values, 4) == by_definition(values)


@pytest.mark.parametrize(("bits", "clients"), [(6, 3), (16, 10), (32, 1000)])
def test_tags_of_parties_add_up_to_the_tag_of_the_sum(bits: int, clients: int) -> None:
    limit = 2 ** (bits - 1) - 1
    tags = Tags(bits, limit * clients)
    rng = np.random.default_rng(0)
    parts = rng.integers(-limit, limit, (clients, 5000), endpoint=True)
    secrets = tags.secrets(KEY, NAME, 5000, range(clients + 1))
    each = [tags.integers(secrets, place, part) for place, part in enumerate(parts)]
    summed = np.sum(each, axis=0)
    assert len(summed) == tags.count
    assert summed.min() >= 0
    assert max(tags.integers(secrets, 0, parts[0])) <= limit
    total, everybody = parts.sum(axis=0), range(clients)
    assert tags.verify(secrets, everybody, total, summed)
    for place in (0, 4095, 4096, 4999):
        for change in (1, -1, 2**20, -(2**20) + 1):
            changed = total.copy()
            changed[place] += change
            assert not tags.verify(secrets, everybody, changed, summed)
    swapped = total.copy()
    swapped[[1, 2]] = total[[2, 1]]
    assert not tags.verify(secrets, everybody, swapped, summed)
    for others in (range(1, clients), range(1, clients + 1)):
        assert not tags.verify(secrets, others, total, summed)
    for factor in (2, -1, 0):
        assert not tags.verify(secrets, everybody, factor * total, factor * summed)
    another = tags.secrets(KEY, b"another round", 5000, everybody)
    stranger = tags.secrets(SecretKey(bytes(32), bytes(32)), NAME, 5000, everybody)
    assert not tags.verify(another, everybody, total, summed)
    assert not tags.verify(stranger, everybody, total, summed)
    for place in range(tags.count):
        wrong = summed.copy()
        wrong[place] += 1
        assert not tags.verify(secrets, everybody, total, wrong)
