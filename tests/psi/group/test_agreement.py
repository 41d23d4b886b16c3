"""Messages that are uniform strings: what they are mapped to, by whom, and how they are spread."""

import math
import os
from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psi.group import ristretto255 as groups
from psi.group.agreement import draw_messages, elements_of
from psi.group.preimages import SLOTS, preimage
from psi.group.ristretto255 import (
    Points,
    Scalar,
    map_to_group,
    multiply,
    multiply_base,
    multiply_base_each,
    multiply_each,
    preimages,
)
from psi.kernels import fast_available

P = 2**255 - 19
EDGES = [1, 2, 4, P - 1, P - 2, (P - 1) // 2, (P + 1) // 2, 2**254, 19, 2**128]


def compiled() -> bool:
    """Whether points go through the compiled group, where there are enough."""
    return fast_available() and import_module("psi.compiled.ristretto_code").KIND is not None


def string(number: int) -> Points:
    return np.frombuffer(number.to_bytes(32, "little"), np.uint8).reshape(1, 32)


def even(number: int) -> int:
    number %= P
    return P - number if number & 1 else number


def all_preimages(point: bytes) -> list[int]:
    found = (preimage(point, slot) for slot in range(SLOTS))
    return [number for number in found if number is not None]


@given(st.integers(1, P - 1) | st.sampled_from(EDGES))
@settings(max_examples=60, deadline=None)
def test_each_string_is_in_one_slot_of_what_it_is_mapped_to(number: int) -> None:
    point = map_to_group(string(number)).tobytes()
    found = all_preimages(point)
    assert found.count(even(number)) == 1
    assert len(set(found)) == len(found)
    for other in found:
        for same in (other, P - other, other | 1 << 255):  # the last bit does not count
            assert map_to_group(string(same)).tobytes() == point


def test_half_of_all_slots_have_a_string() -> None:
    # 800 slots: for sound code the mean is off by more with probability below 10^-9 (Hoeffding).
    points = groups.hash_to_group([bytes([number]) for number in range(100)], b"slots")
    share = np.mean([len(all_preimages(point.tobytes())) for point in points]) / SLOTS
    assert abs(share - 0.5) < math.sqrt(math.log(2e9) / 1600)


def test_the_compiled_map_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    points = groups.hash_to_group([b"%d" % number for number in range(90)], b"slots")
    slots = np.arange(90, dtype=np.uint8) % SLOTS
    portable = preimages(points, slots)
    monkeypatch.setattr(groups, "FAST_FROM", 1)
    if not compiled():
        pytest.skip("the processor or numba is lacking")
    strings, found = preimages(points, slots)
    assert np.array_equal(found, portable[1])
    assert 20 < found.sum() < 70
    assert np.array_equal(strings[found], portable[0][found])


@pytest.mark.parametrize("fast_from", [1, 1 << 30])
@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_both_sides_agree(monkeypatch: pytest.MonkeyPatch, fast_from: int, count: int) -> None:
    monkeypatch.setattr(groups, "FAST_FROM", fast_from)
    scalars, messages = draw_messages(count)
    assert scalars.shape == messages.shape == (count, 32)
    elements = elements_of(messages)
    assert np.array_equal(elements, multiply_base_each(scalars))
    secret = Scalar.random()
    public = np.broadcast_to(multiply_base([secret]), (count, 32))
    assert np.array_equal(multiply(secret, elements), multiply_each(scalars, public))
    assert len(np.unique(messages, axis=0)) == count


def test_strings_of_the_identity_are_not_refused() -> None:
    assert not map_to_group(np.zeros((1, 32), np.uint8)).any()
    elements = elements_of(np.zeros((2, 32), np.uint8))
    assert np.array_equal(elements, multiply_base_each(np.vstack([string(1)] * 2)))


def drawn_from_the_first_slot(count: int) -> tuple[Points, Points]:
    """A planted fault: a scalar is never drawn again, as long as any slot has a string."""
    scalars = np.frombuffer(os.urandom(32 * count), np.uint8).reshape(count, 32).copy()
    scalars[:, -1] &= 0x0F
    points = multiply_base_each(scalars)
    messages = np.zeros((count, 32), np.uint8)
    for slot in range(SLOTS):
        missing = ~messages.any(axis=1)
        if missing.any():
            strings, found = preimages(points[missing], np.full(missing.sum(), slot, np.uint8))
            messages[np.flatnonzero(missing)[found]] = strings[found]
    return scalars, messages


@pytest.mark.parametrize("draw", [draw_messages, drawn_from_the_first_slot])
def test_messages_are_spread_like_uniform_strings(
    monkeypatch: pytest.MonkeyPatch, draw: Callable[[int], tuple[Points, Points]]
) -> None:
    # An element with more strings is as much more often the element of a uniform string. Elements
    # have 4 strings in eight slots on average, those of uniform strings 4.5. Both assertions below
    # fail for sound code with probability below 10^-9 (Hoeffding, with 1..8 strings; chi-square).
    monkeypatch.setattr(groups, "FAST_FROM", 1)
    count = 4000 if compiled() else 60
    _, messages = draw(count)
    points = elements_of(messages)
    strings = sum(preimages(points, np.full(count, slot, np.uint8))[1] for slot in range(SLOTS))
    like = abs(np.mean(strings) - 4.5) < 7 * math.sqrt(math.log(2e9) / (2 * count))
    counts = np.bincount(messages[:, 0], minlength=256)
    spread = ((counts - count / 256) ** 2 / (count / 256)).sum()
    like &= spread < 255 + 2 * math.sqrt(21 * 255) + 42
    bits = np.unpackbits(messages, axis=1, bitorder="little").mean(axis=0)
    like &= bool(np.all(abs(bits - 0.5) < math.sqrt(math.log(1e12) / (2 * count))))
    assert like == (draw is draw_messages)
