"""Number-theoretic transforms of many polynomials, compiled by numba.

A polynomial is a matrix: half of the stages combine whole rows, then the matrix is transposed, and
the other half combine rows again. So every inner loop runs over lanes side by side. The values stay
in the transposed order, which products of values don't mind. Two stages are taken at once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic, register_jitable

from privfed.he.ring import floats
from privfed.he.ring.floats import LANES, Floats, canonical, product, reduced
from psi.compiled.compiling import array, code_fingerprint, compiled

__all__ = ["forward", "inverse"]

_READ4, _WRITE3 = array("float64", 4), array("float64", 3, write=True)
_READ2 = array("float64", 2)


def _quad(builder: Any, arguments: Any) -> Any:
    """Return four rows' addresses and numbers, and the two stages' three twiddles."""
    x, stride, first, second, third, ratios, prime, inverse = arguments
    places = [x]
    for _ in range(3):
        places.append(builder.add(places[-1], stride))
    rows = [Floats.load(builder, place) for place in places]
    twiddles = [
        (Floats.load(builder, each), Floats.load(builder, builder.add(each, ratios)))
        for each in (first, second, third)
    ]
    return places, rows, twiddles, Floats.splat(builder, prime), Floats.splat(builder, inverse)


def _forward_quad(builder: Any, arguments: Any) -> None:
    # Up to 1.9 primes come in and go out: 1/2 + 1/2 + 1.9/8, then 1/2 + a ninth of that more.
    places, (a, b, c, d), (first, second, third), p, inverse = _quad(builder, arguments)
    a, b = a.reduced(p, inverse), b.reduced(p, inverse)
    c, d = c.times(*first, p), d.times(*first, p)
    a, b, c, d = a + c, b + d, a - c, b - d
    b, d = b.times(*second, p), d.times(*third, p)
    for row, place in zip((a + b, a - b, c + d, c - d), places, strict=True):
        row.store(place)


def _inverse_quad(builder: Any, arguments: Any) -> None:
    # Up to one prime comes in and goes out; a sum of four is reduced.
    places, (a, b, c, d), (first, second, third), p, inverse = _quad(builder, arguments)
    a, b, c, d = a + b, (a - b).times(*second, p), c + d, (c - d).times(*third, p)
    a, b, c, d = a + c, b + d, (a - c).times(*first, p), (b - d).times(*first, p)
    for row, place in zip(
        (a.reduced(p, inverse), b.reduced(p, inverse), c, d), places, strict=True
    ):
        row.store(place)


def _pair(builder: Any, arguments: Any) -> Any:
    x, stride, first, ratios, prime, inverse = arguments
    places = [x, builder.add(x, stride)]
    rows = [Floats.load(builder, place) for place in places]
    twiddle = (Floats.load(builder, first), Floats.load(builder, builder.add(first, ratios)))
    return places, rows, twiddle, Floats.splat(builder, prime), Floats.splat(builder, inverse)


def _forward_pair(builder: Any, arguments: Any) -> None:
    places, (a, b), first, p, inverse = _pair(builder, arguments)
    a, b = a.reduced(p, inverse), b.times(*first, p)
    (a + b).store(places[0])
    (a - b).store(places[1])


def _inverse_pair(builder: Any, arguments: Any) -> None:
    places, (a, b), first, p, inverse = _pair(builder, arguments)
    (a + b).reduced(p, inverse).store(places[0])
    (a - b).times(*first, p).store(places[1])


def _generating(formula: Callable[[Any, Any], None]) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        formula(builder, arguments)
        return context.get_dummy_value()

    return generate


def _quads(formula: Callable[[Any, Any], None]) -> Any:
    def generate(
        typing: Any, x: Any, stride: Any, first: Any, second: Any, third: Any, ratios: Any,
        prime: Any, inverse: Any,
    ) -> Any:  # fmt: skip
        numbers = (types.float64, types.float64)
        return types.void(*[types.uintp] * 6, *numbers), _generating(formula)

    return intrinsic(generate)


def _pairs(formula: Callable[[Any, Any], None]) -> Any:
    def generate(
        typing: Any, x: Any, stride: Any, first: Any, ratios: Any, prime: Any, inverse: Any
    ) -> Any:
        numbers = (types.float64, types.float64)
        return types.void(*[types.uintp] * 4, *numbers), _generating(formula)

    return intrinsic(generate)


_forward_four, _inverse_four = _quads(_forward_quad), _quads(_inverse_quad)
_forward_two, _inverse_two = _pairs(_forward_pair), _pairs(_inverse_pair)


@register_jitable
def _each_four(x: Any, blocks: Any, table: Any, prime: Any, inverse: Any, back: Any) -> Any:
    """Take the stage of so many blocks and the next one (or the other way round)."""
    rows, lanes = x.shape
    width = table.shape[2]
    quarter = rows // blocks // 4
    start, tables = x.ctypes.data, table.ctypes.data
    ratios = 8 * rows * width
    for block in range(blocks):
        first = tables + 8 * width * (blocks + block)
        second = tables + 8 * width * (2 * blocks + 2 * block)
        third = second + 8 * width
        for row in range(4 * quarter * block, 4 * quarter * block + quarter):
            for lane in range(0, lanes, LANES):
                at = start + 8 * (row * lanes + lane)
                offset = 8 * (lane & (width - 1))
                if back:
                    _inverse_four(
                        at, 8 * quarter * lanes, first + offset, second + offset,
                        third + offset, ratios, prime, inverse,
                    )  # fmt: skip
                else:
                    _forward_four(
                        at, 8 * quarter * lanes, first + offset, second + offset,
                        third + offset, ratios, prime, inverse,
                    )  # fmt: skip


@register_jitable
def _each_two(x: Any, table: Any, prime: Any, inverse: Any, back: Any) -> Any:
    """Take the stage of one block."""
    rows, lanes = x.shape
    width = table.shape[2]
    half = rows // 2
    start, first = x.ctypes.data, table.ctypes.data + 8 * width
    ratios = 8 * rows * width
    for row in range(half):
        for lane in range(0, lanes, LANES):
            at, offset = start + 8 * (row * lanes + lane), 8 * (lane & (width - 1))
            if back:
                _inverse_two(at, 8 * half * lanes, first + offset, ratios, prime, inverse)
            else:
                _forward_two(at, 8 * half * lanes, first + offset, ratios, prime, inverse)


@register_jitable
def _forward_rows(x: Any, odd: Any, table: Any, prime: Any, inverse: Any) -> Any:
    blocks = 1
    if odd:
        _each_two(x, table, prime, inverse, False)
        blocks = 2
    while blocks < len(x):
        _each_four(x, blocks, table, prime, inverse, False)
        blocks *= 4


@register_jitable
def _inverse_rows(x: Any, odd: Any, table: Any, prime: Any, inverse: Any) -> Any:
    blocks = len(x) // 4
    while blocks >= 1:
        _each_four(x, blocks, table, prime, inverse, True)
        blocks //= 4
    if odd:
        _each_two(x, table, prime, inverse, True)


@register_jitable
def _has_odd_stages(rows: Any) -> Any:
    return rows & 0xAAAAAAAA != 0


@register_jitable
def _transpose(x: Any, out: Any) -> Any:
    rows, columns = x.shape
    for first in range(0, rows, LANES):
        for column in range(columns):
            for row in range(LANES):
                out[column, first + row] = x[first + row, column]


def _loops(source: int) -> tuple[Any, Any]:
    """Return both transforms. `source` is there for the cache."""

    @compiled(_WRITE3, _READ2, _READ4, _READ4)
    def forward(words: Any, moduli: Any, wide: Any, narrow: Any) -> None:
        _ = source
        rows, columns = wide.shape[2], narrow.shape[2]
        first, second = _has_odd_stages(rows), _has_odd_stages(columns)
        turned = np.empty((columns, rows))
        for index in range(words.shape[0]):
            for prime in range(words.shape[1]):
                p, inverse = moduli[prime, 0], moduli[prime, 1]
                matrix = words[index, prime].reshape((rows, columns))
                _forward_rows(matrix, first, wide[prime], p, inverse)
                _transpose(matrix, turned)
                _forward_rows(turned, second, narrow[prime], p, inverse)
                flat, out = turned.reshape(-1), words[index, prime]
                for place in range(len(out)):
                    out[place] = canonical(reduced(flat[place], p, inverse), p)

    @compiled(_WRITE3, _READ2, _READ4, _READ4)
    def inverse(words: Any, moduli: Any, wide: Any, narrow: Any) -> None:
        _ = source
        rows, columns = wide.shape[2], narrow.shape[2]
        first, second = _has_odd_stages(rows), _has_odd_stages(columns)
        matrix = np.empty((rows, columns))
        for index in range(words.shape[0]):
            for prime in range(words.shape[1]):
                p, ratio, share = moduli[prime, 0], moduli[prime, 1], moduli[prime, 2]
                turned = words[index, prime].reshape((columns, rows))
                _inverse_rows(turned, second, narrow[prime], p, ratio)
                _transpose(turned, matrix)
                _inverse_rows(matrix, first, wide[prime], p, ratio)
                flat, out = matrix.reshape(-1), words[index, prime]
                for place in range(len(out)):
                    out[place] = canonical(product(flat[place], share, p, ratio), p)

    return forward, inverse


forward, inverse = _loops(code_fingerprint(floats))
