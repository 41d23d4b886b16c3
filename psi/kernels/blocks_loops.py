"""Loops over blocks that numba cannot write: `psi.kernels.blocks_fast` calls them.

Arguments are numbers, most of them addresses; the last one, a constant, says how many blocks AES
and products take at once. What is chosen or masked here are draws that both sides know.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from psi.kernels.blocks_code import BLOCK, BYTE, GROUP, HALF, VECTOR, WORD, ZERO, BlockCode

__all__ = [
    "AT_ONCE",
    "STATE",
    "add_rows",
    "convolve",
    "count_up",
    "encrypt_groups",
    "expand_key",
    "hash_groups",
    "multiply_vectors",
    "scale_rows",
]

AT_ONCE = 3  # segments from which rows are taken in one pass: their rows fit the second cache
STATE = 7  # vectors that a convolution looks back on


class _Kept:
    """Vectors that a loop changes; LLVM keeps them in registers."""

    def __init__(self, code: BlockCode, values: list[Any]) -> None:
        self._builder = code.builder
        keep: Any = cgutils.alloca_once_value
        self._places = [keep(code.builder, value) for value in values]

    def values(self) -> list[Any]:
        return [self._builder.load(place) for place in self._places]

    def keep(self, values: list[Any]) -> None:
        for value, place in zip(values, self._places, strict=True):
            self._builder.store(value, place)


def _generated(write: Callable[..., None], lanes: Any, numbers: int, *constants: Any) -> Any:
    """Return an intrinsic's signature and code."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        write(BlockCode(builder, lanes.literal_value), *arguments[:numbers])
        return context.get_dummy_value()

    return types.void(*[types.uintp] * numbers, *constants, lanes), generate


def _multiply(
    typing_context: Any, a: Any, b: Any, step: Any, out: Any, vectors: Any, lanes: Any
) -> Any:
    """Write products of elements; after each vector b goes on by `step` vectors, 0 or 1."""

    def write(code: BlockCode, a: Any, b: Any, step: Any, out: Any, vectors: Any) -> None:
        with code.loop(vectors) as index:
            other = code.load(b, code.offset(index, step))
            code.store(code.reduced(*code.product(code.load(a, index), other)), out, index)

    return _generated(write, lanes, 5)


def _expand(typing_context: Any, key: Any, keys: Any, lanes: Any) -> Any:
    """Write the eleven keys of AES-128's rounds."""
    return _generated(BlockCode.expand, lanes, 2)


def _encrypt(typing_context: Any, keys: Any, blocks: Any, out: Any, groups: Any, lanes: Any) -> Any:
    """Write AES of blocks."""

    def write(code: BlockCode, keys: Any, blocks: Any, out: Any, groups: Any) -> None:
        with code.loop(groups) as group:
            places = [code.offset(group, GROUP, at) for at in range(GROUP)]
            made = code.encrypted(keys, [code.load(blocks, place) for place in places])
            for value, place in zip(made, places, strict=True):
                code.store(value, out, place)

    return _generated(write, lanes, 4)


def _hash(typing_context: Any, keys: Any, blocks: Any, out: Any, groups: Any, lanes: Any) -> Any:
    """Write AES(s) ^ s, where s = (l ^ r, l) for the words (l, r) of a block."""
    left = [word & ~1 for word in range(VECTOR.count)]
    right = [at for word in range(1, VECTOR.count, 2) for at in (word, VECTOR.count)]

    def write(code: BlockCode, keys: Any, blocks: Any, out: Any, groups: Any) -> None:
        with code.loop(groups) as group:
            places = [code.offset(group, GROUP, at) for at in range(GROUP)]
            values = [code.load(blocks, place) for place in places]
            spread = [
                code.xor(code.words(value, ZERO, left), code.words(value, ZERO, right))
                for value in values
            ]
            made = code.encrypted(keys, spread)
            for value, before, place in zip(made, spread, places, strict=True):
                code.store(code.xor(value, before), out, place)

    return _generated(write, lanes, 4)


def _count_up(
    typing_context: Any, keys: Any, high: Any, low: Any, out: Any, groups: Any, lanes: Any
) -> Any:
    """Write AES of big-endian numbers that count up; nothing is carried out of the low word."""
    words = range(VECTOR.count)
    numbers = ir.Constant(VECTOR, [word // 2 for word in words])
    pairs = [word + VECTOR.count * (word % 2) for word in words]

    def write(code: BlockCode, keys: Any, high: Any, low: Any, out: Any, groups: Any) -> None:
        highs, first = code.spread(high), code.builder.add(code.spread(low), numbers)
        with code.loop(groups) as group:
            places = [code.offset(group, GROUP, at) for at in range(GROUP)]
            counters = []
            for place in places:
                more = code.spread(code.offset(place, VECTOR.count // 2))
                lows = code.builder.add(first, more)
                counters.append(code.swapped(code.words(highs, lows, pairs)))
            for value, place in zip(code.encrypted(keys, counters), places, strict=True):
                code.store(value, out, place)

    return _generated(write, lanes, 5)


def _convolve(
    typing_context: Any,
    rows: Any,
    masks: Any,
    factors: Any,
    state: Any,
    out: Any,
    groups: Any,
    columns: Any,
    lanes: Any,
) -> Any:
    """Write a convolution of rows of one or two elements, each times its row's factor."""
    # A group is four rows. It has five words of masks (`_convolved`) and four factors. The state is
    # what was convolved last, before factors: STATE vectors for each column, read and written.
    width = columns.literal_value

    def write(
        code: BlockCode, rows: Any, masks: Any, factors: Any, state: Any, out: Any, groups: Any
    ) -> None:
        before = _Kept(code, [code.load(state, at) for at in range(width * STATE)])
        with code.loop(groups) as group:
            places = [code.offset(group, width, at) for at in range(width)]
            values = [code.load(rows, place) for place in places]
            if width == 2:  # a vector for each column
                one, other = values
                values = [code.blocks(one, other, range(column, 8, 2)) for column in range(2)]
            bits = [code.load(masks, code.offset(group, 5, at), WORD) for at in range(5)]
            factor = code.load(factors, group)
            kept, made = before.values(), []
            for value in values:
                window = kept[:STATE]
                convolved = _convolved(code, value, window, bits)
                kept = [*kept[STATE:], *window[1:], convolved]
                made.append(code.reduced(*code.product(convolved, factor)))
            before.keep(kept)
            if width == 2:
                one, other = made
                orders = [0, 4, 1, 5], [2, 6, 3, 7]
                made = [code.blocks(one, other, order) for order in orders]
            for value, place in zip(made, places, strict=True):
                code.store(value, out, place)
        for at, value in enumerate(before.values()):
            code.store(value, state, at)

    return _generated(write, lanes, 6, columns)


def _convolved(code: BlockCode, value: Any, window: list[Any], masks: list[Any]) -> Any:
    """Return four rows of a convolution from the 28 before them.

    Masks have two bits for each block. The first four say what is added to a row: a byte for each
    of the last six vectors. The last has a byte for each of the first three of these rows: to which
    of them it is added.
    """

    def masked(mask: Any, byte: int, vector: Any) -> Any:
        bits = code.builder.trunc(code.builder.lshr(mask, WORD(8 * byte)), BYTE)
        chosen = code.builder.bitcast(bits, ir.VectorType(ir.IntType(1), VECTOR.count))
        return code.builder.select(chosen, vector, ZERO)

    sums = [
        code.xor(*[masked(mask, at, vector) for at, vector in enumerate(window[1:])])
        for mask in masks[:4]
    ]
    # Each row's sum is four blocks, to be added up: turn all four into one vector.
    low, high = (
        code.xor(code.blocks(one, other, [0, 1, 4, 5]), code.blocks(one, other, [2, 3, 6, 7]))
        for one, other in (sums[:2], sums[2:])
    )
    total = code.xor(code.blocks(low, high, [0, 2, 4, 6]), code.blocks(low, high, [1, 3, 5, 7]))
    fixed = code.blocks(window[0], window[1], [3, 4, 5, 6])
    total = code.xor(total, fixed, value)
    for row in range(3):
        total = code.xor(total, masked(masks[4], row, code.blocks(total, total, [row] * 4)))
    return total


def _add_rows(
    typing_context: Any,
    out: Any,
    draws: Any,
    stride: Any,
    starts: Any,
    lengths: Any,
    count: Any,
    columns: Any,
    lanes: Any,
) -> Any:
    """Add to each row one row of each of `AT_ONCE` segments."""
    # Which it is, a number of 32 bits says; those for the next segment come `stride` numbers later.
    # Segments are the addresses of their first rows and how many rows they have.
    kind = ir.VectorType(WORD, BLOCK.count * columns.literal_value)

    def write(
        code: BlockCode, out: Any, draws: Any, stride: Any, starts: Any, lengths: Any, count: Any
    ) -> None:
        builder = code.builder
        segments = [
            [code.load(words, at, WORD) for words in (starts, lengths)] for at in range(AT_ONCE)
        ]
        with code.loop(count) as row:
            total = code.load(out, row, kind)
            for at, (start, length) in enumerate(segments):
                place = builder.add(builder.mul(stride, WORD(at)), row)
                drawn = builder.zext(code.load(draws, place, HALF), WORD)
                index = builder.lshr(builder.mul(drawn, length), WORD(HALF.width))
                total = code.xor(total, code.load(start, index, kind))
            code.store(total, out, row)

    return _generated(write, lanes, 6, columns)


def _scale_rows(
    typing_context: Any,
    rows: Any,
    factors: Any,
    out: Any,
    groups: Any,
    columns: Any,
    lanes: Any,
) -> Any:
    """Multiply rows of one or two elements by a factor each, and add other rows; four at a time."""
    width = columns.literal_value

    def write(code: BlockCode, rows: Any, factors: Any, out: Any, groups: Any) -> None:
        with code.loop(groups) as group:
            factor = code.load(factors, group)
            for at in range(width):
                place = code.offset(group, width, at)
                order = [(4 // width * at + block // width) for block in range(4)]
                by = factor if width == 1 else code.blocks(factor, factor, order)
                scaled = code.reduced(*code.product(code.load(out, place), by))
                code.store(code.xor(scaled, code.load(rows, place)), out, place)

    return _generated(write, lanes, 4, columns)


_intrinsic: Any = intrinsic(prefer_literal=True)
multiply_vectors = _intrinsic(_multiply)
expand_key, encrypt_groups = _intrinsic(_expand), _intrinsic(_encrypt)
hash_groups, count_up = _intrinsic(_hash), _intrinsic(_count_up)
convolve, add_rows = _intrinsic(_convolve), _intrinsic(_add_rows)
scale_rows: Any = _intrinsic(_scale_rows)
