"""Sorted tags against Python's own sets and sorting, zero bytes among them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psi.errors import DecodeError
from psi.protocols.elements import TAG_BYTES, ascending, pieces, rows_of, shared

# Few values of each byte, so that tags are often the same, and often differ in a zero alone.
bytes_ = st.sampled_from([0, 1, 255])
tags = st.lists(
    st.tuples(bytes_, bytes_, bytes_).map(lambda some: bytes([*some[:2], *[0] * 13, some[2]])),
    max_size=12,
)


@given(tags)
def test_only_ascending_tags_are_taken(some: list[bytes]) -> None:
    if some == sorted(set(some)):
        assert rows_of(ascending(b"".join(some)).tobytes(), TAG_BYTES) == some
        return
    with pytest.raises(DecodeError, match="do not ascend"):
        ascending(b"".join(some))


@given(tags, tags)
def test_shared_tags_are_those_of_sets_in_the_order_of_tags(
    own: list[bytes], theirs: list[bytes]
) -> None:
    mine = [*dict.fromkeys(own)]  # each once, in any order
    outputs = [one + b"the rest" for one in mine]
    found = shared(outputs, ascending(b"".join(sorted(set(theirs)))))
    assert [mine[row] for row in found] == sorted(set(own) & set(theirs))


@pytest.mark.parametrize("count", [0, 1, 8191, 8192, 20_000, 100_001])
def test_pieces_cover_all_and_are_large(count: int) -> None:
    cut = pieces(count)
    places = [np.arange(count)[piece] for piece in cut]
    assert np.array_equal(np.concatenate([np.empty(0, int), *places]), np.arange(count))
    assert all(len(one) >= min(count, 8192) for one in places)
