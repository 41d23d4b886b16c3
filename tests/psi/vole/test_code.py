"""What the argument for the code assumes of it, and the attacks that break it without its parts."""

import random
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from psi.kernels import blocks_portable
from psi.kernels.code_draws import FACTORED_FROM, CodeDraws
from psi.vole.security import least_weight, span_bits
from tests.psi.plain import product
from tests.psi.vole.codes import BELOW, SEGMENTS, Code, inverses, span, vanishing

BLOCKS, BLOCK_LEAVES, BEFORE = 60, 32, 24

generator = random.Random  # noqa: S311  (a code is public, and this noise hides nothing)


@cache
def drawn(*, scaled: bool = True, factored: bool = True) -> Code:
    return Code.drawn(generator(1), BLOCKS, BLOCK_LEAVES, scaled=scaled, factored=factored)


def columns(code: Code, segments: slice, after: int = 0) -> list[int]:
    """For each row of the code the rows of the second half that it adds, as bits."""
    return [sum(1 << j for j in row[segments] if j >= after) for row in code.indices]


def scales_of(code: Code, part: slice) -> list[int]:
    """What makes that part's columns zeros and ones."""
    return [1] * code.rows if part.start is None else inverses(code.factors)


@cache
def free_words() -> list[list[int]]:
    """Sets of rows that add nothing of the second half after the first leaves of its first block.

    Gaussian elimination over {0, 1}: a row has a single one in each of 21 segments, so that some
    20 sets more are found than the leaves that are left out. Taps and indices are the same for all
    codes here.
    """
    return vanishing(columns(drawn(), slice(None), BEFORE))


def ranks(code: Code, draw: random.Random) -> tuple[int, int]:
    """Of the outputs, and of their sums over those sets, for noise that spares the first leaves."""
    out = code.encode(code.noise(draw, free=BEFORE))
    sums = []
    for chosen in free_words():
        total = 0
        for i in chosen:
            total ^= out[i]
        sums.append(total)
    return span(out), span(sums)


def test_zeros_and_ones_alone_leave_the_span_of_the_noise() -> None:
    assert ranks(drawn(scaled=False, factored=False), generator(2)) == (BLOCKS, BLOCKS // 2)


def test_a_diagonal_alone_is_broken_by_sums_that_miss_the_second_half() -> None:
    # A fourth of the sessions has such noise. Random elements have this rank once in 2^420.
    assert len(free_words()) >= BEFORE + SEGMENTS - 2
    assert ranks(drawn(factored=False), generator(3)) == (128, BLOCKS // 2)
    assert span_bits(2 * BLOCKS) == span_bits(160) == 0


def test_with_factors_sums_and_outputs_are_as_of_random_elements() -> None:
    # Off by chance with probability 2^-84 at most.
    assert ranks(drawn(), generator(4)) == (128, len(free_words()))


@pytest.mark.parametrize("part", [slice(BELOW), slice(BELOW, SEGMENTS)])
def test_sums_that_miss_one_part_alone_are_as_of_random_elements(part: slice) -> None:
    code, draw = drawn(), generator(5)
    out = code.encode(code.noise(draw, free=BEFORE))
    scales = scales_of(code, part)
    words = vanishing(columns(code, part, BEFORE))[:60]
    sums = []
    for chosen in words:
        total = 0
        for i in chosen:
            total ^= product(scales[i], out[i])
        sums.append(total)
    assert span(sums) == len(sums) == 60  # twice as many as there are blocks in the first half


def test_no_word_that_is_found_is_lighter_than_assumed() -> None:
    code = drawn()
    assumed = least_weight(code.rows)

    def weight(chosen: dict[int, int]) -> float:
        return sum(map(bool, code.word(chosen))) / (2 * code.rows)

    singles = [weight({i: 1}) for i in range(0, code.rows, 16)]
    assert min(singles) > 0.44 > assumed  # about 2/21 of the second half is zero
    pairs = dict[int, int]()  # of rows that add the same row of the last segment
    inverted, doubles = inverses(code.factors), []
    for i, row in enumerate(code.indices[::4]):
        if row[-1] in pairs:
            one = pairs[row[-1]]
            doubles.append(weight({one: inverted[one], 4 * i: inverted[4 * i]}))
        pairs[row[-1]] = 4 * i
    assert min(doubles) > 0.4 > assumed
    lightest = 1.0
    for part in (slice(BELOW), slice(BELOW, SEGMENTS)):
        scales = scales_of(code, part)
        for chosen in vanishing(columns(code, part))[-8:]:
            lightest = min(lightest, weight({i: scales[i] for i in chosen}))
    assert assumed < lightest < 0.42  # 11/28 for those divided by factors: elimination finds them
    # Without factors it finds a fourth, where what merely exists was thought to be lighter alone.
    plain = drawn(factored=False)
    found = [
        plain.word(dict.fromkeys(chosen, 1)) for chosen in vanishing(columns(plain, slice(None)))
    ]
    assert all(0.2 < sum(map(bool, word)) / len(word) < 0.3 for word in found)
    assert len(found) >= SEGMENTS - 1


def test_words_are_those_of_the_code() -> None:
    code, draw = drawn(), generator(6)
    leaves = code.noise(draw)
    chosen = {i: draw.getrandbits(128) for i in draw.sample(range(code.rows), 5)}
    out = code.encode(leaves)
    expected = found = 0
    for i, value in chosen.items():
        expected ^= product(value, out[i])
    for w, leaf in zip(code.word(chosen), leaves, strict=True):
        found ^= product(w, leaf) if w and leaf else 0
    assert found == expected


def test_a_convolution_forgets_nothing() -> None:
    # The tap at 25 is fixed: a state of 25 rows goes on as an invertible one, never to be zero.
    code = drawn()
    units = [1 << i if i < 25 else 0 for i in range(code.rows)]
    mixed = code.convolved(units)
    assert all(span(mixed[i : i + 25]) == 25 for i in range(0, code.rows - 25, 7))
    for row in mixed[25:]:
        assert row >> 25 == 0


def test_a_single_element_leaves_half_of_the_rows_after_it_zero() -> None:
    code = drawn()
    mixed = code.convolved([1] + [0] * (code.rows - 1))
    assert abs(sum(mixed) - code.rows / 2) < 6 * code.rows**0.5 / 2  # six deviations: 2 in 10^9


def kernel_rank(rows: int, before: int, *, divided: bool) -> int:
    """The rank over {0, 1} of (B + F·B')·D·A without its first columns, divided by F if wanted."""
    seed = bytes(16)
    numbers = [0] * rows
    for column in range(before, rows):
        unit = np.zeros((2 * rows, 1, 2), np.uint64)
        unit[rows + column, 0, 0] = 1
        for i, entry in enumerate(blocks_portable.encode(unit, seed)[:, 0]):
            numbers[i] |= int.from_bytes(entry.tobytes(), "little") << 128 * column
    if divided:
        draws = CodeDraws(seed, rows, blocks_portable.counter_blocks).factors()
        scales = inverses([int.from_bytes(one.tobytes(), "little") for one in draws])
        low = (1 << 128) - 1
        numbers = [
            sum(
                product(scale, number >> 128 * column & low) << 128 * column
                for column in range(rows)
                if number >> 128 * column & low
            )
            for scale, number in zip(scales, numbers, strict=True)
        ]
    return span(numbers)


@pytest.mark.parametrize("divided", [False, True])
def test_no_sums_of_the_kernel_s_outputs_miss_the_second_half(divided: bool) -> None:
    assert kernel_rank(63, 10, divided=divided) == 63


def test_without_factors_sums_of_the_kernel_s_outputs_miss_the_second_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ones(draws: CodeDraws) -> NDArray[np.uint64]:
        return np.tile(np.array([1, 0], np.uint64), (63, 1))

    monkeypatch.setattr(CodeDraws, "factors", ones)
    assert kernel_rank(63, 10, divided=False) <= 63 - 10 - (SEGMENTS - 5)


def test_parts_are_the_kernel_s() -> None:
    assert (SEGMENTS, BELOW) == (21, FACTORED_FROM)
