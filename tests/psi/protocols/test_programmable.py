"""The garbled Bloom filter: values in, values out, noise elsewhere, and how rarely it fails."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psi.protocols.kmprt.programmable import entries, look_up, program

MANY = [struct.pack(">H", value) for value in range(300)]


@given(st.sets(st.binary(max_size=3), max_size=60), st.integers(1, 16))
@settings(max_examples=30, deadline=None)
def test_a_table_gives_each_input_its_value(inputs: set[bytes], width: int) -> None:
    ordered = sorted(inputs)
    values = np.random.default_rng(1).integers(0, 256, (len(ordered), width), np.uint8)
    salt, table = program(ordered, values)
    assert table.shape == (entries(len(ordered)), width)
    assert np.array_equal(look_up(salt, table, ordered, len(ordered)), values)


def test_other_inputs_get_noise() -> None:
    values = np.zeros((200, 8), np.uint8)  # the worst values: all alike
    salt, table = program(MANY[:200], values)
    others = look_up(salt, table, MANY[200:], 200)
    assert len(np.unique(others, axis=0)) == 100
    assert others.any(axis=1).all()


@pytest.mark.parametrize("count", [1, 10, 1000, 1 << 20])
def test_a_table_fails_with_at_most_2_to_the_minus_40(count: int) -> None:
    places = 40 + count.bit_length()
    taken = 1 - np.exp(-places * count / entries(count))  # the share of entries at the end
    assert count * taken**places <= 2**-40
